"""The reference's most probable token at every step, as a greedy decoder writes it.

It is a bound and no learner: it writes no token in training, and has seen no reward. Its score is that of
the policy itself, and needs no smoothing: pi0 gives every token some probability, so that the KL of a text
that is certain is finite, KL(pi || pi0) = -log pi0(text). (KL(pi* || pi), the other way, is infinite.) Where
several tokens are the most probable they are drawn alike: where pi0 is uniform, greedy is pi0.

Its fixed point is itself, the zero-temperature end of decoding; the KL is the price of one text. Left out:
temperatures above 0, beams, and the most probable text, which need not begin with the most probable token.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.arguments import Arguments, parse
from agents.run import Training, report
from klrl_envs import Evaluation, Task
from klrl_envs.policies import LanesPolicy


def most_probable(rows: NDArray[Any]) -> NDArray[Any]:
    """log pi [N, V] of the greedy policy, of rows log pi0 [N, V]: -inf but at the largest."""
    largest = rows == rows.max(axis=1, keepdims=True)
    log_share = -np.log(largest.sum(axis=1, keepdims=True))
    return np.where(largest, log_share, -np.inf).astype(rows.dtype)


class Greedy(LanesPolicy):
    """The greedy policy of a task's reference: by states on exact tasks, by texts on all.

    Args:
        task: whose reference it reads.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task.reference.lanes, task)
        self._reference: Any = task.reference

    def state_log_probs(
        self, context: NDArray[np.int64], state: NDArray[np.int64], time: NDArray[np.int64]
    ) -> NDArray[Any]:
        """See ``klrl_envs.policies.StatePolicy``; exact tasks alone ask for it."""
        return most_probable(self._reference.rows(context))

    def log_probs(self, observations: NDArray[np.int64]) -> NDArray[Any]:
        """See ``klrl_envs.policies.TokenPolicy``."""
        return most_probable(super().log_probs(observations))

    def start(self, prompts: NDArray[np.int64]) -> NDArray[Any]:
        """See ``klrl_envs.policies.CachedPolicy``."""
        return most_probable(super().start(prompts))

    def step(self, tokens: NDArray[np.int64]) -> NDArray[Any]:
        """See ``klrl_envs.policies.CachedPolicy``."""
        return most_probable(super().step(tokens))


def train(args: Arguments) -> Evaluation:
    """Evaluate the greedy policy."""
    training = Training(args, "greedy", budget=0)
    training.describe("pi0", "nothing")
    return training.finish(Greedy(training.evaluation_task))


if __name__ == "__main__":
    print(report(train(parse(Arguments, __doc__))))
