"""How a ``Nano`` reads texts with gradients: a prompt that several texts share is read once."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from klrl_envs.reference.nano import rotate


def hidden_states(
    model: Any, tokens: Tensor, first: Tensor, steps: int, *, recompute: bool = False
) -> Tensor:
    """Final normalised hidden states [n, steps, width] before each token of texts.

    Args:
        model: a ``Nano``.
        tokens: int64 [n, L + 1], the start token, the prompt and the text, padded on the right.
        first: int64 [n], tokens before the text, the start token among them.
        steps: T, of the text.
        recompute: keeps no activations of a layer for its gradient.
    """
    shared = int(first.min())
    if shared == int(first.max()):
        return after_prompts(model, tokens[:, :shared], tokens[:, shared : shared + steps - 1], recompute)
    x, length = model.embedding(tokens[:, :-1]), tokens.shape[1] - 1
    for block in model.layers:
        arguments = (block, x, model.cosine[:length], model.sine[:length])
        x = checkpoint(*arguments, use_reentrant=False) if recompute else block(*arguments[1:])
    places = first[:, None] - 1 + torch.arange(steps, device=tokens.device)
    return model.norm(x.gather(1, places[..., None].expand(-1, -1, x.shape[-1])))


def after_prompts(model: Any, prompts: Tensor, texts: Tensor, recompute: bool) -> Tensor:
    """Final normalised hidden states [n, T, width] at the ends of prompts [n, S] and in texts [n, T - 1]."""
    unique, rows = torch.unique(prompts, dim=0, return_inverse=True)
    length, steps = prompts.shape[1], texts.shape[1]
    places = torch.arange(length + steps, device=texts.device)
    seen = places <= places[length:, None]
    begun, x = model.embedding(unique), model.embedding(texts)
    for block in model.layers:
        arguments = (block, begun, x, rows, model.cosine, model.sine, seen)
        begun, x = checkpoint(layer, *arguments, use_reentrant=False) if recompute else layer(*arguments)
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
