"""How a ``Nano`` reads texts with gradients: a prompt that several texts share is read once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from klrl_envs.reference.nano import rotate

Layer = Callable[..., Any]
"""Reads a layer as ``layer`` does."""


def hidden_states(
    model: Any,
    tokens: Tensor,
    first: Tensor,
    steps: int,
    *,
    shared: int | None,
    recompute: bool = False,
    compiled: Layer | None = None,
) -> Tensor:
    """Final normalised hidden states [n, steps, width] before each token of texts.

    Args:
        model: a ``Nano``.
        tokens: int64 [n, L + 1], the start token, the prompt and the text, padded on the right.
        first: int64 [n], tokens before the text, the start token among them.
        steps: T, of the text.
        shared: what all of ``first`` are; None where they differ.
        recompute: keeps no activations of a layer for its gradient.
        compiled: stands for ``layer`` where prompts are of one length.
    """
    if shared is not None:
        read = compiled or layer
        if recompute:
            read = partial(checkpoint, read, use_reentrant=False)
        return after_prompts(model, tokens[:, :shared], tokens[:, shared : shared + steps - 1], read)
    x, length = model.embedding(tokens[:, :-1]), tokens.shape[1] - 1
    for block in model.layers:
        arguments = (block, x, model.cosine[:length], model.sine[:length])
        x = checkpoint(*arguments, use_reentrant=False) if recompute else block(*arguments[1:])
    places = first[:, None] - 1 + torch.arange(steps, device=tokens.device)
    return model.norm(x.gather(1, places[..., None].expand(-1, -1, x.shape[-1])))


def after_prompts(model: Any, prompts: Tensor, texts: Tensor, read: Layer) -> Tensor:
    """Final normalised hidden states [n, T, width] at the ends of prompts [n, S] and in texts [n, T - 1].

    Equal prompts are read once on the CPU; elsewhere to find them would take longer than to read them.
    """
    unique, rows = prompts, torch.arange(len(prompts), device=prompts.device)
    if prompts.device.type == "cpu":
        unique, rows = torch.unique(prompts, dim=0, return_inverse=True)
        # to a multiple of eight, so that a compiled layer seldom sees another shape
        unique = torch.cat((unique, unique[:1].expand(-len(unique) % 8, -1)))
    length, steps = prompts.shape[1], texts.shape[1]
    places = torch.arange(length + steps, device=texts.device)
    seen = places <= places[length:, None]
    begun, x = model.embedding(unique), model.embedding(texts)
    for block in model.layers:
        begun, x = read(block, begun, x, rows, model.cosine, model.sine, seen)
    return model.norm(torch.cat((begun[:, -1:].index_select(0, rows), x), dim=1))


def layer(
    block: Any, begun: Tensor, x: Tensor, rows: Tensor, cosine: Tensor, sine: Tensor, seen: Tensor
) -> tuple[Tensor, Tensor]:
    """A layer on prompts [U, S, width] and on texts [n, T, width] that go on from the prompts rows [n].

    ``seen`` bool [T, S + T] says which positions each of the text's looks at.
    """
    length, end = begun.shape[1], seen.shape[1]
    query, key, value = block.split_heads(begun)
    query, key = rotate(query, cosine[:length], sine[:length]), rotate(key, cosine[:length], sine[:length])
    after = block.merge(begun, F.scaled_dot_product_attention(query, key, value, is_causal=True))
    if not x.shape[1]:
        return after, x
    own, own_key, own_value = block.split_heads(x)
    own = rotate(own, cosine[length:end], sine[length:end])
    own_key = rotate(own_key, cosine[length:end], sine[length:end])
    keys = torch.cat((key.index_select(0, rows), own_key), dim=2)
    values = torch.cat((value.index_select(0, rows), own_value), dim=2)
    return after, block.merge(x, F.scaled_dot_product_attention(own, keys, values, attn_mask=seen))
