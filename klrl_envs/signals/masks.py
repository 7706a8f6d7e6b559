"""Which tokens have a part in a loss: every token of a text should, and none of the padding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.signals.batch import Batch
from klrl_envs.signals.expected import SILENT, Signal, beyond_the_end
from klrl_envs.signals.policy import log_law
from klrl_envs.signals.tiny import END

LOOKED_AT = 12
"""Calls that are looked at for tokens that are left out."""
SHIFT = 0.3
"""Nats by which pi0 is changed at some tokens."""


def part_of_padding(signal: Signal, rows: FloatArray) -> float:
    """The gradient's length at padding, and how far it moves where log-probs at padding are others."""
    first = signal.gradients(rows).mean
    kept, signal.beyond = signal.beyond, beyond_the_end(signal.task, seed=2)
    other = signal.gradients(rows).mean
    signal.beyond = kept
    moved = float(np.linalg.norm((first - other)[:, :-1]))
    return float(np.linalg.norm(first[:, -1])) + (moved if moved > SILENT else 0.0)


def left_out(signal: Signal, rows: FloatArray) -> list[str]:
    """Which tokens of a text have no part in the loss, or none in its KL, though the others have.

    Args:
        signal: on its task.
        rows: float64 [P, S, V], a policy other than pi0.
    """
    batches = some_batches(signal, rows)
    slopes = [slope_of(signal, batch) for batch in batches]

    def largest(changes: list[torch.Tensor], places: list[torch.Tensor]) -> float:
        """Of all batches, at some of their tokens."""
        return max(float((change * here).amax()) for change, here in zip(changes, places))

    def turned(places: list[torch.Tensor]) -> float:
        """How far the gradient moves where pi0 thinks otherwise of some tokens."""
        others = [slope_of(signal, otherwise(batch, here)) for batch, here in zip(batches, places)]
        changes = [(one - other).abs() for one, other in zip(slopes, others)]
        return largest(changes, [batch.mask for batch in batches])

    told: dict[str, str] = {}
    for name, choose in TOKENS.items():
        chosen = [choose(batch) * long(batch) for batch in batches]
        rest = [batch.mask * long(batch) - here for batch, here in zip(batches, chosen)]
        if not any(bool(here.any()) for here in chosen):
            continue
        if largest(slopes, chosen) <= SILENT * largest(slopes, rest):
            told.setdefault("loss", f"The {name} of a text has no part in it")
        elif turned(chosen) <= SILENT * turned(rest):
            told.setdefault("KL", f"The {name} of a text has no part in its KL")
    return list(told.values())


def some_batches(signal: Signal, rows: FloatArray) -> list[Batch]:
    """What a trainer has of some calls, likely ones and others."""
    drawn = signal.calls.drawn(np.exp(log_law(signal.task, rows)))
    ranked = np.argsort(-drawn.weights, kind="stable")
    table = signal.table(rows)
    return [
        signal.batch(table, table, torch.as_tensor(drawn.prompts[call]), torch.as_tensor(drawn.texts[call]))
        for call in ranked[np.unique(np.linspace(0, len(ranked) - 1, LOOKED_AT).astype(int))]
    ]


def slope_of(signal: Signal, batch: Batch) -> torch.Tensor:
    """How much each token's log-prob, and its whole row, have to do with the loss: not negative, [B, T]."""
    leaves = [one.clone().requires_grad_() for one in (batch.log_probs, batch.logits)]
    value = signal.value(replace(batch, log_probs=leaves[0], logits=leaves[1]))
    if not value.requires_grad:
        return torch.zeros_like(batch.log_probs)
    taken, whole = torch.autograd.grad(value, leaves, materialize_grads=True)
    return taken.abs() + whole.abs().sum(dim=2)


def otherwise(batch: Batch, places: torch.Tensor) -> Batch:
    """A batch with another pi0 at some tokens [B, T]."""
    return replace(
        batch,
        reference_log_probs=batch.reference_log_probs - SHIFT * places,
        reference_logits=batch.reference_logits
        - SHIFT * places[:, :, None] * torch.arange(batch.logits.shape[2]),
    )


def long(batch: Batch) -> torch.Tensor:
    """Which texts have more tokens than one [B, 1]."""
    return (batch.mask.sum(dim=1, keepdim=True) > 1).to(batch.mask.dtype)


def first(batch: Batch) -> torch.Tensor:
    """The first token of each text, 1 there [B, T]."""
    return batch.mask * (batch.mask.cumsum(dim=1) == 1)


def last(batch: Batch) -> torch.Tensor:
    """The last token of each text, whether it ends the text or the horizon does."""
    return batch.mask * (batch.mask.flip(1).cumsum(dim=1).flip(1) == 1)


def end(batch: Batch) -> torch.Tensor:
    """The token that ends a text."""
    return batch.mask * (batch.tokens == END)


def last_column(batch: Batch) -> torch.Tensor:
    """The last column of the batch, in which the longest texts have a token."""
    return batch.mask * (torch.arange(batch.mask.shape[1]) == batch.mask.shape[1] - 1)


TOKENS: dict[str, Callable[[Batch], torch.Tensor]] = {
    "first token": first,
    "last token": last,
    "end token": end,
    "last column": last_column,
}
"""What masks that are off leave out; of two that fit the first is told."""
