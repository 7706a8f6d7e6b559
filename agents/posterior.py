"""The Bayesian posterior pi* = pi0 exp(r / kl_coef) / Z: exact, or drawn by rejection from the reference.

On exact tasks pi* comes from the soft dynamic programme and no token is written in training. On neural
tasks a reference sample x is kept with odds exp((r(x) - b) / kl_coef), b the declared bound of the reward:
what is kept is an exact draw from pi*. All tokens drawn are counted, those of rejected samples too. Its
score there uses the certificate's log Z, so that 1 is no test of it; its expected reward, from new samples,
is. Sources: Korbak, Perez and Buckley 2022 (arXiv 2205.11275).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import klrl_envs
from agents.common import Arguments, Run, parse, report
from klrl_envs.evaluation import as_policy
from klrl_envs.reference.protocol import IntArray
from klrl_envs.rejection import RejectionSampler


def train(args: Arguments) -> float | None:
    """Solve or sample, and evaluate; returns the score."""
    run = Run(args, "posterior", budget=0)
    best = klrl_envs.optimum(run.row.gym_id, **args.env_kwargs)
    policy = as_policy("optimal", run.evaluation_task, best)
    if isinstance(policy, RejectionSampler):
        policy = CountingSampler(policy, run)
    evaluation = run.finish(policy)
    print(report(evaluation))
    return evaluation.score and evaluation.score.estimate


class CountingSampler:
    """A rejection sampler whose draws count as the run's tokens, each as a full horizon."""

    log_prob_kind = "exact"

    def __init__(self, sampler: RejectionSampler, run: Run) -> None:
        self._sampler, self._run = sampler, run

    def sample(self, prompts: IntArray, rng: np.random.Generator) -> tuple[IntArray, NDArray[np.float64]]:
        """See ``klrl_envs.policies.SequencePolicy``."""
        drawn = self._sampler.sample(prompts, rng)
        self._run.tokens = int(self._sampler.drawn.sum()) * self._run.task.horizon
        return drawn


if __name__ == "__main__":
    train(parse(Arguments, __doc__))
