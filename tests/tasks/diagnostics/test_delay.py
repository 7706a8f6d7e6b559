"""DiagnosticDelay: when a payment comes."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from typing import Any

import gymnasium as gym


def test_pending_payments_are_paid_when_the_text_ends_early() -> None:
    env: Any = gym.make("klrl/DiagnosticDelay-v0", delay=4)
    encode = env.unwrapped.task.vocabulary.encode
    for delay_text, rewards in (
        ("very good so funny", [0, 0, 0, 0, 1.0]),
        ("very good film . . . so well", [0, 0, 0, 0, 0, 0.5, 0, 0, 0.5]),
    ):
        env.reset(seed=0)
        paid = [env.step(token)[1] for token in [*encode(delay_text), 0]]
        assert paid == rewards
