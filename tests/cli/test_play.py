"""`klrl play`."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from klrl_envs import find_row, optimum
from klrl_envs.cli.game import Game
from klrl_envs.cli.keys import read_arrows
from klrl_envs.cli.play import play_keys
from klrl_envs.cli.play_end import kept_best, score_of
from klrl_envs.envs.lookup import evaluation_task
from tests.cli.commands import GRID, SMALL, SMALL_ARGUMENTS, klrl, succeeded


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


def test_the_goal_the_given_words_and_the_price_are_on_the_screen():
    output = succeeded(klrl("play", "keywords", stdin="good film\n"))
    assert "work eight given words into a text" in output and "keywords: film, movie, story, good" in output
    assert "the fraction of the given words that occur" in output
    task = evaluation_task("klrl/Keywords-v0", {})
    assert task.exact is not None
    good, film = task.vocabulary.encode("good film")
    rows = task.exact.reference.rows
    first = int(task.exact.starts[0][0])
    log_prob = rows(np.array([first]))[0, good] + rows(np.array([good]))[0, film]
    assert "2 of 24 tokens" in output and f"KL so far {-log_prob:.1f} nats" in output


def test_a_line_can_be_taken_back_and_pi_star_asked():
    output = succeeded(klrl("play", "keywords", stdin="undo\ngood film\n?\nundo\nmovie\nend\n"))
    assert "there is nothing to take back" in output and "pi*" in output
    assert output.count("0 of 24 tokens") == 3 and "found: 1" in output


def played(name: str, seed: int = 0, **arguments) -> Game:
    row = find_row(name)
    task = evaluation_task(row.gym_id, arguments).without_noise()
    return Game(task, optimum(row.gym_id, **arguments), None, seed)


def test_a_game_counts_what_pi0_and_pi_star_think_of_it():
    game = played("klrl/Keywords-v0", horizon=6)
    game.write(game.vocabulary.encode("the film is good"))
    before = game.sums.reward, game.sums.reference, game.sums.optimal
    game.write(game.vocabulary.encode("movie"))
    assert game.take_back() and (game.sums.reward, game.sums.reference, game.sums.optimal) == before
    assert game.task.end_token is not None
    game.write([game.task.end_token])
    assert game.over
    ends = game.ends()
    assert ends is not None and game.best is not None
    # pi* = pi0 exp(r / kl_coef) / Z, and kl_coef log Z = J*
    expected = game.sums.reference + (game.sums.reward - ends[1]) / game.task.kl_coef
    assert game.optimal_log_prob() == pytest.approx(expected)
    assert score_of(game) == pytest.approx((game.objective - ends[0]) / (ends[1] - ends[0]))


def test_taking_back_draws_what_the_task_drew():
    game = played("klrl/GridNavigation-v0", seed=3, **SMALL_ARGUMENTS, slip=0.5)
    states = []
    for token in (0, 2, 0):
        game.write([token])
        states.append(int(game.engine.state[0]))
    game.take_back()
    assert int(game.engine.state[0]) == states[1]
    game.write([0])
    assert int(game.engine.state[0]) == states[2] and score_of(game) is None


def test_the_best_texts_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("KLRL_HOME", str(tmp_path))
    for text in ("good film", "the film", "good film", "i"):
        game = played("klrl/Keywords-v0", horizon=6)
        assert game.task.end_token is not None
        game.write([*game.vocabulary.encode(text), game.task.end_token])
        score = score_of(game)
        assert score is not None
        kept = kept_best(game, score)
    assert sorted(each["text"] for each in kept) == ["good film", "i", "the film"]
    assert [each["score"] for each in kept] == sorted((each["score"] for each in kept), reverse=True)


def test_arrow_keys_walk_the_grid(monkeypatch):
    keys = iter(["\x1b[A", "x", "\x1b[C", "u", "\x1bOD", "q"])
    monkeypatch.setattr("typer.getchar", lambda: next(keys))
    assert list(read_arrows()) == [0, 3, "u", 2, "q"]
    keys = iter(["\x1b[A", "\x1b[A", "u", "q"])
    game = played("klrl/GridNavigation-v0", **SMALL_ARGUMENTS)
    output = io.StringIO()
    assert not play_keys(game, Console(file=output, width=120))
    assert [len(turn) for turn in game.turns] == [1] and "2 of 6 tokens" in output.getvalue()
    keys = iter(["\x1b[C"] * 6)
    assert play_keys(played("klrl/GridNavigation-v0", **SMALL_ARGUMENTS), Console(file=output, width=120))
