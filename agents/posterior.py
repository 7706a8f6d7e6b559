"""The Bayesian posterior pi* = pi0 exp(r / kl_coef) / Z: exact, or drawn by rejection from the reference.

It is a bound and no learner: it writes no token in training. On exact tasks pi* comes from the soft dynamic
programme. On neural tasks a reference sample x is kept with odds exp((r(x) - b) / kl_coef), b the highest
reward that the certificate's 10,000 samples, or those drawn here, have behind its prompt: what is kept is a
draw from pi* but for texts that none of these shows, and the evaluation pays for as many rejected ones as it
takes. Its score there uses the certificate's log Z, so that 1 is no test of it; its
expected reward, from new samples, is. Source: Korbak, Perez and Buckley 2022 (arXiv 2205.11275).
"""

from __future__ import annotations

import klrl_envs
from agents.arguments import Arguments, parse
from agents.run import Training, report
from klrl_envs import Evaluation, optimal_policy


def train(args: Arguments) -> Evaluation:
    """Solve or sample, and evaluate."""
    training = Training(args, "posterior", budget=0)
    training.describe("the reward itself", "nothing")
    best = klrl_envs.optimum(training.row.gym_id, **args.env_kwargs)
    return training.finish(optimal_policy(training.evaluation_task, best))


if __name__ == "__main__":
    print(report(train(parse(Arguments, __doc__))))
