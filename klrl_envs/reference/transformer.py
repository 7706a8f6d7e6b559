"""Transformers that ship with the package as references; ``nano`` is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy, deepcopy
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from klrl_envs.assets import asset_digest, asset_path
from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor

    from klrl_envs.reference.decoder import DecoderWeights
    from klrl_envs.reference.nano import Nano, NanoConfig

START_TOKEN = 0  # the end token: every review of the training stream is preceded by it


def network_of(config: NanoConfig, weights: Mapping[str, Tensor]) -> Nano:
    """A network with these weights, in float32, in evaluation mode and without gradients."""
    import torch

    from klrl_envs.reference.nano import Nano

    with cast(Any, torch.random).fork_rng(devices=[]):  # weights that are drawn here are replaced at once
        model = Nano(config)
    model.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return model.eval().requires_grad_(False)


@lru_cache(maxsize=4)
def load_transformer(file: str, config: NanoConfig) -> Nano:
    """The network of a shipped file on the CPU; one copy per process."""
    from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

    return network_of(config, load_file(asset_path(file)))


def load_nano() -> Nano:
    """``nano``'s network."""
    from klrl_envs.reference.nano import NanoConfig

    return load_transformer("nano.safetensors", NanoConfig())


class TransformerReference:
    """A ``Nano`` as pi0. The model is loaded when it is first needed, not at construction.

    Args:
        load: returns the model on the CPU (shared by all who call it).
        name, fingerprint: see ``Reference``.
        vocab_size, width: the model's, known before it is loaded.
        context: positions of the longest sequence, the start token among them.
        device: of the network and of all that it gives as tensors.
    """

    def __init__(
        self,
        load: Callable[[], Nano],
        *,
        name: str,
        fingerprint: str,
        vocab_size: int,
        width: int,
        context: int,
        device: str = "cpu",
    ) -> None:
        self._load = load
        self.name = name
        self.fingerprint = fingerprint
        self.vocab_size = vocab_size
        self.width = width
        self.longest = context - 1
        self.device = device
        self._placed: dict[str, TransformerReference] = {device: self}

    @cached_property
    def model(self) -> Nano:
        """The network, on the device."""
        model = self._load()
        return model if self.device == "cpu" else deepcopy(model).to(self.device)

    @cached_property
    def decoder_weights(self) -> DecoderWeights:
        """Its weights as texts are written with."""
        from klrl_envs.reference.decoder import DecoderWeights

        return DecoderWeights.of(self.model)

    def on(self, device: str) -> TransformerReference:
        """See ``NeuralReference.on``; one for each device."""
        if device not in self._placed:
            self._placed[device] = other = copy(self)
            vars(other).pop("model", None)
            vars(other).pop("decoder_weights", None)
            other.device = device
        return self._placed[device]

    @property
    def hidden_bound(self) -> float:
        """sqrt(width) max|gain|: RMS-normalised entries are at most sqrt(width) before the gain."""
        return self._computed_bound

    @cached_property
    def _computed_bound(self) -> float:
        return float(self.width**0.5 * self.model.norm.weight.abs().max())

    def unembedding(self) -> NDArray[np.float32]:
        """See ``NeuralReference.unembedding``."""
        return self.model.embedding.weight.cpu().numpy()

    def lanes(self, count: int, max_length: int) -> TransformerLanes:
        """See ``Reference.lanes``."""
        return TransformerLanes(self.decoder_weights, count, max_length)

    def sequence_log_probs(self, tokens: IntArray, first: IntArray, lengths: IntArray) -> FloatArray:
        """See ``Reference.sequence_log_probs``."""
        import torch

        position = np.arange(tokens.shape[1], dtype=np.int64)
        counted = (position >= first[:, None]) & (position < lengths[:, None])
        written = torch.as_tensor(np.where(position < lengths[:, None], tokens, START_TOKEN))
        skip = int(first.min()) if len(first) else 0
        result = np.zeros(tokens.shape)
        with torch.inference_mode():
            for first_row in range(0, len(tokens), 64):
                part = slice(first_row, first_row + 64)
                rows = token_log_probs(self.model, written[part].to(self.device), skip)
                result[part, skip:] = rows.double().cpu().numpy()
        return np.where(counted, result, 0.0)


def with_start(tokens: Tensor) -> Tensor:
    """Tokens [B, T] preceded by the start token, [B, T + 1]."""
    import torch

    return torch.cat((tokens.new_full((len(tokens), 1), START_TOKEN), tokens), dim=1)


def token_log_probs(model: Nano, tokens: Tensor, skip: int = 0) -> Tensor:
    """log pi(tokens[:, t] | tokens[:, :t]) for t >= skip, float32 [B, T - skip], differentiable."""
    hidden = model.hidden(with_start(tokens)[:, :-1])[:, skip:]
    rows = model.unembed(hidden).float().log_softmax(dim=-1)
    return rows.gather(-1, tokens[:, skip:, None]).squeeze(-1)


class TransformerLanes:
    """N sequences that a ``Decoder`` follows. What is asked for is computed once a step, and no more."""

    def __init__(self, weights: DecoderWeights, count: int, max_length: int) -> None:
        from klrl_envs.reference.decoder import Decoder

        self._decoder = Decoder(weights, count, max_length + 1)
        self._device = weights.embedding.device
        self._states: Tensor = weights.embedding.new_zeros((count, weights.embedding.shape[1]))
        self._rows: Tensor | None = None
        self._some: tuple[IntArray, Tensor] | None = None
        self._drawn: tuple[IntArray, FloatArray] | None = None

    def reset(self, lanes: IntArray, tokens: IntArray, lengths: IntArray) -> None:
        """See ``ReferenceLanes.reset``. Equal prefixes are computed once."""
        import torch

        if len(lanes) == 0:
            return
        written = np.where(np.arange(tokens.shape[1], dtype=np.int64) < lengths[:, None], tokens, START_TOKEN)
        keyed = np.concatenate([lengths[:, None], written], axis=1)
        unique, inverse = np.unique(keyed, axis=0, return_inverse=True)
        repeated = len(unique) < len(lanes)
        rows = torch.as_tensor(inverse.reshape(-1), device=self._device) if repeated else None
        read = torch.as_tensor(unique[:, 1:] if repeated else written, device=self._device)
        counted = torch.as_tensor(lengths + 1, device=self._device)
        with torch.no_grad():
            if len(lanes) == len(self._states) and (lanes == np.arange(len(lanes))).all():
                self._become(self._decoder.start(with_start(read), counted, rows=rows))
                return
            chosen = torch.as_tensor(lanes, device=self._device)
            states = self._decoder.start(with_start(read), counted, lanes=chosen, rows=rows)
            self._become(self._states.index_copy(0, chosen, states))

    def step(self, tokens: IntArray, active: BoolArray) -> None:
        """See ``ReferenceLanes.step``."""
        import torch

        if not active.any():
            return
        with torch.no_grad():
            going = None if active.all() else torch.as_tensor(active, device=self._device)
            states = self._decoder.step(torch.as_tensor(tokens, device=self._device), going)
            if going is not None:
                states = torch.where(going[:, None], states, self._states)
            self._become(states)

    def keep(self, lanes: IntArray) -> None:
        """See ``ReferenceLanes.keep``."""
        import torch

        with torch.no_grad():
            chosen = torch.as_tensor(lanes, device=self._device)
            self._decoder.keep(chosen)
            self._become(self._states[chosen])

    def log_probs(self) -> NDArray[np.float32]:
        """See ``ReferenceLanes.log_probs``; float32."""
        return self.rows().cpu().numpy()

    def log_prob(self, tokens: IntArray, active: BoolArray | None = None) -> FloatArray:
        """See ``ReferenceLanes.log_prob``."""
        import torch

        with torch.no_grad():
            chosen = torch.as_tensor(tokens, device=self._device)[:, None]
            if self._rows is not None:
                return self._rows.gather(1, chosen)[:, 0].double().cpu().numpy()
            result = np.zeros(len(tokens))
            others = np.ones(len(tokens), dtype=np.bool_)
            if self._some is not None:
                lanes, rows = self._some
                result[lanes] = rows.gather(1, chosen[self._places(lanes)])[:, 0].double().cpu().numpy()
                others[lanes] = False
            elif self._drawn is not None:  # those that were drawn have their log-probs already
                result, others = self._drawn[1].copy(), tokens != self._drawn[0]
            if active is not None:
                others &= active
            if others.any():
                places = torch.as_tensor(np.flatnonzero(others), device=self._device)
                logits = self._decoder.logits(self._states[places])
                taken = logits.gather(1, chosen[places])[:, 0] - logits.logsumexp(dim=1)
                result[others] = taken.double().cpu().numpy()
        return result

    def draw(self, uniform: FloatArray) -> IntArray:
        """See ``ReferenceLanes.draw``."""
        import torch

        from klrl_envs.reference.draws import draw_tokens

        with torch.no_grad():
            numbers = torch.as_tensor(uniform, dtype=torch.float32, device=self._device)
            tokens, log_prob = draw_tokens(self._decoder.logits(self._states), numbers)
            self._drawn = tokens.cpu().numpy(), log_prob.double().cpu().numpy()
        return self._drawn[0].copy()

    def hidden(self) -> NDArray[np.float32]:
        """See ``ReferenceLanes.hidden``."""
        return self.features().cpu().numpy()

    def rows(self, lanes: IntArray | None = None) -> Tensor:
        """See ``TensorLanes.rows``."""
        import torch

        if lanes is not None and len(lanes) == len(self._states) and (np.diff(lanes) > 0).all():
            lanes = None
        with torch.no_grad():
            if self._rows is not None:
                return self._rows if lanes is None else self._rows[self._places(lanes)]
            if lanes is not None and self._some is not None and np.array_equal(lanes, self._some[0]):
                return self._some[1]
            states = self._states if lanes is None else self._states[self._places(lanes)]
            rows = self._decoder.logits(states).log_softmax(dim=1)
        if lanes is None:
            self._rows = rows
        else:
            self._some = lanes, rows
        return rows

    def features(self, lanes: IntArray | None = None) -> Tensor:
        """See ``TensorLanes.features``."""
        import torch

        with torch.no_grad():
            return self._decoder.hidden(self._states if lanes is None else self._states[self._places(lanes)])

    def _places(self, lanes: IntArray) -> Tensor:
        import torch

        return torch.as_tensor(lanes, device=self._device)

    def _become(self, states: Tensor) -> None:
        self._states = states
        self._rows = self._some = self._drawn = None


@lru_cache(maxsize=1)
def nano_reference() -> TransformerReference:
    """The shipped reference."""
    return TransformerReference(
        load_nano,
        name="nano",
        fingerprint=asset_digest("nano.safetensors"),
        vocab_size=2048,
        width=192,
        context=128,
    )
