"""Coefficient: one reward at many prices of KL.

## Description
Three words are wanted. How far it is right to go for them depends on what KL costs.

## Action Space
``Discrete(27)``: 26 words and marks of ``words``, its bigram restricted to them and renormalised; 0 ends
the text.

## Observation Space
``Box(int64, (12,))``: the tokens written so far, padded on the right with the end token.
The features id shows instead which of the three words have occurred (3 bits), the
time left and the row log pi0(.|last word), float32.

## Starting State
An empty text; there is no prompt.

## Rewards
At the end, once: the fraction of great, best and funny that occurs. KL is not part of the reward.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the horizon without the end token is worth the
same.

## Information
``reference_log_prob`` (nats) each step; at the end ``text``.

## Arguments
``kl_coef`` (.1; the sweep is .02 to 2), ``horizon`` (12), ``reference`` ("words").

## Optimum
Exact: the subsets of the words found are the states. KL* falls from 7 nats and more at .02 to under .01
nats at 2.

## What must hold
The points (KL, expected reward) of an agent trained at each coefficient lie on the frontier of
``klrl_envs.optimum(...).frontier`` within their error, and none above it; the slope of the frontier at
each is the coefficient. An agent whose step size or clipping is tuned to one price of KL falls short
at the ends.

## References
Ziegler et al. 2019 (arXiv 1909.08593, figure 3); Korbak, Perez and Buckley 2022 (arXiv 2205.11275).

## Version History
v0: first version.
"""

from __future__ import annotations

from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.diagnostics.common import few_words, wanted_words


def task(*, kl_coef: float, horizon: int = 12, reference: str = "words") -> AutomatonTask:
    """The task; the page above is its specification."""
    model = few_words(reference)
    automaton, features = wanted_words(model)
    return AutomatonTask.of(model, automaton, kl_coef=kl_coef, horizon=horizon, state_features=features)
