"""Zero reward: the best that an agent can do is to stay at the reference.

## Description
No text is better than another. Whatever an agent changes costs KL and buys nothing.

## Action Space
``Discrete(27)``: 26 words and marks of ``words``, its bigram restricted to them and renormalised; 0 ends
the text.

## Observation Space
``Box(int64, (12,))``: the tokens written so far, padded on the right with the end token.
The features id shows instead a constant zero (the automaton has one state), the time
left and the row log pi0(.|last word), float32.

## Starting State
An empty text; there is no prompt.

## Rewards
Zero, always.

## Episode End
The end token, or ``horizon`` tokens; both terminate.

## Information
``reference_log_prob`` (nats) each step; at the end ``text``.

## Arguments
``kl_coef`` (.1), ``horizon`` (12), ``reference`` ("words").

## Optimum
pi* = pi0 and J* = J(pi0) = 0, so that there is no score: the regret, kl_coef KL(pi || pi0), is what
counts.

## What must hold
An agent that starts at pi0 is still there after training. Drift comes from a biased estimate of the KL or
of its gradient, from an entropy bonus, or from noise that the step size does not average out. Sweep
``kl_coef`` or ``horizon``: nothing moves.

## References
Theory of the gradient of the KL in a reward and in a loss: Tang and Munos 2025 (arXiv 2506.09477).

## Version History
v0: first version.
"""

from __future__ import annotations

import numpy as np

from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.diagnostics.common import few_words


def task(*, kl_coef: float, horizon: int = 12, reference: str = "words") -> AutomatonTask:
    """The task; the page above is its specification."""
    model = few_words(reference)
    automaton = RewardAutomaton(np.zeros((1, model.vocab_size), dtype=np.int64))
    return AutomatonTask.of(
        model,
        automaton,
        kl_coef=kl_coef,
        horizon=horizon,
        state_features=np.zeros((1, 1), dtype=np.float32),
    )
