"""The Bayesian posterior pi* = pi0 exp(r / kl_coef) / Z: exact, or drawn by rejection from the reference.

It is a bound and no learner: it writes no token in training. On exact tasks pi* comes from the soft dynamic
programme. On neural tasks a reference sample x is kept with odds exp((r(x) - b) / kl_coef), b the declared
bound of the reward: what is kept is an exact draw from pi*, and the evaluation pays for as many rejected ones
as it takes, which are printed. Its score there uses the certificate's log Z, so that 1 is no test of it; its
expected reward, from new samples, is. Sources: Korbak, Perez and Buckley 2022 (arXiv 2205.11275).
"""

from __future__ import annotations

import klrl_envs
from agents.run import Arguments, Run, parse, report
from klrl_envs.evaluation.evaluate import optimal_policy
from klrl_envs.evaluation.rejection import RejectionSampler


def train(args: Arguments) -> float | None:
    """Solve or sample, and evaluate; returns the score."""
    run = Run(args, "posterior", budget=0)
    best = klrl_envs.optimum(run.row.gym_id, **args.env_kwargs)
    policy = optimal_policy(run.evaluation_task, best)
    evaluation = run.finish(policy)
    print(report(evaluation))
    if isinstance(policy, RejectionSampler):
        drawn = int(policy.drawn.sum())
        print(f"kept {policy.acceptance_rate:.2%} of {drawn:,} reference samples")
    return evaluation.score and evaluation.score.estimate


if __name__ == "__main__":
    train(parse(Arguments, __doc__))
