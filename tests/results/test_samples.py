"""Sample texts of a training."""

from __future__ import annotations

from pathlib import Path

import pytest

from klrl_envs.results.curve import EPISODES
from klrl_envs.results.samples import Sample, sample_texts
from klrl_envs.wrappers import Episode, append_line


def test_texts_from_the_first_to_the_last(tmp_path: Path):
    path = tmp_path / EPISODES
    for number in (4, 1, 3, 0, 2):  # as several processes would write them
        episode = Episode(
            episode=number,
            tokens=10 * number,
            text=f"text {number}",
            task_reward=number / 4,
            paid=0.0,
            length=10,
        )
        append_line(path, episode.line())
    found = sample_texts(tmp_path, 3)
    assert found == [
        Sample(0, "text 0", 0.0, None),
        Sample(20, "text 2", 0.5, None),
        Sample(40, "text 4", 1.0, None),
    ]
    assert len(sample_texts(path, 9)) == 5 and sample_texts(path, 1)[0].tokens == 0
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        sample_texts(path, 0)
    append_line(path, Episode(episode=5, tokens=9, text=None, task_reward=0, paid=0, length=1).line())
    assert len(sample_texts(path, 9)) == 5, "an environment without texts has none to show"
    (tmp_path / "empty.jsonl").touch()
    assert sample_texts(tmp_path / "empty.jsonl") == []
