"""DiagnosticGold: gold along the optimum of the proxy."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

import numpy as np

from klrl_envs.evaluation.rollout import roll_out
from klrl_envs.optima.optimum import problem_of
from klrl_envs.optima.terminal_law import terminal_law
from klrl_envs.tasks.diagnostics import gold
from tests.oracles import evaluation_task


def test_gold_rises_and_then_falls() -> None:
    law = terminal_law(problem_of(evaluation_task("DiagnosticGold-v0")))
    counts = np.rint(law.rewards * gold.MOST).astype(int)
    means = []
    for coefficient in (1e3, 1.0, 0.3, 0.15, 0.06, 0.03, 0.02):
        tilted = law.probabilities[0] * np.exp((law.rewards - 1) / coefficient)
        means.append(float(tilted @ np.array(gold.GOLD)[counts] / tilted.sum()))
    top = int(np.argmax(means))
    assert 0 < top < 4  # the default, .06, lies beyond it
    assert means[: top + 1] == sorted(means[: top + 1]) and means[top:] == sorted(means[top:], reverse=True)
    assert means[top] > means[0] + 0.2 and means[-1] < 0.05
    episodes = roll_out("uniform", evaluation_task("DiagnosticGold-v0"), episodes=64, seed=0)
    proxies = np.rint(episodes.reward * gold.MOST).astype(int)
    np.testing.assert_allclose(episodes.metrics["gold"], np.array(gold.GOLD)[proxies])
