"""Where a training signal ends: the exact natural gradient of the expected loss, followed from pi0.

Of free logits the natural gradient moves log pi(a|s) by what the signal says of a at s, however seldom s is
visited (Kakade 2001): the way that a perfect optimiser of small steps would go, without any noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.signals.expected import Signal
from klrl_envs.signals.policy import Standing, log_law, log_softmax, standing, visits
from klrl_envs.signals.tiny import NEVER, TinyTask

STEPS = 300
FIRST_STEP = 0.05
LONGEST_STEP = 0.1
"""Nats, root mean square over what the policy writes."""
LARGEST_MOVE = 2.0
"""Nats of any log-prob in a step."""
GROWTH = 1.25
AT_REST = 1e-9
"""A step so short is the last; so is one of a direction that is so short beside the first."""
SELDOM = 1e-290
NEGLIGIBLE = 1e-12
"""Of probability: what is written so seldom, and ever less, has no say in how long a step is."""
LOWEST = -60.0
"""A log-prob that falls so low is that of a token that is dropped."""


@dataclass(frozen=True, eq=False)
class End:
    """Where a signal ends.

    Attributes:
        rows: float64 [P, S, V], the policy.
        law: [P, N], of the texts of the task that the signal's own task was made of.
        at: where that stands.
        found: whether it is at rest there; else it was still on its way after ``STEPS`` steps.
        texts_left: how many texts a prompt it writes, as the exponential of the entropy; 1 is a collapse.
    """

    rows: FloatArray
    law: FloatArray
    at: Standing
    found: bool
    texts_left: float


def natural(task: TinyTask, rows: FloatArray, ascent: FloatArray) -> tuple[FloatArray, float, float]:
    """The natural gradient [P, S, V] of an ascent direction in the logits, its root mean square, its largest.

    The mean is over what the policy writes; where it never comes the direction is 0. A token may fall without
    end, and the faster the less of it is left (as with k3 in the reward): that fall is in no mean when next
    to nothing is left, or the others would wait for it for ever.
    """
    probabilities = np.exp(rows)
    weight = visits(task, np.exp(log_law(task, rows)))[:, :, None] * probabilities / task.prompts
    seen = weight > SELDOM
    direction = np.where(seen, ascent / np.where(seen, weight, 1.0), 0.0)
    told = (weight > NEGLIGIBLE) | (direction > 0)
    direction -= (probabilities * np.where(told, direction, 0.0)).sum(axis=2, keepdims=True)
    direction[:, -1] = 0.0
    size = float(np.linalg.norm(np.sqrt(weight) * np.where(told, direction, 0.0)))
    return direction, size, float(np.abs(np.where(weight > NEGLIGIBLE, direction, 0.0)).max())


def moved_by(rows: FloatArray, step: FloatArray, *, drops: bool) -> FloatArray:
    """The policy [P, S, V] after a step in its log-probs.

    Args:
        rows: before.
        step: [P, S, V], of which no more than ``LARGEST_MOVE`` is made.
        drops: whether a token of which next to nothing is left and that falls steeply, or far, is dropped:
            where the policy writes its own texts it is never seen again, and what it cost is paid no more.
    """
    moved = rows + np.clip(step, -LARGEST_MOVE, LARGEST_MOVE)
    if drops:
        falls = (np.exp(rows) <= NEGLIGIBLE) & (step < 0)
        moved[falls & ((step < -LARGEST_MOVE) | (moved < LOWEST))] = NEVER
    moved = np.maximum(log_softmax(moved), NEVER)
    moved[:, -1] = rows[:, -1]
    return moved


def follow(signal: Signal, original: TinyTask | None = None, start: FloatArray | None = None) -> End:
    """Follow a signal to its end.

    Steps grow while the direction keeps, and are halved where it turns round.

    Args:
        signal: on its task.
        original: the task that says where the end stands; the signal's own by default.
        start: the first policy; pi0 by default.
    """
    task = signal.task
    rows = task.reference if start is None else start
    before: FloatArray | None = None
    rate, taken, first, found = 0.0, 0.0, 0.0, False
    for _ in range(STEPS):
        here = signal.gradients(rows)
        direction, size, steepest = natural(task, rows, -here.mean)
        # where nothing but rounding is left of the first gradient, steps would grow until they follow that
        nothing = before is None and signal.calls.exact and here.silent
        first = size if before is None else first
        if size == 0 or nothing or (before is not None and size <= AT_REST * first):
            found = True
            break
        most = min(LONGEST_STEP / size, LARGEST_MOVE / max(steepest, size))
        if before is None:
            rate = FIRST_STEP / size
        else:
            weight = np.exp(rows) * visits(task, np.exp(log_law(task, rows)))[:, :, None]
            keeps = (weight * direction * before).sum() > 0
            # where a token falls steeply one step is short, but not those that follow when it is dropped
            rate = max(rate, min(GROWTH * rate, most)) if keeps else 0.5 * taken
        taken = min(rate, most)
        rows, before = moved_by(rows, taken * direction, drops=signal.sampler.writer is None), direction
        if taken * size < AT_REST:
            found = True
            break
    return end_of(task, rows, original or task, found)


def end_of(task: TinyTask, rows: FloatArray, original: TinyTask, found: bool) -> End:
    """What there is to say of a policy as an end."""
    law = np.exp(log_law(task, rows))
    folded = np.zeros((task.prompts, int(task.origin.max()) + 1))
    for prompt in range(task.prompts):
        np.add.at(folded[prompt], task.origin, law[prompt])
    entropy = -np.where(folded > 0, folded * np.log(np.maximum(folded, 1e-300)), 0.0).sum(axis=1).mean()
    return End(rows, folded, standing(original, rows), found, float(np.exp(entropy)))
