"""How a played text did: its worth, how likely it was, and the best that were played."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from klrl_envs.cli.game import Game
from klrl_envs.evaluation.shown_texts import optimal_texts
from klrl_envs.optima.optimum import certificate_folder
from klrl_envs.results.document import write_atomically
from klrl_envs.showing import shown

KEPT = 5
"""Best texts of a task that are remembered."""


def print_end(game: Game, console: Console, *, remember: bool) -> None:
    """Print what a finished game came to.

    Args:
        game: it is over.
        console: to print to.
        remember: whether its text is kept among the best, and these are shown.
    """
    for name, value in game.sums.metrics.items():
        console.print(f"{name}: {value:.4g}", highlight=False)
    console.print(verdict(game))
    for line in likelihoods(game):
        console.print(line, highlight=False)
    text = of_optimum(game)
    if text is not None:
        console.print(Text.assemble(("pi* wrote here: ", "dim"), text))
    score = score_of(game)
    if remember and score is not None:
        console.print(best_table(kept_best(game, score)))


def score_of(game: Game) -> float | None:
    """0 as pi0 and 1 as the optimum, from where the game began; None where there is none."""
    ends = game.ends()
    if ends is None or luck(game) or ends[1] <= ends[0]:
        return None
    return (game.objective - ends[0]) / (ends[1] - ends[0])


def luck(game: Game) -> str:
    """Why a drawn reward is not what the policy is worth; "" where it is."""
    exact = game.task.exact
    if exact is None or exact.automaton.deterministic:
        return ""
    return "actions slip" if game.task.replies is None else "answers are drawn"


def verdict(game: Game) -> Table:
    """What the policy that always writes this text is worth, beside J(pi0) and J* from the same start."""
    table = Table(show_header=False)
    table.add_row("reward", f"{game.sums.reward:.4f}")
    table.add_row("KL of always writing this, -log pi0 (nats)", f"{game.nats:.3f}")
    table.add_row(f"objective, reward - {game.task.kl_coef:g} KL", f"{game.objective:.4f}")
    ends = game.ends()
    if ends is None:
        table.add_row("score", "the optimum is not certified for these arguments: see klrl certify")
        return table
    if luck(game):
        table.add_row("score", f"none: {luck(game)}, and the reward of one episode is a draw")
        return table
    table.add_row("J(pi0), the reference", f"{ends[0]:.4f}")
    table.add_row("J*, the optimum", f"{ends[1]:.4f}")
    score = score_of(game)
    table.add_row(
        "score (0 the reference, 1 the optimum)", "none: J* = J(pi0)" if score is None else f"{score:.4f}"
    )
    return table


def likelihoods(game: Game) -> list[str]:
    """How often pi0 and pi* write this very text."""
    found = [f"pi0 writes this once in {times(game.nats)} texts"]
    optimal = game.optimal_log_prob()
    if optimal is not None:
        found.append(f"pi* writes this once in {times(-optimal)} texts")
    return found


def times(nats: float) -> str:
    """exp(nats), as people read it."""
    return f"{math.exp(nats):,.0f}" if nats < math.log(1e7) else f"10^{nats / math.log(10):.1f}"


def of_optimum(game: Game) -> str | None:
    """What pi* writes behind the same prompt; None where that is not known, or starts are drawn."""
    if game.best is None or game.task.random_beside_tokens:
        return None
    (text,) = optimal_texts(game.task, game.best, np.array([game.prompt]), seed=0)
    return text.written


def best_file(game: Game) -> Path:
    """Where the best texts of a task, on a prompt, are kept: beside one's certificates."""
    name = game.task.id.replace("/", ".")
    folder = certificate_folder().parent / "played"
    return folder / f"{name}-{game.task.fingerprint[:12]}-{game.task.kl_coef:g}.json"


def kept_best(game: Game, score: float) -> list[dict[str, Any]]:
    """The best texts that were played on this task, this one counted in, the best first."""
    path = best_file(game)
    played: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.is_file() else []
    played.append({"score": score, "reward": game.sums.reward, "nats": game.nats, "text": game.text})
    best = {each["text"]: each for each in sorted(played, key=lambda each: each["score"])}
    kept = sorted(best.values(), key=lambda each: -each["score"])[:KEPT]
    write_atomically(path, json.dumps(kept, indent=1, ensure_ascii=False))
    return kept


def best_table(best: list[dict[str, Any]]) -> Table:
    """The best texts so far."""
    table = Table("score", "reward", "KL (nats)", "your best texts", box=None, pad_edge=False)
    for each in best:
        table.add_row(*(shown(each[name], 4) for name in ("score", "reward", "nats")), Text(each["text"]))
    return table
