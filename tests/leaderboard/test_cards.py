"""Cards hold what the optimum says, and laws are those whose means it has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import klrl_envs
from klrl_envs.registry import REGISTRY
from leaderboard.cards import TEXTS, Card, card_of, load_cards, uncarded
from leaderboard.folder import FOLDER, card_path
from leaderboard.laws import BARS, RewardLaw, law_of
from tests.leaderboard.entries import card, made

GOLDEN = Path(__file__).parents[1] / "golden" / "tasks.json"
MODES = "klrl/DiagnosticModes-v0"


@pytest.mark.parametrize(
    ("env_id", "method", "allowed"),
    [(MODES, "computed", 1e-9), ("klrl/DiagnosticPromptScale-v0", "computed", 1e-9),
     ("klrl/DiagnosticDelay-v0", "sampled", 0.05)],
)  # fmt: skip
def test_the_law_has_the_means_of_reference_and_optimum(env_id: str, method: str, allowed: float) -> None:
    best = klrl_envs.optimum(env_id)
    law = law_of(klrl_envs.evaluation_task(env_id), best)
    assert law.method == method
    assert law.reference.sum() == pytest.approx(1) and law.optimal.sum() == pytest.approx(1)
    assert law.reference @ law.rewards == pytest.approx(best.reference_value, abs=allowed)
    assert law.optimal @ law.rewards == pytest.approx(best.expected_reward, abs=allowed)


def test_bars_keep_all_probability_near_its_rewards() -> None:
    rng = np.random.default_rng(0)
    rewards, weights = rng.normal(size=500), rng.dirichlet(np.ones(500), size=2)
    values, before, after = RewardLaw("sampled", rewards, weights[0], weights[1]).binned()
    assert len(values) == BARS and before.sum() == pytest.approx(1) and after.sum() == pytest.approx(1)
    assert after @ values == pytest.approx(weights[1] @ rewards, abs=(values[1] - values[0]) / 2)
    few = RewardLaw(
        "computed", np.array([1.0, 0.0, 1.0, 9.0]), np.array([0.2, 0.5, 0.3, 0.0]), np.array([0, 1, 0, 0.0])
    )
    values, before, after = few.binned()
    assert values.tolist() == [0, 1] and before.tolist() == [0.5, 0.5] and after.tolist() == [1, 0]


def test_a_card_says_what_the_optimum_says_and_is_the_same_again() -> None:
    made_now, best = card_of(MODES), klrl_envs.optimum(MODES)
    assert made_now.value == pytest.approx(best.value, rel=1e-5) and made_now.exact
    assert made_now.kl == pytest.approx(best.kl, rel=1e-5)
    assert made_now == load_cards(FOLDER)[MODES], "the committed card is not what leaderboard.cards writes"


def test_committed_cards_are_of_the_suite_as_it_is() -> None:
    cards, golden = load_cards(FOLDER), json.loads(GOLDEN.read_text())
    assert set(cards) == {row.gym_id for row in REGISTRY}
    for row in REGISTRY:
        shown = cards[row.gym_id]
        assert shown.task_sha256 == golden[row.id]["fingerprints"]["{}"]["evaluation"], row.id
        assert shown.kl_coef == row.kl_coef and shown.exact == ("exact" in row.tags)
        wide = max(np.diff(shown.law.rewards), default=0.0)
        for under, mean in (
            (shown.law.reference, shown.reference_value),
            (shown.law.optimal, shown.expected_reward),
        ):
            assert sum(under) == pytest.approx(1, abs=1e-4)
            drawn = np.dot(under, shown.law.rewards)
            assert drawn == pytest.approx(mean, abs=0.6 * wide + 1e-4), row.id
        assert len(shown.texts) == TEXTS


def test_cards_lie_under_their_own_names(tmp_path: Path) -> None:
    card().save(tmp_path / "cards" / "Other-v0.json")
    with pytest.raises(ValueError, match=r"must be called GridNavigation-v0\.json"):
        load_cards(tmp_path)


def test_entries_without_a_card_of_their_task_are_named() -> None:
    entry = made("ours", card().env_id, [0.5])
    assert uncarded([entry], {card().env_id: card()}) == []
    assert uncarded([entry], {}) == [card().env_id] == uncarded([entry], load_cards(FOLDER))


def test_a_card_survives_its_file(tmp_path: Path) -> None:
    path = card_path(card().env_id, tmp_path)
    card().save(path)
    assert Card.load(path) == card() and load_cards(tmp_path) == {card().env_id: card()}
