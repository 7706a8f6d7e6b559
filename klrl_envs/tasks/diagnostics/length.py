"""Length: the first token decides, the reward comes at the end, however far that is.

## Description
A text is worth 1 if it opens with a word of praise. What follows does not matter, and there is more of it
the longer the horizon is.

## Action Space
``Discrete(27)``: 26 words and marks of ``words``, its bigram restricted to them and renormalised; 0 ends
the text.

## Observation Space
``Box(int64, (32,))``: the tokens written so far, padded on the right with the end token.
The features id shows instead whether the text opened, whether it opened well, the time
left and the row log pi0(.|last word), float32.

## Starting State
An empty text; there is no prompt.

## Rewards
At the end, once: 1 where the first token is great, good, best, funny or well, else 0. An early end does
not take it away. KL is not part of the reward.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the horizon without the end token is worth the
same.

## Information
``reference_log_prob`` (nats) each step; at the end ``text``.

## Arguments
``kl_coef`` (.2), ``horizon`` (32; the sweep is 4 to 256), ``reference`` ("words").

## Optimum
Exact, three states; in closed form J* = kl_coef log(1 + p (e^{1/kl_coef} - 1)), p = .031 being the
reference's probability of a good opening. pi* is pi0 after the first token.

## What must hold
J*, J(pi0) and KL* are the same for every horizon. An agent's score must not fall as the horizon grows
from 4 to 256: where it does, noise or drift of the later tokens drowns the one decision (a discount, a
mean over tokens in place of a sum, credit that fades).

## References
Osband et al. 2020 (arXiv 1908.03568), the memory-length experiment.

## Version History
v0: first version.
"""

from __future__ import annotations

import numpy as np

from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.diagnostics.common import few_words

OPENINGS = ("great", "good", "best", "funny", "well")


def task(*, kl_coef: float, horizon: int = 32, reference: str = "words") -> AutomatonTask:
    """The task; the page above is its specification."""
    model = few_words(reference)
    start, well, badly = range(3)
    transition = np.repeat(np.arange(3)[:, None], model.vocab_size, axis=1)
    transition[start] = badly
    transition[start, model.tokens(OPENINGS)] = well
    return AutomatonTask.of(
        model,
        RewardAutomaton(transition, final_reward=[0.0, 1.0, 0.0]),
        kl_coef=kl_coef,
        horizon=horizon,
        state_features=np.array([[0, 0], [1, 1], [1, 0]], dtype=np.float32),
    )
