"""The reference itself: writes no token in training, and scores 0 on every environment."""

from __future__ import annotations

from agents.arguments import Arguments, parse
from agents.run import Training, report
from klrl_envs import Evaluation


def train(args: Arguments) -> Evaluation:
    """Evaluate pi0."""
    training = Training(args, "reference", budget=0)
    training.describe("pi0", "nothing")
    return training.finish("reference")


if __name__ == "__main__":
    print(report(train(parse(Arguments, __doc__))))
