"""DiagnosticCoefficient: its frontier."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

import klrl_envs


def test_coefficient_traces_a_frontier() -> None:
    coefficients = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]
    points = [klrl_envs.optimum("DiagnosticCoefficient-v0", kl_coef=c) for c in coefficients]
    nats, rewards = [p.kl for p in points], [p.expected_reward for p in points]
    assert nats == sorted(nats, reverse=True) and nats[0] > 7 and nats[-1] < 0.01
    assert rewards == sorted(rewards, reverse=True) and rewards[0] > 0.99
    for near, far in zip(points[1:], points):
        slope = (far.expected_reward - near.expected_reward) / (far.kl - near.kl)
        assert far.kl_coef < slope < near.kl_coef  # concave, and the slope is the coefficient
