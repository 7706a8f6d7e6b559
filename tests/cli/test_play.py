"""`klrl play`."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cli.commands import GRID, SMALL, klrl, succeeded


def test_play_scores_a_text_from_standard_input():
    keys = ["forward", "1", "", "left left", "nonsense", "9", "back"]
    output = succeeded(klrl("play", GRID, "--choices", "4", *SMALL, stdin="\n".join(keys) + "\n" * 6))
    assert "'nonsense' is not among the 4 words" in output
    assert "score (0 the reference, 1 the optimum)" in output
    kl = next(line for line in output.splitlines() if "KL of always writing this" in line)
    nats = float(kl.split("│")[2])
    assert any(nats == pytest.approx(tokens * np.log(4), abs=1e-3) for tokens in range(1, 7))


def test_play_ends_with_its_input():
    assert "the input ended before the text did" in succeeded(klrl("play", GRID, stdin="1\n"))
    assert "has no end token" in succeeded(klrl("play", GRID, stdin="end\n"))


def test_the_score_of_a_played_episode_is_at_most_one(tmp_path):
    """The start of the grid is drawn: the optimum is that of the start that was played."""
    for seed in range(12):
        output = succeeded(klrl("play", GRID, *SMALL, "--seed", str(seed), stdin="forward\n" * 6))
        (line,) = [line for line in output.splitlines() if "score (0" in line]
        assert float(line.split("│")[2]) <= 1 + 1e-4
    output = succeeded(klrl("play", GRID, *SMALL, "--set", "slip=0.1", stdin="forward\n" * 6))
    assert "none: actions slip" in output


def test_a_conversation_is_played_line_by_line():
    lines = [
        "Which genre would you like?",
        "which decade please? and the mood?",
        "nonsense",
        "which mood",
        "?",
    ]
    output = succeeded(klrl("play", "klrl/Dialogue-v0", stdin="\n".join([*lines, "thanks, try Fargo.", ""])))
    said = [line for line in output.splitlines() if line.startswith(("user:", "shop:"))]
    assert said[0] == "user: Hello, I am looking for a film."
    assert said[1] == "shop: Which genre would you like?" and said[3] == "shop: Which decade please?"
    assert said[5:7] == ["shop: Which mood ...", "shop: Which mood?"]
    assert said[8] == "shop: Thanks, try Fargo." and len(said) == 10
    assert "'nonsense' is not among the 83 words" in output and "turns: 4" in output
    assert "none: answers are drawn" in output
    assert "the input ended before the text did" in succeeded(
        klrl("play", "klrl/Dialogue-v0", stdin="thanks.\n")
    )
