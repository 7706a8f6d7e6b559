"""Noise: the reward that is paid is the reward plus luck.

## Description
Three words are wanted. What a text is paid for them varies by chance, with a standard deviation of three
wanted words.

## Action Space
``Discrete(27)``: 26 words and marks of ``words``, its bigram restricted to them and renormalised; 0 ends
the text.

## Observation Space
``Box(int64, (12,))``: the tokens written so far, padded on the right with the end token.
The features id shows instead which of the three words have occurred (3 bits), the time
left and the row log pi0(.|last word), float32.

## Starting State
An empty text; there is no prompt.

## Rewards
At the end, once: the fraction of great, best and funny that occurs, plus normal noise of standard
deviation ``sigma`` drawn from the environment's own generator. It has no bounds. KL is not part of it.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the horizon without the end token is worth the
same.

## Information
``reference_log_prob`` (nats) each step; at the end ``text`` and ``mean_reward``, the reward without its
noise.

## Arguments
``kl_coef`` (.1), ``horizon`` (12), ``sigma`` (1; the sweep is 0 to 3), ``reference`` ("words").

## Optimum
Exact, that of the mean reward: the subsets of the words found are the states.

## What must hold
J* does not move with ``sigma``. An agent that averages rewards gets there, with more tokens the larger
the noise; one that weights texts by exp(reward / kl_coef) is drawn to luck: it takes J* for sigma^2 /
(2 kl_coef) more than it is. The score's own noise does not grow, as regret is measured exactly.

## References
Osband et al. 2020 (arXiv 1908.03568), the reward-noise experiments.

## Version History
v0: first version.
"""

from __future__ import annotations

import math

from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.diagnostics.common import few_words, wanted_words


def task(*, kl_coef: float, horizon: int = 12, sigma: float = 1.0, reference: str = "words") -> AutomatonTask:
    """The task; the page above is its specification."""
    if not 0 <= sigma < math.inf:
        raise ValueError(f"sigma must be a finite number of at least 0, got {sigma!r}")
    model = few_words(reference)
    automaton, features = wanted_words(model)
    return AutomatonTask.of(
        model, automaton, kl_coef=kl_coef, horizon=horizon, state_features=features,
        reward_range=(-math.inf, math.inf) if sigma else (0.0, 1.0),
        reward_noise=float(sigma),
        final_metrics={"mean_reward": automaton.final_reward},
    )  # fmt: skip
