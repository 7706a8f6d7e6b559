"""Whether a loss is one: what is tried on a few batches before anything is made of it, and its errors."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import numpy as np
import torch

from klrl_envs.reference.arrays import IntArray
from klrl_envs.signals.calls import Drawn
from klrl_envs.signals.policy import log_law, random_policy
from klrl_envs.signals.tiny import TinyTask

if TYPE_CHECKING:
    from klrl_envs.signals.expected import Signal

TRIED = 3
"""Likely calls, and as many others."""
MOST_SHOWN = 8
"""Texts of a batch that a message writes out."""
LONGEST_REASON = 160
"""Characters of another's error."""


class LossError(ValueError):
    """The loss raised an error, or gave what is no loss: its message says which, and where."""


def raised(error: Exception) -> str:
    """What an error within a loss was, in a line, with the place in the author's own file."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {shortened(str(error))}{place}"


def shortened(message: str) -> str:
    """Its first line, and no more than fits."""
    first = message.strip().partition("\n")[0]
    return first if len(first) <= LONGEST_REASON else first[:LONGEST_REASON].rstrip() + " ..."


def described(task: TinyTask, texts: IntArray, group_size: int) -> str:
    """A batch of texts [B], for a message."""
    grouped = texts.reshape(-1, group_size)
    alike = group_size > 1 and bool((grouped == grouped[:, :1]).all())
    told = "a batch where all texts of a group are alike," if alike else "a batch"
    if len(texts) > MOST_SHOWN:
        return f"{told} of {len(texts)} texts"
    spelled = [" ".join(map(str, task.tokens[text][task.mask[text]].tolist())) for text in texts.tolist()]
    return f"{told} of the texts {' | '.join(spelled)}"


def tried(signal: Signal) -> str:
    """Try a signal on a few calls: empty where many may be computed at once, else why they may not.

    Raises:
        LossError: it gives no finite number with a finite gradient, or not the same one twice.
    """
    task, size = signal.task, signal.calls.group_size
    few = few_calls(signal)
    start = signal.table(task.reference)
    first, again = outcomes(signal, start, few), outcomes(signal, start, few)
    for texts, *both in zip(few.texts, first, again):
        if not all(torch.allclose(one, other, rtol=1e-9, atol=1e-12) for one, other in zip(*both)):
            raise LossError(
                f"the loss is not a function of its batch: on {described(task, texts, size)} it gave "
                "two results: fix its random numbers, and keep nothing from call to call"
            )
    away = signal.table(random_policy(task, seed=0))  # where the KL has a gradient
    outcomes(signal, away, few)
    single = signal.each(away, away, few, vectorised=False)
    try:
        many = signal.each(away, away, few, vectorised=True)
    except Exception as error:  # whatever .item(), NumPy or control flow by values may raise there
        cause = error.__cause__ if isinstance(error, LossError) else None
        return raised(cause if isinstance(cause, Exception) else error)
    if not np.allclose(many, single, rtol=1e-9, atol=1e-12):
        return "many calls at once give other gradients than one after the other"
    return ""


def few_calls(signal: Signal) -> Drawn:
    """Likely calls under pi0 and some others, and one where all texts of a group are alike.

    In a likely group all texts are often one, and none has an advantage: others are tried, too. As a policy
    narrows groups of one text are what it writes most, and where a deviation is 0 a slope may be none.
    """
    law = np.exp(log_law(signal.task, signal.task.reference))
    drawn = signal.calls.drawn(law)
    ranked = np.argsort(-drawn.weights, kind="stable")
    others = ranked[np.linspace(0, len(ranked) - 1, TRIED + 1)[1:].astype(int)]
    chosen = np.unique([*ranked[:TRIED], *others])
    prompts = np.concatenate([drawn.prompts[chosen], drawn.prompts[:1]])
    alike = law.argmax(axis=1)[drawn.prompts[:1]]
    texts = np.concatenate([drawn.texts[chosen], alike])
    return Drawn(prompts, texts, np.ones(len(texts)), np.zeros(len(texts), dtype=np.int64))


def outcomes(signal: Signal, rows: torch.Tensor, few: Drawn) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The loss of each call and its gradient, both seen to be finite.

    Raises:
        LossError: they are not, or no call has a gradient.
    """
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    sloped = False
    for prompts, texts in zip(torch.as_tensor(few.prompts), torch.as_tensor(few.texts)):
        leaf = rows.clone().requires_grad_()
        value = signal.loss_of(leaf, rows, prompts, texts)
        slope = torch.zeros_like(rows)
        if value.requires_grad:
            sloped = True
            (slope,) = torch.autograd.grad(value, leaf, materialize_grads=True)
        for name, one in (("loss", value.detach()), ("loss's gradient", slope)):
            if not torch.isfinite(one).all():
                where = described(signal.task, texts.numpy(), signal.calls.group_size)
                raise LossError(f"the {name} is {not_finite(one)} on {where}")
        found.append((value.detach(), slope))
    if not sloped:
        raise LossError("the loss has no gradient in batch.log_probs or batch.logits: all is detached")
    return found


def not_finite(values: torch.Tensor) -> float:
    """The first number that is none."""
    return float(values[~torch.isfinite(values)].flatten()[0])
