"""Generalised advantage estimation on tiny tasks, exactly: mean, variance and end of the gradient at
every lambda.

With R_t = r_t - kl_coef l_t (the text's reward at its last token, k1 in the reward) and values v of states,
delta_t = R_t + v(s_{t+1}) - v(s_t) and A_t = sum_k lambda^k delta_{t+k} (Schulman and others 2015,
arXiv 1506.02438). A text's gradient is sum_t A_t grad log pi(a_t|s_t), in free logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.signals.policy import log_law
from klrl_envs.signals.tiny import TinyTask

Values = Callable[[TinyTask, FloatArray], FloatArray]
"""(task, rows [P, S, V]) -> the values [P, S] that a critic has of a policy's states."""

SURE = 1e-12
"""A state that is missed so seldom is always seen."""
STEPS = 80
RATE = 0.5


def paid(task: TinyTask, rows: FloatArray) -> FloatArray:
    """R_t [P, N, T]: minus kl_coef l_t, and the reward at a text's last token; 0 behind it."""
    log_ratio = (rows - task.reference)[:, task.states, task.tokens] * task.mask
    last = task.mask.sum(axis=1) - 1
    found = -task.kl_coef * log_ratio
    found[:, np.arange(task.texts), last] += task.rewards
    return found


def discounted(steps: FloatArray, share: float) -> FloatArray:
    """sum_k share^k steps_{t+k} along the last axis."""
    found = np.zeros_like(steps)
    total = np.zeros(steps.shape[:-1])
    for time in reversed(range(steps.shape[-1])):
        total = steps[..., time] + share * total
        found[..., time] = total
    return found


def by_state(task: TinyTask, weights: FloatArray) -> FloatArray:
    """Sums [P, S] over texts and tokens of weights [P, N, T]; padding does not count."""
    found = np.zeros(task.reference.shape[:2])
    for prompt in range(task.prompts):
        np.add.at(found[prompt], task.states[task.mask], weights[prompt][task.mask])
    return found


def true_values(task: TinyTask, rows: FloatArray) -> FloatArray:
    """What is to come at each state under the policy, KL included [P, S]; 0 beyond the end."""
    law = np.exp(log_law(task, rows))
    weights = np.broadcast_to(law[:, :, None], (*law.shape, task.tokens.shape[1]))
    mass = by_state(task, weights)
    total = by_state(task, weights * discounted(paid(task, rows), 1.0))
    return np.where(mass > 0, total / np.where(mass > 0, mass, 1.0), 0.0)


def learnt_values(task: TinyTask, rows: FloatArray, texts: int) -> FloatArray:
    """Of a critic that is fitted anew to a prompt's texts by the policy, its mean over their draws [P, S].

    A state's value is the mean of what came after it; where it was not seen, the mean return of all texts,
    which is what a fit of a constant knows. Advantages are linear in the values, so that with texts of their
    own the critic's mean is what their mean is made of.

    Args:
        task: whose states.
        rows: the policy.
        texts: how many are learnt from, of each prompt.
    """
    law = np.exp(log_law(task, rows))
    returns = discounted(paid(task, rows), 1.0)
    each = np.broadcast_to(law[:, :, None], (*law.shape, task.tokens.shape[1]))
    mass = by_state(task, each)
    through = by_state(task, each * returns[:, :, :1])  # of whole texts that come by
    whole = (law * returns[:, :, 0]).sum(axis=1)[:, None]
    rest = np.maximum(1 - mass, 0.0)
    elsewhere = np.where(rest > SURE, (whole - through) / np.where(rest > SURE, rest, 1.0), whole)
    unseen = rest**texts
    return (1 - unseen) * true_values(task, rows) + unseen * elsewhere


def values_by_position(task: TinyTask, rows: FloatArray) -> FloatArray:
    """Of a critic that knows a prompt and how many tokens were written, fitted to all texts [P, S]."""
    law = np.exp(log_law(task, rows))[:, :, None] * task.mask
    returns = discounted(paid(task, rows), 1.0)
    often = law.sum(axis=1)
    mean = (law * returns).sum(axis=1) / np.where(often > 0, often, 1.0)
    found = np.zeros(task.reference.shape[:2])
    for time in range(task.tokens.shape[1]):
        found[:, task.states[task.mask[:, time], time]] = mean[:, time : time + 1]
    return found


def advantages(task: TinyTask, rows: FloatArray, values: FloatArray, share: float) -> FloatArray:
    """A_t [P, N, T] at lambda ``share``, 0 at padding."""
    known = values[:, task.states] * task.mask
    after = np.concatenate([known[:, :, 1:], np.zeros_like(known[:, :, :1])], axis=2)
    return discounted(paid(task, rows) + after - known, share) * task.mask


@dataclass(frozen=True, eq=False)
class Moments:
    """Of one text's gradient: its mean [P, S, V] over prompts in turn, and its variance, a prompt's mean."""

    mean: FloatArray
    variance: float


def moments(task: TinyTask, rows: FloatArray, each: FloatArray) -> Moments:
    """Mean and variance of sum_t A_t grad log pi(a_t|s_t), with A [P, N, T]; prompts in turn."""
    law, policy = np.exp(log_law(task, rows)), np.exp(rows)
    mean, square = np.zeros_like(rows), 0.0
    for prompt in range(task.prompts):
        for text in range(task.texts):
            here = task.mask[text]
            states, tokens, weight = (
                task.states[text][here],
                task.tokens[text][here],
                each[prompt, text][here],
            )
            # no state comes twice in a text
            own = -weight[:, None] * policy[prompt, states]
            own[np.arange(len(states)), tokens] += weight
            mean[prompt, states] += law[prompt, text] * own
            square += law[prompt, text] * float((own**2).sum())
    total = square / task.prompts - float((mean**2).sum()) / task.prompts
    return Moments(mean / task.prompts, total)


def end(task: TinyTask, values: Values, share: float) -> FloatArray:
    """The policy [P, S, V] where steps log pi <- log pi + rate E[A_t | s, a] / kl_coef end: natural ones."""
    rows = task.reference
    for _ in range(STEPS):
        each = advantages(task, rows, values(task, rows), share)
        law = np.exp(log_law(task, rows))
        mass, total = np.zeros_like(rows), np.zeros_like(rows)
        for prompt in range(task.prompts):
            place = task.states[task.mask], task.tokens[task.mask]
            often = np.broadcast_to(law[prompt][:, None], task.mask.shape)
            np.add.at(mass[prompt], place, often[task.mask])
            np.add.at(total[prompt], place, (often * each[prompt])[task.mask])
        worth = np.where(mass > 0, total / np.where(mass > 0, mass, 1.0), 0.0)
        moved = log_softmax(rows + RATE * worth / task.kl_coef, axis=2)
        moved[:, -1] = task.reference[:, -1]
        rows = moved
    return rows
