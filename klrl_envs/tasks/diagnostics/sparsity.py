"""Sparsity: a combination lock that the reference opens with a given probability.

## Description
A lock opens to one tune of ``horizon`` notes, the scale from the bottom up, over and over. Every other
text is worth nothing, and nothing tells how near it came.

## Action Space
``Discrete(8)``: the notes do, re, mi, fa, sol, la, si, ut. There is no end token.

## Observation Space
``Box(int64, (8,))``: the notes so far, padded on the right with 8. The features id
shows instead the note that is due, one-hot, all zero after a wrong note, the time left and the row log
pi0(.|last note), float32.

## Starting State
An empty text; there is no prompt.

## Rewards
At the end, once: 1 for the tune, else 0. KL is not part of the reward.

## Episode End
After ``horizon`` notes.

## Information
``reference_log_prob`` (nats) each step; at the end ``text``.

## Arguments
``kl_coef`` (.13), ``horizon`` (8), ``probability`` of the tune under the reference, p (1e-3; the sweep
is 1e-1 to 1e-6), ``reference`` ("scale": after each note the next of the scale has probability
p^(1/horizon), and the others share the rest alike).

## Optimum
Exact, and in closed form: J* = kl_coef log(1 + p (e^{1/kl_coef} - 1)).

## What must hold
The closed form, for every p, horizon and kl_coef. The sweep over p is of exploration: the same decision
is ever harder to come upon, so that a fixed budget of tokens ends up too small. At kl_coef .13 a rarer
tune is also worth less of a detour; with ``kl_coef`` = 1 / log(2 / p) the optimum takes it with
probability two thirds whatever p is.

## References
Osband et al. 2020 (arXiv 1908.03568), the deep-sea experiment.

## Version History
v0: first version.
"""

from __future__ import annotations

import numpy as np

from klrl_envs.reference.catalogue import load
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import check_horizon


def task(
    *, kl_coef: float, horizon: int = 8, probability: float = 1e-3, reference: str = "scale"
) -> AutomatonTask:
    """The task; the page above is its specification."""
    if not 0 < probability < 1:
        raise ValueError(f"probability must be above 0 and below 1, got {probability!r}")
    model = load(reference, allowed=("scale",), probability=probability, horizon=check_horizon(horizon))
    notes = model.vocab_size
    lost = notes
    due = np.arange(notes)
    transition = np.full((notes + 1, notes), lost)
    transition[due, due] = (due + 1) % notes
    return AutomatonTask.of(
        model,
        RewardAutomaton(transition, final_reward=np.arange(notes + 1) < lost),
        kl_coef=kl_coef,
        horizon=horizon,
        state_features=np.eye(notes + 1, notes, dtype=np.float32),
    )
