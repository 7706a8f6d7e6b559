"""Every token with the same probability: a floor, which knows neither pi0 nor the reward.

It writes no token in training. Its KL from pi0 is what a policy pays that has not yet learnt the language, so
that its score lies far below 0 wherever pi0 is a language model, and at 0 where pi0 is uniform itself. Its
fixed point is itself: there is no signal.
"""

from __future__ import annotations

from agents.arguments import Arguments, parse
from agents.run import Training, report
from klrl_envs import Evaluation


def train(args: Arguments) -> Evaluation:
    """Evaluate the uniform policy."""
    training = Training(args, "uniform", budget=0)
    training.describe("nothing", "nothing")
    return training.finish("uniform")


if __name__ == "__main__":
    print(report(train(parse(Arguments, __doc__))))
