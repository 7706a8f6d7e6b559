"""The KL's estimators as losses: which of them have the objective's gradient."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.claims import kl_estimators
from klrl_envs.signals.calls import calls_of
from klrl_envs.signals.directions import forward_kl, kl, objective, reward
from klrl_envs.signals.expected import Signal
from klrl_envs.signals.policy import random_policy
from klrl_envs.signals.tiny import random_task

TASK = random_task(seed=2)
ROWS = random_policy(TASK, seed=1)
BY = {one.label: one for one in kl_estimators.ESTIMATORS}


def ascent(label: str) -> np.ndarray:
    signal = Signal(kl_estimators.loss_of(BY[label]), TASK, calls_of(TASK.prompts, TASK.texts, 2, 1))
    return -signal.gradients(ROWS).mean[:, :-1]


@pytest.mark.parametrize(
    "label", ["k1 in the reward", "k2 in the loss, per text", "weighted k3 in the loss, per text"]
)
def test_what_is_right_has_the_objectives_gradient(label: str) -> None:
    np.testing.assert_allclose(ascent(label), objective(TASK, ROWS)[:, :-1], atol=1e-12)


def test_what_is_wrong_has_the_gradient_that_is_known_of_it() -> None:
    price = TASK.kl_coef
    paid, away, back = (one(TASK, ROWS)[:, :-1] for one in (reward, kl, forward_kl))
    np.testing.assert_allclose(ascent("k1 in the loss"), paid, atol=1e-12)
    np.testing.assert_allclose(ascent("k3 in the loss, per text"), paid - price * back, atol=1e-12)
    np.testing.assert_allclose(ascent("k3 in the reward, per text"), paid - price * (away - back), atol=1e-12)
    for label in ("k2 in the loss, per token", "weighted k3 in the loss, per token"):
        assert np.abs(ascent(label) - objective(TASK, ROWS)[:, :-1]).max() > 1e-4


def test_what_has_not_come_to_rest_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kl_estimators, "FOLLOWED", 20)
    monkeypatch.setattr(kl_estimators, "PRICES", (0.5,))
    per_token, right = BY["k3 in the reward, per token"], BY["k1 in the reward"]
    monkeypatch.setattr(kl_estimators, "ESTIMATORS", (per_token, right))
    found = [
        kl_estimators.Row(one, 0.0, (1.0, 1.0, 1.0), 1.0, *at_prices)
        for one, at_prices in zip((per_token, right), kl_estimators.on_prices(), strict=True)
        if at_prices is not None
    ]
    assert found[0].moving == (True,) and found[0].shown()[0].endswith(" (not at rest)")
    assert found[1].moving == (False,) and found[1].shown() == ["1.000"]


def test_labels_are_apart() -> None:
    assert len(BY) == len(kl_estimators.ESTIMATORS)
