"""Any Hugging Face causal language model as pi0, with its own tokenizer.

Weights are read from safetensors only and no code of the model's repository is run. Loading never
downloads: ``fetch_reference`` does, when it is asked to.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray
from klrl_envs.reference.hub_vocabulary import HubVocabulary

if TYPE_CHECKING:
    from torch import Tensor

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""Owner and name; whatever else has a slash is meant as a folder."""

_WEIGHTS = "*.safetensors"
_TOKENIZER = ("tokenizer.json", "*.model", "vocab*", "merges*", "*_tokens*.json")
_NOT_THE_MODEL = ("_name_or_path", "transformers_version")  # where it lies, and what read it
_FILES = ["*.json", "*.txt", "*.jinja", "*.model", _WEIGHTS]


def fetch_reference(hub_id: str) -> Path:
    """Download a model (safetensors and tokenizer only) to the hub's local cache; return its folder."""
    from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]

    return Path(snapshot_download(hub_id, allow_patterns=_FILES))


def local_folder(name: str) -> Path:
    """The folder of a model that is on this machine, from its path or hub id.

    Raises:
        FileNotFoundError: it is not here, or has no safetensors weights.
    """
    folder = Path(name).expanduser()
    if not os.path.isdir(folder):
        if os.path.exists(folder):
            raise FileNotFoundError(f"the reference {name!r} is a file; give the folder that it lies in")
        if not HUB_ID.fullmatch(name):
            raise FileNotFoundError(f"the reference {name!r} is a folder that is not there")
        from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            folder = Path(snapshot_download(name, local_files_only=True, allow_patterns=_FILES))
        except (HFValidationError, LocalEntryNotFoundError):
            raise FileNotFoundError(
                f"the reference {name!r} is neither a folder nor in the local cache of the hub; "
                f"download it once with: klrl fetch {name}"
            ) from None
    if not any(folder.glob(_WEIGHTS)):
        raise FileNotFoundError(
            f"the reference {name!r} has no safetensors weights in its folder; "
            "other weight files are not loaded, as they can run code"
        )
    return folder


class HubReference:
    """A causal LM in float32; tokenizer and shape at construction, weights when needed.

    Every text is preceded by the model's beginning-of-text token, or by its end-of-text token where
    it has none; that token is not part of prompts or observations.
    """

    def __init__(self, name: str, folder: Path, device: str = "cpu") -> None:
        from transformers import AutoConfig, AutoTokenizer

        self.name = name
        self.device = _same_name(device)
        self._folder = folder
        self._config = cast(Any, AutoConfig).from_pretrained(folder, trust_remote_code=False)
        tokenizer = cast(Any, AutoTokenizer).from_pretrained(folder, trust_remote_code=False)
        self.vocab_size: int = self._config.vocab_size
        self.width: int = self._config.hidden_size
        self.end_token: int | None = tokenizer.eos_token_id
        start = tokenizer.bos_token_id
        start = self.end_token if start is None else start
        if start is None:
            raise ValueError(f"the reference {name!r} has neither a beginning- nor an end-of-text token")
        self.start_token: int = start
        self.vocabulary = HubVocabulary(tokenizer, self.vocab_size, start)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the configuration, the start token, and the files of weights and tokenizer."""
        return self._computed_fingerprint

    @cached_property
    def _computed_fingerprint(self) -> str:
        config = self._config.to_dict()
        kept = {name: value for name, value in config.items() if name not in _NOT_THE_MODEL}
        kept["start_token"] = self.start_token
        total = hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode())
        for path in sorted({path for files in (_WEIGHTS, *_TOKENIZER) for path in self._folder.glob(files)}):
            total.update(path.name.encode())
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    total.update(block)
        return total.hexdigest()

    @cached_property
    def model(self) -> Any:
        """The network on its device, in evaluation mode and without gradients."""
        import torch
        from transformers import AutoModelForCausalLM

        with cast(Any, torch.random).fork_rng(devices=[]):
            model = cast(Any, AutoModelForCausalLM).from_pretrained(
                self._folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
            )
        return model.to(self.device).eval().requires_grad_(False)

    def on(self, device: str) -> HubReference:
        """See ``NeuralReference.on``."""
        return self if _same_name(device) == self.device else hub_reference(self.name, device)

    @property
    def hidden_bound(self) -> float:
        """sqrt(width) max|gain| of the last RMS or layer norm, plus its bias, both measured: what the norm
        makes of vectors of size one is +-gain + bias, however it keeps its gain.

        Raises:
            TypeError: the network ends in no norm that is known.
        """
        return self._computed_bound

    @cached_property
    def _computed_bound(self) -> float:
        import torch

        signs = 1.0 - 2.0 * (torch.arange(self.width) % 2)  # of mean 0 (or nearly) and root mean square 1
        with torch.inference_mode():
            ends = _last_norm(self.model)(torch.stack((signs, -signs)).to(self.device))
        gain, bias = (ends[0] - ends[1]).abs().max() / 2, (ends[0] + ends[1]).abs().max() / 2
        return float(1.01 * (self.width**0.5 * gain + bias))

    def unembedding(self) -> NDArray[np.float32]:
        """See ``NeuralReference.unembedding``.

        Raises:
            TypeError: the network has no output embeddings.
        """
        output = self.model.get_output_embeddings()
        if output is None:
            raise TypeError(f"the network {type(self.model).__name__} has no output embeddings")
        return output.weight.cpu().numpy()

    @property
    def longest(self) -> int | None:
        """See ``Reference.longest``; the start token takes a position."""
        positions = getattr(self._config, "max_position_embeddings", None)
        return None if positions is None else positions - 1

    def lanes(self, count: int, max_length: int) -> HubLanes:
        """See ``Reference.lanes``."""
        return HubLanes(self, count)

    def sequence_log_probs(self, tokens: IntArray, first: IntArray, lengths: IntArray) -> FloatArray:
        """See ``Reference.sequence_log_probs``."""
        import torch

        position = np.arange(tokens.shape[1], dtype=np.int64)
        counted = (position >= first[:, None]) & (position < lengths[:, None])
        filled = np.where(position < lengths[:, None], tokens, self.start_token)
        written = torch.as_tensor(filled, device=self.device)
        result = np.zeros(tokens.shape)
        with torch.inference_mode():
            for first_row in range(0, len(tokens), 32):
                part = slice(first_row, first_row + 32)
                inputs = torch.nn.functional.pad(written[part, :-1], (1, 0), value=self.start_token)
                rows = self.model(inputs).logits.float().log_softmax(dim=-1)
                taken = rows.gather(-1, written[part, :, None]).squeeze(-1)
                result[part] = taken.double().cpu().numpy()
        return np.where(counted, result, 0.0)


class HubLanes:
    """A key-value cache whose columns are aligned at the end, so that lanes may restart one by one.

    Column S - 1 holds each lane's last token. A lane that restarts is computed by itself and its keys
    and values are written into the last columns; a mask hides what stands to the left of a lane's
    start. Positions are given explicitly, so the column itself carries no meaning.
    """

    def __init__(self, reference: HubReference, count: int) -> None:
        import torch

        self._reference = reference
        self._device = torch.device(reference.device)
        self._cache: Any = None
        self._mask = torch.zeros((count, 0), dtype=torch.int64, device=self._device)
        self._hidden: Tensor = torch.zeros((count, reference.width), device=self._device)
        self._logits: Tensor = torch.zeros((count, reference.vocab_size), device=self._device)
        self._rows: Tensor | None = None

    def reset(self, lanes: IntArray, tokens: IntArray, lengths: IntArray) -> None:
        """See ``ReferenceLanes.reset``."""
        if len(lanes) == 0:
            return
        longest = int(lengths.max()) + 1
        inputs = np.full((len(lanes), longest), self._reference.start_token, dtype=np.int64)
        mask = np.zeros_like(inputs)
        for row, (text, length) in enumerate(zip(tokens, lengths, strict=True)):
            mask[row, longest - length - 1 :] = 1
            if length:
                inputs[row, -length:] = text[:length]
        chosen, seen = self._tensor(lanes), self._tensor(mask)
        fresh, hidden, logits = self._run(self._tensor(inputs), seen, None)
        self._merge(chosen, fresh, seen)
        # new arrays: those that were handed out before never change
        self._hidden = self._hidden.index_copy(0, chosen, hidden.to(self._hidden.dtype))
        self._logits = self._logits.index_copy(0, chosen, logits.to(self._logits.dtype))
        self._rows = None

    def step(self, tokens: IntArray, active: BoolArray) -> None:
        """See ``ReferenceLanes.step``."""
        import torch

        if not active.any():
            return
        going = self._tensor(active)
        self._drop_unseen()
        mask = torch.cat((self._mask, going[:, None].long()), dim=1)
        inputs = self._tensor(np.where(active, tokens, self._reference.start_token))[:, None]
        self._cache, hidden, logits = self._run(inputs, mask, self._cache)
        self._mask = mask
        self._hidden = torch.where(going[:, None], hidden, self._hidden)
        self._logits = torch.where(going[:, None], logits, self._logits)
        self._rows = None

    def keep(self, lanes: IntArray) -> None:
        """See ``ReferenceLanes.keep``."""
        chosen = self._tensor(lanes)
        if self._cache is not None:
            self._cache.batch_select_indices(chosen)
        self._mask, self._hidden, self._logits = (
            each[chosen] for each in (self._mask, self._hidden, self._logits)
        )
        self._rows = None

    def log_probs(self) -> NDArray[np.float32]:
        """See ``ReferenceLanes.log_probs``; float32."""
        return self.rows().cpu().numpy()

    def log_prob(self, tokens: IntArray, active: BoolArray | None = None) -> FloatArray:
        """See ``ReferenceLanes.log_prob``."""
        return self.rows().gather(1, self._tensor(tokens)[:, None])[:, 0].double().cpu().numpy()

    def draw(self, uniform: FloatArray) -> IntArray:
        """See ``ReferenceLanes.draw``."""
        import torch

        from klrl_envs.reference.draws import draw_tokens

        numbers = torch.as_tensor(uniform, dtype=torch.float32, device=self._device)
        tokens, _ = draw_tokens(self.rows().clone(), numbers)
        return tokens.cpu().numpy()

    def hidden(self) -> NDArray[np.float32]:
        """See ``ReferenceLanes.hidden``."""
        return self.features().cpu().numpy()

    def rows(self, lanes: IntArray | None = None) -> Tensor:
        """See ``TensorLanes.rows``; those of all lanes are computed."""
        if self._rows is None:
            self._rows = self._logits.float().log_softmax(dim=-1)
        return self._rows if lanes is None else self._rows[self._tensor(lanes)]

    def features(self, lanes: IntArray | None = None) -> Tensor:
        """See ``TensorLanes.features``."""
        return (self._hidden if lanes is None else self._hidden[self._tensor(lanes)]).float()

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        import torch

        return torch.as_tensor(values, device=self._device)

    def _run(self, inputs: Tensor, mask: Tensor, cache: Any) -> tuple[Any, Tensor, Tensor]:
        """The model on inputs [B, T] behind a cache; last hidden states and logits."""
        import torch

        positions = (mask.cumsum(dim=1) - 1).clamp_min(0)[:, -inputs.shape[1] :]
        with torch.inference_mode():
            output = self._reference.model(
                input_ids=inputs,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                output_hidden_states=True,
            )
        return output.past_key_values, output.hidden_states[-1][:, -1], output.logits[:, -1]

    def _merge(self, lanes: Tensor, fresh: Any, mask: Tensor) -> None:
        """Write the cache of restarted lanes [K] into the last columns of the whole cache."""
        import torch
        from transformers import DynamicCache

        count, width = len(self._hidden), mask.shape[1]
        whole: list[tuple[Tensor, ...]] = []
        shape = (count, max(width, self._mask.shape[1]))
        seen = torch.zeros(shape, dtype=torch.int64, device=self._device)
        if self._mask.shape[1]:
            seen[:, -self._mask.shape[1] :] = self._mask
        seen[lanes] = 0
        seen[lanes, -width:] = mask
        old_layers = [None] * len(fresh.layers) if self._cache is None else self._cache.layers
        for new, old in zip(fresh.layers, old_layers, strict=True):
            pair: list[Tensor] = []
            for name in ("keys", "values"):
                part = getattr(new, name)
                joined = part.new_zeros((count, part.shape[1], seen.shape[1], part.shape[3]))
                if old is not None:
                    joined[:, :, -self._mask.shape[1] :] = getattr(old, name)
                joined[lanes, :, -width:] = part
                pair.append(joined)
            whole.append(tuple(pair))
        self._cache = DynamicCache(whole)
        self._mask = seen

    def _drop_unseen(self) -> None:
        """Drop the columns on the left that no lane sees any more."""
        from transformers import DynamicCache

        unseen = int((self._mask.any(dim=0).cumsum(dim=0) == 0).sum())
        if unseen:
            kept = [(layer.keys[:, :, unseen:], layer.values[:, :, unseen:]) for layer in self._cache.layers]
            self._cache = DynamicCache(kept)
            self._mask = self._mask[:, unseen:]


def _last_norm(model: Any) -> Any:
    base = model.base_model
    for name in ("norm", "ln_f", "final_layernorm", "final_layer_norm"):
        if hasattr(base, name):
            return getattr(base, name)
    raise TypeError(f"the network {type(base).__name__} ends in no norm that is known")


def hub_reference(name: str, device: str = "cpu") -> HubReference:
    """The reference of a path or hub id; loaded once per process and device."""
    return _loaded(name, _same_name(device))


@lru_cache(maxsize=4)
def _loaded(name: str, device: str) -> HubReference:
    return HubReference(name, local_folder(name), device)


def _same_name(device: str) -> str:
    """One name for each device: the first CUDA device has two."""
    return "cuda" if device == "cuda:0" else device
