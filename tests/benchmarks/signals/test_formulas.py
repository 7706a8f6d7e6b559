"""Published formulas: what theory says of each, and that TRL computes what they say."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from benchmarks.signals import formula_rows, formulas
from benchmarks.signals.row import TASK
from klrl_envs.signals import Batch, Loss
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


def batch_of(loss: Loss, ratio: torch.Tensor, rewards: list[float]) -> Batch:
    """Four texts of one prompt and three tokens, of which the policy writes each ``ratio`` times as often."""
    signal = Signal(loss, TASK, calls_of(TASK.prompts, TASK.texts, 4, 1))
    rows = torch.as_tensor(np.concatenate([TASK.reference[:, :-1], signal.beyond], axis=1))
    full = int(TASK.mask.sum(axis=1).argmax())
    made = signal.batch(rows, rows, torch.zeros(4, dtype=torch.long), torch.full((4,), full))
    old = made.old_log_probs + 0.3 * torch.randn(made.mask.shape, generator=torch.Generator().manual_seed(0))
    now = (old + ratio.log()).requires_grad_()
    moved = {"old_log_probs": old, "log_probs": now, "rewards": torch.tensor(rewards, dtype=old.dtype)}
    return Batch(**{**vars(made), **moved})


def advantages(loss: Loss, ratio: torch.Tensor, rewards: list[float]) -> torch.Tensor:
    """What each token's ratio is multiplied by [4, 3]: the loss's slope over it, times the 12 tokens."""
    batch = batch_of(loss, ratio, rewards)
    (slope,) = torch.autograd.grad(loss(batch), batch.log_probs)
    return -12 * slope / ratio


REWARDS = [0.1, 0.9, 0.4, 0.2]
ON_POLICY = torch.ones(4, 3, dtype=torch.float64)


@pytest.mark.parametrize(
    "name",
    [
        "corrected-grpo",
        "openrlhf-reinforce-plus-plus",
        "openrlhf-baseline",
        "slime-baseline",
        "verl-grpo-in-reward",
    ],
)
def test_a_kl_in_the_reward_is_that_of_the_policy_that_wrote(name: str) -> None:
    loss = loss_of(name)
    moved = torch.exp(0.1 * torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    known, found = advantages(loss, ON_POLICY, REWARDS), advantages(loss, moved, REWARDS)
    np.testing.assert_allclose(found.numpy(), known.numpy(), atol=1e-12)


def test_leave_one_out_reinforce_pays_what_was_written() -> None:
    batch = batch_of(formulas.rloo, 1.5 * ON_POLICY, REWARDS)
    known = batch.rewards - batch.kl_coef * (batch.old_log_probs - batch.reference_log_probs).sum(dim=1)
    torch.testing.assert_close(formulas.priced(batch), known)


@pytest.mark.parametrize(
    ("name", "lower", "upper"),
    [
        ("grpo", 0.8, 1.2),
        ("dapo", 0.8, 1.28),
        ("slime-grpo", 0.8, 1.2),
        ("verl-grpo", 0.8, 1.2),
        ("openrlhf-baseline", 0.8, 1.2),
        ("open-instruct-kl3", 0.8, 1.272),
        ("open-instruct-kl4", 0.8, 1.272),
    ],
)
def test_the_ratio_is_clipped_where_the_source_does(name: str, lower: float, upper: float) -> None:
    def without_kl(batch: Batch) -> torch.Tensor:
        return loss_of(name)(Batch(**{**vars(batch), "kl_coef": 0.0}))

    for edge, text in ((lower, 0), (upper, 1)):  # the worst text is below its group's mean, the best above
        for ratio, counts in ((edge - 1e-3, edge > 1), (edge + 1e-3, edge < 1)):
            found = advantages(without_kl, ratio * ON_POLICY, REWARDS)[text]
            assert bool((found != 0).all()) == counts and bool((found == 0).all()) != counts


def test_a_ratio_counts_threefold_at_most_where_verl_s_advantage_is_negative() -> None:
    def without_kl(batch: Batch) -> torch.Tensor:
        return formulas.verl_grpo(Batch(**{**vars(batch), "kl_coef": 0.0}))

    below, above = (advantages(without_kl, ratio * ON_POLICY, REWARDS)[0] for ratio in (2.99, 3.01))
    assert (below < 0).all() and (above == 0).all()


def test_open_instruct_divides_by_numpy_s_deviation() -> None:
    def without_kl(batch: Batch) -> torch.Tensor:
        return formulas.open_instruct_kl4(Batch(**{**vars(batch), "kl_coef": 0.0}))

    found = advantages(without_kl, ON_POLICY, REWARDS)[:, 0]
    known = (np.array(REWARDS) - np.mean(REWARDS)) / (np.std(REWARDS) + 1e-8)
    np.testing.assert_allclose(found.numpy(), known, atol=1e-12)


def test_prime_rl_masks_what_has_moved_far_the_way_of_its_advantage() -> None:
    rewards, ratio = [0.0, 0.0, 0.0, 1.0], 1.4
    batch = batch_of(formulas.prime_rl, ratio * ON_POLICY, rewards)
    far = (batch.log_probs.exp() - batch.old_log_probs.exp()).detach() > formulas.MASKED
    pull = 2 * formulas.KL_TAU * (batch.log_probs - batch.old_log_probs).detach() / ratio
    found = advantages(formulas.prime_rl, ratio * ON_POLICY, rewards) + pull
    known = torch.tensor([-0.25, -0.25, -0.25, 0.75], dtype=torch.float64)[:, None] * ON_POLICY
    known[3] *= ~far[3]
    assert far[3].any() and not far[3].all()
    np.testing.assert_allclose(found.numpy(), known.numpy(), atol=1e-9)


def test_slime_s_whitening_has_the_deviation_of_a_sample() -> None:
    batch = batch_of(formulas.slime_baseline, ON_POLICY, REWARDS)
    found = formulas.whitened_by_slime(batch, batch.rewards[:, None] + batch.old_log_probs)
    assert float(found.mean()) == pytest.approx(0, abs=1e-12)
    assert float(found.std()) == pytest.approx(1, abs=1e-6)


def test_every_row_has_a_name_of_its_own_and_a_source() -> None:
    assert len({row.name for row in formula_rows.ROWS}) == len(formula_rows.ROWS)
    assert all(row.kind == "formula" and not row.missing() for row in formula_rows.ROWS)
    paper, code = r"\d{4}\.\d{5}", r"[\w.-]+/[\w.-]+@[0-9a-f]{12}( [\w./-]+\.py)+"
    for row in formula_rows.ROWS:
        assert re.fullmatch(f"{paper}|{code}", row.source), row.source
