"""The reference itself: writes no token in training, and scores 0 on every environment."""

from __future__ import annotations

from agents.run import Arguments, Run, parse, report


def train(args: Arguments) -> float | None:
    """Evaluate pi0; returns its score."""
    run = Run(args, "reference", budget=0)
    evaluation = run.finish("reference")
    print(report(evaluation))
    return evaluation.score and evaluation.score.estimate


if __name__ == "__main__":
    train(parse(Arguments, __doc__))
