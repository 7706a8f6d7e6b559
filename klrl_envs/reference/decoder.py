"""Writing with a ``Nano`` token by token: its weights laid out for that, and the keys and values so far.

The same function as ``Nano.forward`` up to rounding, in fewer and larger operations: the gains of the norms
and the scale of the queries are folded into the products behind them, rotary positions are one product of
complex numbers for queries and keys together (coordinates that turn together stand side by side, which leaves
inner products as they are), and attention at one query is two matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from klrl_envs.reference.nano import Block, Nano


@dataclass(frozen=True)
class BlockWeights:
    """A block's matrices, inputs first, gains folded in: [width, 3 width], [width, width], [width, 2 hidden]
    and [hidden, width].
    """

    query_key_value: Tensor
    attention_out: Tensor
    gate_up: Tensor
    down: Tensor

    @classmethod
    def of(cls, block: Block) -> BlockWeights:
        """Of a block."""
        projection = block.query_key_value.weight * block.attention_norm.weight
        width = projection.shape[1]
        size = width // block.heads
        parts = projection.view(3, block.heads, size, width)
        # [.., 2, size / 2, ..] -> [.., size / 2, 2, ..]: what turns together stands side by side
        pairs = parts[:2].unflatten(2, (2, -1)).transpose(2, 3).flatten(2, 3)
        whole = torch.stack((pairs[0] * size**-0.5, pairs[1], parts[2])).view(3 * width, width)
        gate_up = block.gate_up.weight * block.feed_forward_norm.weight
        return cls(
            whole.T.contiguous(),
            block.attention_out.weight.T.contiguous(),
            gate_up.T.contiguous(),
            block.down.weight.T.contiguous(),
        )


@dataclass(frozen=True)
class DecoderWeights:
    """A ``Nano``'s weights as ``Decoder`` reads them; they do not follow the model when it is trained.

    Attributes:
        embedding: [V, width].
        blocks: in order.
        unembedding: [width, V], the last norm's gain folded in.
        gain: [width], of the last norm.
        rotation: complex [context, half a head], unit numbers.
        heads: of attention.
        norm_eps: of the norms.
    """

    embedding: Tensor
    blocks: tuple[BlockWeights, ...]
    unembedding: Tensor
    gain: Tensor
    rotation: Tensor
    heads: int
    norm_eps: float

    @classmethod
    @torch.no_grad()
    def of(cls, model: Nano) -> DecoderWeights:
        """Of a model as it is now, on its device."""
        embedding = model.embedding.weight.detach()
        return cls(
            embedding=embedding.clone(),
            blocks=tuple(BlockWeights.of(block) for block in model.layers),
            unembedding=(embedding * model.norm.weight).T.contiguous(),
            gain=model.norm.weight.detach().clone(),
            rotation=torch.complex(model.cosine, model.sine),
            heads=model.config.heads,
            norm_eps=model.config.norm_eps,
        )


class Decoder:
    """N texts that grow token by token and restart one by one.

    States [N, width] are the normalised residual stream before the last norm's gain; ``logits`` and
    ``hidden`` make of them what is asked for.

    Args:
        weights: whose texts they are.
        count: N.
        length: of the longest text, the start token included.
        fixed: read the whole length at each step, so that shapes never change, nothing waits for the device,
            and a step can be captured as a CUDA graph; else what is written so far. None for True on CUDA.

    Raises:
        ValueError: the length is beyond the network's context.
    """

    def __init__(
        self, weights: DecoderWeights, count: int, length: int, *, fixed: bool | None = None
    ) -> None:
        context = len(weights.rotation)
        if length > context:
            raise ValueError(
                f"prompt and horizon need {length} positions with the start token, "
                f"the network's context has {context}"
            )
        self._weights = weights
        self._eps = weights.norm_eps
        embedding, heads = weights.embedding, weights.heads
        size = embedding.shape[1] // heads
        self._cache = [embedding.new_zeros((2, count, heads, length, size)) for _ in weights.blocks]
        self._lengths = torch.zeros(count, dtype=torch.int64, device=embedding.device)
        self._every = torch.arange(count, device=embedding.device)
        self._positions = torch.arange(length, device=embedding.device)
        self._fixed = embedding.is_cuda if fixed is None else fixed

    def start(self, tokens: Tensor, *, lanes: Tensor, rows: Tensor, lengths: Tensor) -> Tensor:
        """Put lanes [K] at texts tokens [U, T], start token included: lane k at row rows[k], of lengths[k].

        Returns the states [K, width] of their last tokens.
        """
        weights = self._weights
        count, length = tokens.shape
        rotation = weights.rotation[:length, None, None, None]
        x = weights.embedding[tokens.flatten()]
        last = rows * length + lengths - 1
        for number, (block, cache) in enumerate(zip(weights.blocks, self._cache, strict=True)):
            parts = self._project(x, block, (count, length)).transpose(0, 1)  # [T, U, 3, heads, size]
            query, key = self._turn(parts[:, :, :2], rotation).permute(2, 1, 3, 0, 4)
            value = parts[:, :, 2].permute(1, 2, 0, 3)
            cache[0, lanes, :, :length] = key[rows]
            cache[1, lanes, :, :length] = value[rows]
            attended = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0)
            attended = attended.transpose(1, 2).reshape(x.shape)
            if number == len(self._cache) - 1:  # only the last tokens' states are needed
                x, attended = x[last], attended[last]
            x = self._merge(x, attended, block)
        self._lengths[lanes] = lengths
        return self._normalised(x)

    def step(self, tokens: Tensor, active: Tensor | None = None) -> Tensor:
        """Append tokens [N]; lanes that are not ``active`` bool [N] keep their length.

        Returns states [N, width], meaningless on lanes that are not active.
        """
        weights = self._weights
        count = len(tokens)
        seen, together = len(self._positions), False
        if not self._fixed:
            first, last = (int(place) for place in torch.aminmax(self._lengths))
            seen, together = last + 1, first == last
        where = seen - 1 if together else self._lengths
        rotation = weights.rotation[where] if together else weights.rotation[where, None, None]
        later = None
        if not together:
            later = self._positions[:seen] > self._lengths[:, None]
            later = later.repeat_interleave(weights.heads, dim=0)[:, None]
        x = weights.embedding[tokens]
        for block, cache in zip(weights.blocks, self._cache, strict=True):
            parts = self._project(x, block, (count,))
            turned = self._turn(parts[:, :2], rotation)
            if together:
                cache[0, :, :, where] = turned[:, 1]
                cache[1, :, :, where] = parts[:, 2]
            else:
                cache[0, self._every, :, where] = turned[:, 1]
                cache[1, self._every, :, where] = parts[:, 2]
            keys, values = cache.flatten(1, 2)[:, :, :seen]
            query = turned[:, 0].reshape(len(keys), 1, -1)
            scores = torch.bmm(query, keys.transpose(1, 2))
            if later is not None:
                scores.masked_fill_(later, -torch.inf)
            attended = torch.bmm(scores.softmax(dim=2), values)
            x = self._merge(x, attended.view(x.shape), block)
        self._lengths += 1 if active is None else active.long()
        return self._normalised(x)

    def keep(self, lanes: Tensor) -> None:
        """Go on with lanes [K] alone, in this order."""
        self._cache = [cache[:, lanes] for cache in self._cache]
        self._lengths, self._every = self._lengths[lanes], self._every[: len(lanes)]

    def logits(self, states: Tensor) -> Tensor:
        """Logits [..., V]."""
        return states @ self._weights.unembedding

    def hidden(self, states: Tensor) -> Tensor:
        """Final normalised hidden states [..., width], as ``Nano.hidden`` gives them."""
        return states * self._weights.gain

    def _project(self, x: Tensor, block: BlockWeights, shape: tuple[int, ...]) -> Tensor:
        """Queries, keys and values [*shape, 3, heads, size] of the residual stream [M, width]."""
        return (self._normalised(x) @ block.query_key_value).view(*shape, 3, self._weights.heads, -1)

    @staticmethod
    def _turn(parts: Tensor, rotation: Tensor) -> Tensor:
        """Rotary positions of pairs of neighbours [..., size] by complex [..., size / 2]."""
        pairs = torch.view_as_complex(parts.unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * rotation).flatten(-2)

    def _merge(self, x: Tensor, attended: Tensor, block: BlockWeights) -> Tensor:
        """The residual stream [M, width] behind a block, of what its attention gave [M, width]."""
        x = torch.addmm(x, attended, block.attention_out)
        gate, up = (self._normalised(x) @ block.gate_up).chunk(2, dim=-1)
        return torch.addmm(x, F.silu(gate).mul_(up), block.down)

    def _normalised(self, x: Tensor) -> Tensor:
        """RMS norm [M, width] without its gain."""
        return F.rms_norm(x, x.shape[-1:], eps=self._eps)
