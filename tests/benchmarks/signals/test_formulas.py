"""Published formulas: what theory says of each, and that TRL computes what they say."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.signals import formula_rows, formulas
from benchmarks.signals.row import TASK
from klrl_envs.signals import Loss
from klrl_envs.signals.calls import calls_of
from klrl_envs.signals.check import cosine
from klrl_envs.signals.directions import followed, objective
from klrl_envs.signals.expected import Signal
from klrl_envs.signals.policy import random_policy

POLICIES = [TASK.reference, random_policy(TASK, 1), random_policy(TASK, 2)]


def ascents(loss: Loss, group: int = 4, batch: int = 1) -> list[np.ndarray]:
    """Minus the expected gradient at each policy."""
    signal = Signal(loss, TASK, calls_of(TASK.prompts, TASK.texts, group, batch))
    assert signal.vectorised
    return [-signal.gradients(rows).mean for rows in POLICIES]


RIGHT = (
    "rloo", "corrected-grpo", "sequence-k2", "gvpo", "trajectory-balance", "a-star-po", "rebel-pi0",
)  # fmt: skip


def loss_of(name: str) -> Loss:
    """The loss of a row."""
    return next(row for row in formula_rows.ROWS if row.name == f"formula-{name}").loss()


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_has_the_objective_s_gradient(name: str) -> None:
    for ascent, rows in zip(ascents(loss_of(name)), POLICIES):
        assert cosine(ascent[:, :-1], objective(TASK, rows)[:, :-1]) == pytest.approx(1.0, abs=1e-9)
        assert (ascent[:, -1] == 0).all()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("rebel", "E[r]"),
        ("dr-grpo", "E[r]"),
        ("sequence-k2", "E[r] - kl_coef KL(pi || pi0)"),
        ("grpo", None),
        ("verl-grpo", None),
    ],
)
def test_what_a_formula_follows_is_told(name: str, told: str | None) -> None:
    found = followed(TASK, POLICIES, ascents(loss_of(name)))
    assert (None if found is None else str(found)) == told


def test_a_token_that_pays_its_own_k1_alone_is_blind_to_the_kl_to_come() -> None:
    def over_a_constant(batch):
        """The same without the mean over each text's tokens."""
        advantage = formulas.centred(batch, batch.rewards)[:, None] * 4 / 3
        price = batch.kl_coef * formulas.log_ratio(batch).detach()
        return formulas.summed(batch, formulas.clipped(batch, advantage - price))

    found = followed(TASK, POLICIES, ascents(over_a_constant))
    assert str(found) == "E[r] - kl_coef the KL(pi || pi0) of visited states"


def test_what_is_whitened_has_mean_0_and_deviation_1_over_the_batch_s_tokens() -> None:
    seen = []

    def loss(batch):
        values = formulas.whitened(batch, batch.rewards[:, None] * (1 + batch.log_probs.detach()))
        count = batch.mask.sum()
        mean = (values * batch.mask).sum() / count
        seen.append((mean, (values**2 * batch.mask).sum() / count))
        return formulas.text_log_prob(batch).mean()

    signal = Signal(loss, TASK, calls_of(TASK.prompts, TASK.texts, 2, 2))
    seen.clear()
    signal.vectorised = False
    signal.gradients(TASK.reference)
    assert len(seen) == 100
    for mean, square in seen:
        assert float(mean) == pytest.approx(0, abs=1e-9) and float(square) == pytest.approx(1, abs=1e-9)


def test_returns_to_go_count_each_text_from_its_token_on() -> None:
    def loss(batch):
        found = formulas.to_go(batch, batch.tokens.to(batch.mask.dtype) + 1)
        for row, kept, tokens in zip(found, batch.mask.bool(), batch.tokens + 1):
            written = tokens[kept]
            assert row[kept].tolist() == [float(written[time:].sum()) for time in range(len(written))]
        return formulas.text_log_prob(batch).mean()

    signal = Signal(loss, TASK, calls_of(TASK.prompts, TASK.texts, 2, 1))
    assert not signal.vectorised
    signal.gradients(TASK.reference)


def test_every_row_has_a_name_of_its_own_and_a_source() -> None:
    assert len({row.name for row in formula_rows.ROWS}) == len(formula_rows.ROWS)
    assert all(row.source and row.kind == "formula" and not row.missing() for row in formula_rows.ROWS)
