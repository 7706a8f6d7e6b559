"""Writing with a ``Nano`` token by token: its weights laid out for that, and the keys and values so far.

The same function as ``Nano.forward`` up to rounding, in fewer and larger operations: the gains of the norms
and the scale of the queries are folded into the products behind them, rotary positions are one product of
complex numbers for queries and keys together (coordinates that turn together stand side by side, which leaves
inner products as they are), and attention at one query is two matrix products.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from klrl_envs.reference.nano import Block, Nano
from klrl_envs.reference.shared_prefixes import SharedPrefixes, worth_sharing


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
        pairs = (
            parts[:2].view(2, block.heads, 2, -1, width).transpose(2, 3).reshape(2, block.heads, size, width)
        )
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
        norm_eps: of the norms, [1].
    """

    embedding: Tensor
    blocks: tuple[BlockWeights, ...]
    unembedding: Tensor
    gain: Tensor
    rotation: Tensor
    heads: int
    norm_eps: Tensor

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
            norm_eps=embedding.new_full((1,), model.config.norm_eps),
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
            and a step can be captured as a CUDA graph; else what is written so far. None for False on the
            CPU, True elsewhere.

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
        device = weights.embedding.device
        self._lengths = torch.zeros(count, dtype=torch.int64, device=device)
        self._every = torch.arange(count, device=device)
        self._positions = torch.arange(length, device=device)
        self._fixed = device.type != "cpu" if fixed is None else fixed
        self._shared: SharedPrefixes | None = None
        self._behind = torch.zeros_like(self._lengths)  # positions that are shared, not a lane's own
        self._most = length  # positions of a lane's own
        self._lay(self._blank(length if self._fixed else 0))

    def _blank(self, places: int) -> list[Tensor]:
        """Keys and values of so many positions: zeros [2, N, heads, places, size / 2], complex."""
        rotation = self._weights.rotation
        shape = (2, len(self._every), self._weights.heads, places, rotation.shape[1])
        return [rotation.new_zeros(shape) for _ in self._weights.blocks]

    def _lay(self, pairs: list[Tensor]) -> None:
        """Take these as keys and values, as ``_blank`` has them."""
        self._pairs = pairs
        self._read = [torch.view_as_real(each).flatten(-2).flatten(1, 2) for each in pairs]

    def _have(self, places: int) -> None:
        """Have room for so many positions of each lane's own; where it grows, at least twofold."""
        room = self._pairs[0].shape[3]
        if places <= room:
            return
        pairs = self._blank(min(max(places, 2 * room), self._most))
        for larger, smaller in zip(pairs, self._pairs, strict=True):
            larger[:, :, :, :room] = smaller
        self._lay(pairs)

    def _share(self, shared: SharedPrefixes | None) -> None:
        """Begin anew behind what lanes share, or with nothing."""
        self._shared = shared
        self._behind = torch.zeros_like(self._lengths) if shared is None else shared.behind
        self._most = len(self._positions) - (0 if shared is None else int(self._behind.min()))
        self._lay(self._blank(0))

    def _part(self, shared: SharedPrefixes) -> None:
        """Give each lane its own copy of what it shared."""
        behind, own = self._behind, self._pairs
        written = int((self._lengths - behind).max())
        copies = [shared.of_each(number) for number in range(len(own))]
        self._share(None)
        self._have(max(int(self._lengths.max()), copies[0].shape[3]))
        where = behind[:, None] + self._positions[:written]
        for pairs, known, added in zip(self._pairs, copies, own, strict=True):
            pairs[:, :, :, : known.shape[3]] = known
            for lane, places in enumerate(where):
                room = int((places < pairs.shape[3]).sum())
                pairs[:, lane, :, places[:room]] = added[:, lane, :, :room]

    def start(
        self, tokens: Tensor, lengths: Tensor, *, lanes: Tensor | None = None, rows: Tensor | None = None
    ) -> Tensor:
        """Put lanes [K] at texts tokens [U, T], start token included: lane k at row rows[k], of lengths[k].

        Returns the states [K, width] of their last tokens. Without ``lanes`` all are meant, in their order,
        and without ``rows`` each row once, in their order. Where all are put at few rows, they share what is
        known of these.
        """
        weights = self._weights
        if lanes is None and rows is not None and not self._fixed and worth_sharing(rows, len(tokens)):
            of_rows = lengths.new_ones(len(tokens)).index_copy_(0, rows, lengths)
            if bool((of_rows[rows] == lengths).all()):
                return self._start_together(tokens, of_rows, rows)
        if self._shared is not None:
            self._share(None) if lanes is None else self._part(self._shared)
        count, length = tokens.shape
        self._have(length)
        rotation = weights.rotation[:length, None]
        x = F.embedding(tokens.flatten(), weights.embedding)
        last = (self._every[: len(lengths)] if rows is None else rows) * length + lengths - 1
        for number, (block, pairs) in enumerate(zip(weights.blocks, self._pairs, strict=True)):
            query, key, value = self._project(x, block, (count, length)).unbind(dim=2)  # [U, T, heads, half]
            parts = [each.transpose(1, 2) for each in (query * rotation, key * rotation, value)]
            for place, part in enumerate(parts[1:]):
                part = part if rows is None else part[rows]
                if lanes is None:
                    pairs[place, :, :, :length] = part
                else:
                    pairs[place, lanes, :, :length] = part
            query, key, value = (torch.view_as_real(each).flatten(-2) for each in parts)
            attended = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0)
            attended = attended.transpose(1, 2).reshape(x.shape)
            if number == len(self._pairs) - 1:  # only the last tokens' states are needed
                x, attended = x[last], attended[last]
            x = self._merge(x, attended, block)
        self._lengths[slice(None) if lanes is None else lanes] = lengths
        return self._normalised(x)

    def _start_together(self, tokens: Tensor, of_rows: Tensor, rows: Tensor) -> Tensor:
        """All lanes at texts [U, T] of lengths ``of_rows`` [U]: ``start``, each text read once."""
        length = int(of_rows.max())
        one = Decoder(self._weights, len(tokens), length, fixed=False)
        states = one.start(tokens[:, :length], of_rows)
        self._share(SharedPrefixes(one._pairs, of_rows, rows))
        self._lengths[:] = of_rows[rows]
        return states[rows]

    def step(self, tokens: Tensor, active: Tensor | None = None) -> Tensor:
        """Append tokens [N]; lanes that are not ``active`` bool [N] keep their length.

        Returns states [N, width], meaningless on lanes that are not active.
        """
        if active is not None and not self._fixed and 2 * int(active.sum()) <= len(active):
            return self._step_some(tokens, active.nonzero()[:, 0])
        weights = self._weights
        own = self._lengths - self._behind
        seen, together = len(self._positions), False
        if not self._fixed:
            seen, together = self._extent(own, active)
        # a lane that is full rests, and what is written to its last place is never read
        self._have(seen)
        where = own.clamp_max(self._most - 1)
        rotation = weights.rotation[self._lengths.clamp_max(len(self._positions) - 1), None]
        later = None
        if not together:
            later = self._positions[:seen] > own[:, None]
            later = later.repeat_interleave(weights.heads, dim=0)[:, None]
        x = F.embedding(tokens, weights.embedding)
        for number, (block, pairs, read) in enumerate(
            zip(weights.blocks, self._pairs, self._read, strict=True)
        ):
            query, key, value = self._project(x, block, tokens.shape).unbind(dim=1)
            query = torch.view_as_real(query * rotation).view(read.shape[1], 1, -1)
            if together:
                place = pairs.select(3, seen - 1)
                torch.mul(key, rotation, out=place[0])
                place[1] = value
            else:
                pairs[0, self._every, :, where] = key * rotation
                pairs[1, self._every, :, where] = value
            keys, values = read[:, :, :seen]
            scores = torch.bmm(query, keys.transpose(1, 2))
            if later is not None:
                scores.masked_fill_(later, -torch.inf)
            if self._shared is None:
                attended = torch.bmm(scores.softmax(dim=2), values)
            else:
                before = self._shared.scores(number, query)
                shares = torch.cat((before, scores), dim=2).softmax(dim=2)
                attended = self._shared.attended(number, shares[:, :, : before.shape[2]])
                attended = torch.baddbmm(attended, shares[:, :, before.shape[2] :], values)
            x = self._merge(x, attended.view(x.shape), block)
        self._lengths += 1 if active is None else active.long()
        return self._normalised(x)

    def _step_some(self, tokens: Tensor, lanes: Tensor) -> Tensor:
        """``step`` where lanes [K] alone are active: no more is computed than they need."""
        where = self._lengths[lanes] - self._behind[lanes]
        few = copy(self)
        few.keep(lanes)
        states = few.step(tokens[lanes])
        self._have(few._pairs[0].shape[3])
        where.clamp_max_(self._most - 1)
        for pairs, added in zip(self._pairs, few._pairs, strict=True):
            pairs[:, lanes, :, where] = added[:, few._every, :, where]
        self._lengths[lanes] += 1
        return states.new_zeros((len(self._every), states.shape[1])).index_copy_(0, lanes, states)

    def keep(self, lanes: Tensor) -> None:
        """Go on with lanes [K] alone, in this order."""
        self._lay([pairs[:, lanes] for pairs in self._pairs])
        self._shared = self._shared and self._shared.keep(lanes)
        self._lengths, self._behind = self._lengths[lanes], self._behind[lanes]
        self._every = self._every[: len(lanes)]

    def logits(self, states: Tensor) -> Tensor:
        """Logits [..., V]."""
        return states @ self._weights.unembedding

    def hidden(self, states: Tensor) -> Tensor:
        """Final normalised hidden states [..., width], as ``Nano.hidden`` gives them."""
        return states * self._weights.gain

    def _extent(self, own: Tensor, active: Tensor | None) -> tuple[int, bool]:
        """How many positions of their own [N] are read when a token is appended, and whether all lanes that
        count have as many.

        The others may be shorter then: what is written behind their ends is written again before it is read.
        """
        going = own if active is None else own[active]
        first, last = (int(length) for length in torch.aminmax(going))
        longest = last if active is None else int(own.max())
        return min(longest + 1, self._most), first == longest

    def _project(self, x: Tensor, block: BlockWeights, shape: tuple[int, ...]) -> Tensor:
        """Queries, keys and values of the residual stream [M, width], complex [.., 3, heads, size / 2]."""
        projected = self._normalised(x) @ block.query_key_value
        return torch.view_as_complex(projected.view(*shape, 3, self._weights.heads, -1, 2))

    def _merge(self, x: Tensor, attended: Tensor, block: BlockWeights) -> Tensor:
        """The residual stream [M, width] behind a block, of what its attention gave [M, width]."""
        x = torch.addmm(x, attended, block.attention_out)
        gate, up = (self._normalised(x) @ block.gate_up).chunk(2, dim=-1)
        return torch.addmm(x, F.silu(gate).mul_(up), block.down)

    def _normalised(self, x: Tensor) -> Tensor:
        """RMS norm [M, width] without its gain, in fewer operations than torch's own takes."""
        norm = cast(Any, torch.linalg).vector_norm(x, dim=1, keepdim=True)
        scale = torch.addcmul(self._weights.norm_eps, norm, norm, value=1 / x.shape[1])
        return x * scale.rsqrt_()
