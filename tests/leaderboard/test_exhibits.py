"""Exhibits: the curves and texts of an entry's own runs, and of no others."""

from __future__ import annotations

from pathlib import Path

import pytest

import klrl_envs
from klrl_envs.results.curve import EPISODES
from klrl_envs.results.entry import load_entries
from klrl_envs.results.record import FILE
from leaderboard.cards import TEXTS
from leaderboard.exhibits import Exhibit, Run, SeedCurve, exhibit_of, load_exhibits, runs_of, told
from leaderboard.folder import ENTRIES, FOLDER, exhibit_path
from tests.leaderboard.entries import made
from tests.networks.policies import network_of_kind
from tests.results.records import record
from tests.results.test_curve import lines

GRID = "klrl/GridNavigation-v0"


def run(folder: Path, name: str = "ours", seed: int = 0, score: float = 0.5, episodes: int = 80) -> Run:
    """A run's folder, with its record, what a recorder wrote, and its policy."""
    agent = {"name": name, "url": f"agents/{name}.py", "license": "MIT"}
    told = record(seed=seed, agent=agent, score=score, score_interval=[score - 0.01, score + 0.01])
    told.save(folder / FILE)
    if episodes:
        tokens = [10 * (place + 1) for place in range(episodes)]
        lines(folder / EPISODES, tokens, range(episodes), [0.5] * (episodes - 1) + [None])
        klrl_envs.save_policy(network_of_kind("table"), folder / "policy.safetensors")
    return Run(folder, told)


def test_an_exhibit_is_made_of_the_runs_of_its_entry(tmp_path: Path) -> None:
    entry = made("ours", GRID, [0.5, 0.6])
    runs = [
        run(tmp_path / "1", seed=1, score=0.6, episodes=0),
        run(tmp_path / "0", seed=0, score=0.5),
        run(tmp_path / "2", seed=1, score=0.7),
        run(tmp_path / "3", name="theirs"),
    ]
    own = runs_of(entry, runs)
    assert [each.folder.name for each in own] == ["0", "1"]
    shown = exhibit_of(entry, own)
    [curve] = shown.curves
    assert (curve.seed, curve.spent, curve.tokens[-1]) == (0, 1000, 800) and shown.texts_seed == 0
    assert (
        curve.expected_reward[0] < curve.expected_reward[-1] and curve.kl[0] == 0.5 and curve.kl[-1] is None
    )
    assert len(shown.texts) == TEXTS and shown == exhibit_of(entry, own), "drawn by one seed"
    assert shown.problem_with(entry) is None
    without = exhibit_of(entry, own[1:])
    assert without.curves == () and without.texts == () and without.texts_seed is None


def exhibit(**changes: object) -> Exhibit:
    known = SeedCurve(seed=0, spent=1000, tokens=(10,), score=(0.1,), expected_reward=(1.0,), kl=(0.2,))
    plain = {
        "env_id": GRID, "agent": "ours", "task_sha256": "a" * 64, "approximate": False, "curves": (known,),
        "texts_seed": None, "texts": (),
    }  # fmt: skip
    return Exhibit.model_validate({**plain, **changes})


def curve(tokens: list[int], rewards: list[float]) -> dict[str, object]:
    """The fields of a curve without scores."""
    plain = {"seed": 0, "spent": 7, "tokens": tokens, "score": None, "expected_reward": rewards}
    return {**plain, "kl": [None] * len(tokens)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"agent": "theirs"}, "there is no such entry"),
        ({"task_sha256": "b" * 64}, "its task is another one"),
        (
            {
                "curves": [
                    {"seed": 0, "spent": 7, "tokens": [], "score": None, "expected_reward": [], "kl": []}
                ]
            },
            "no seed 0 with as many tokens",
        ),
    ],
)
def test_exhibits_of_other_entries_are_refused(
    tmp_path: Path, changes: dict[str, object], message: str | None
) -> None:
    entries = [made("ours", GRID, [0.5])]
    shown = exhibit(**changes)
    shown.save(exhibit_path(GRID, shown.agent, tmp_path))
    if message is None:
        assert load_exhibits(tmp_path, entries) == {(GRID, "ours"): shown}
        return
    with pytest.raises(ValueError, match=message):
        load_exhibits(tmp_path, entries)


def test_what_an_exhibit_lacks_is_said() -> None:
    empty = Exhibit(
        env_id=GRID,
        agent="mine",
        task_sha256="a" * 64,
        approximate=False,
        curves=(),
        texts_seed=None,
        texts=(),
    )
    assert told(empty) == (
        "no curve (no run has episodes.jsonl), no texts (no run has policy.safetensors or policy.onnx)"
    )


def test_an_exhibit_lies_under_its_own_name(tmp_path: Path) -> None:
    exhibit().save(tmp_path / "exhibits" / "other.json")
    with pytest.raises(ValueError, match=r"must be called GridNavigation-v0--ours\.json"):
        load_exhibits(tmp_path, [made("ours", GRID, [0.5])])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts_seed": 0}, "texts must be none"),
        ({"texts": [{"text": "x", "reward": 1.0}]}, "texts must be none"),
        ({"curves": [curve([1, 2], [1.0])]}, "of one length"),
        ({"curves": [curve([2, 2], [1.0, 1.0])]}, "must ascend"),
    ],
)
def test_what_does_not_fit_together_is_no_exhibit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        exhibit(**changes)


def test_committed_exhibits_are_of_committed_entries() -> None:
    assert len(load_exhibits(FOLDER, load_entries(ENTRIES))) >= 8
