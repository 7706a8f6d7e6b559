"""A failed reproduction stands beside the row that it doubts, until it is answered."""

from pathlib import Path
from typing import Any

import pytest

from leaderboard.build import build
from leaderboard.challenge import Challenge, Run, challenge_path, doubted, load_challenges
from tests.leaderboard.entries import write
from tests.results.records import entry


def challenge(**changes: Any) -> Challenge:
    return Challenge.model_validate(
        {
            "env_id": "klrl/GridNavigation-v0",
            "agent": "toy",
            "commit": "0123456789" * 4,
            "task_sha256": "a" * 64,
            "runs": (Run(seed=0, claimed=50.0, found=41.0), Run(seed=1, claimed=50.0, found=None)),
            "reason": "Welch's test tells the means apart",
            "by": "a reader",
            "date": "2026-02-01",
            **changes,
        }
    )


def test_the_row_says_that_it_is_challenged(tmp_path: Path):
    write(tmp_path, entry())
    one = challenge()
    path = challenge_path(one, tmp_path)
    one.save(path)
    build(tmp_path, tmp_path / "README.md", verifier=lambda entries: None)
    for text in ((tmp_path / name).read_text() for name in ("TABLE.md", "index.html")):
        assert "(challenged)" in text and "41, failed" in text and "a reader" in text
    answered = challenge(answer="the pinned library was wrong; see the new commit")
    assert challenge_path(answered, tmp_path).name == "GridNavigation-v0--toy--2026-02-01-2.json"
    answered.save(path)
    build(tmp_path, tmp_path / "README.md", verifier=lambda entries: None)
    text = (tmp_path / "TABLE.md").read_text()
    assert "(challenged)" not in text and "the pinned library was wrong" in text


def test_a_challenge_concerns_one_commit_of_one_entry():
    assert doubted([entry()], [challenge()]) == {("klrl/GridNavigation-v0", "toy")}
    for other in ({"commit": "f" * 40}, {"agent": "other"}, {"env_id": "klrl/Keywords-v0"}):
        assert not doubted([entry()], [challenge(**other)])


def test_files_have_the_names_of_what_they_hold(tmp_path: Path):
    challenge().save(tmp_path / "challenges" / "x.json")
    with pytest.raises(ValueError, match=r"must be called GridNavigation-v0--toy--2026-02-01\.json"):
        load_challenges(tmp_path)
