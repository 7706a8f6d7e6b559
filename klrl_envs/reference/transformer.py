"""``nano``, the transformer that ships with the package, as a reference."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from klrl_envs.assets import asset_digest, asset_path
from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor

    from klrl_envs.reference.nano import Nano, NanoCache

START_TOKEN = 0  # the end token: every review of the training stream is preceded by it


@lru_cache(maxsize=1)
def load_nano() -> Nano:
    """The shipped weights on the CPU, in float32 and without gradients; one copy per process."""
    import torch
    from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

    from klrl_envs.reference.nano import Nano, NanoConfig

    with cast(Any, torch.random).fork_rng(devices=[]):  # weights that are drawn here are replaced at once
        model = Nano(NanoConfig())
    model.load_state_dict(load_file(asset_path("nano.safetensors")))
    return model.eval().requires_grad_(False)


class TransformerReference:
    """A ``Nano`` as pi0. The model is loaded when it is first needed, not at construction.

    Args:
        load: returns the model (shared by all who call it).
        name, fingerprint: see ``Reference``.
        vocab_size, width: the model's, known before it is loaded.
        context: positions of the longest sequence, the start token among them.
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
    ) -> None:
        self._load = load
        self.name = name
        self.fingerprint = fingerprint
        self.vocab_size = vocab_size
        self.width = width
        self.longest = context - 1

    @cached_property
    def model(self) -> Nano:
        """The network."""
        return self._load()

    @property
    def hidden_bound(self) -> float:
        """sqrt(width) max|gain|: RMS-normalised entries are at most sqrt(width) before the gain."""
        return self._computed_bound

    @cached_property
    def _computed_bound(self) -> float:
        return float(self.width**0.5 * self.model.norm.weight.abs().max())

    def unembedding(self) -> NDArray[np.float32]:
        """See ``NeuralReference.unembedding``."""
        return self.model.embedding.weight.numpy()

    def lanes(self, count: int, max_length: int) -> TransformerLanes:
        """See ``Reference.lanes``."""
        return TransformerLanes(self.model, count, max_length)

    def sequence_log_probs(self, tokens: IntArray, first: IntArray, lengths: IntArray) -> FloatArray:
        """See ``Reference.sequence_log_probs``."""
        import torch

        position = np.arange(tokens.shape[1], dtype=np.int64)
        counted = (position >= first[:, None]) & (position < lengths[:, None])
        written = torch.as_tensor(np.where(position < lengths[:, None], tokens, START_TOKEN))
        skip = int(first.min()) if len(first) else 0
        result = np.zeros(tokens.shape)
        with torch.inference_mode():
            for first_row in range(0, len(tokens), 256):
                part = slice(first_row, first_row + 256)
                rows = token_log_probs(self.model, written[part], skip)
                result[part, skip:] = rows.double().numpy()
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
    """Key-value cache of N sequences that grow together and restart one by one."""

    def __init__(self, model: Nano, count: int, max_length: int) -> None:
        self._model = model
        self._cache: NanoCache = model.cache(count, max_length + 1)
        self._hidden: Tensor = self._cache.keys.new_zeros((count, model.config.width))
        self._log_probs: NDArray[np.float32] | None = None

    def reset(self, lanes: IntArray, tokens: IntArray, lengths: IntArray) -> None:
        """See ``ReferenceLanes.reset``. Equal prefixes are computed once."""
        import torch

        if len(lanes) == 0:
            return
        written = np.where(np.arange(tokens.shape[1], dtype=np.int64) < lengths[:, None], tokens, START_TOKEN)
        keyed = np.concatenate([lengths[:, None], written], axis=1)
        unique, inverse = np.unique(keyed, axis=0, return_inverse=True)
        inputs = with_start(torch.as_tensor(unique[:, 1:]))
        with torch.inference_mode():
            hidden = self._model.prefill(
                inputs,
                self._cache,
                lanes=torch.as_tensor(lanes),
                rows=torch.as_tensor(inverse.reshape(-1)),
                lengths=torch.as_tensor(lengths + 1),
            )
            self._hidden[torch.as_tensor(lanes)] = hidden
        self._log_probs = None

    def step(self, tokens: IntArray, active: BoolArray) -> None:
        """See ``ReferenceLanes.step``."""
        import torch

        with torch.inference_mode():
            hidden = self._model.decode(torch.as_tensor(tokens), self._cache, torch.as_tensor(active))
            if active.all():
                self._hidden = hidden
            else:
                self._hidden = torch.where(torch.as_tensor(active)[:, None], hidden, self._hidden)
        self._log_probs = None

    def log_probs(self) -> NDArray[np.float32]:
        """See ``ReferenceLanes.log_probs``; float32."""
        import torch

        if self._log_probs is None:
            with torch.inference_mode():
                rows = self._model.unembed(self._hidden).log_softmax(dim=-1)
            self._log_probs = rows.numpy()
        return self._log_probs

    def log_prob(self, tokens: IntArray) -> FloatArray:
        """See ``ReferenceLanes.log_prob``."""
        rows = self.log_probs()
        return rows[np.arange(len(tokens)), tokens].astype(np.float64)

    def hidden(self) -> NDArray[np.float32]:
        """See ``ReferenceLanes.hidden``."""
        return self._hidden.numpy()


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
