"""`klrl play`: write a text by hand, see what it costs as it grows, and what it was worth."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from klrl_envs.cli.game import Game
from klrl_envs.cli.keys import read_arrows
from klrl_envs.cli.play_end import print_end
from klrl_envs.cli.waiting import waiting
from klrl_envs.envs.lookup import evaluation_task
from klrl_envs.envs.rendering import as_text
from klrl_envs.optima.optimum import NotCertified, optimum
from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.reference.vocabulary import PromptVocabulary
from klrl_envs.registry import find_row
from klrl_envs.showing import shown
from klrl_envs.tasks.base import Task
from klrl_envs.tasks.row import Row

UNDO, HINT, END = "undo", "?", "end"
RULES = (
    "A number takes that token (#3 where 3 can be written); words are written as they are; an empty line "
    f"takes the first; {UNDO} takes the last line back."
)
HINTS = f" {HINT} shows what pi* would write."
GENERAL = ("kl_coef", "horizon", "prompts", "reference")
"""Arguments that say nothing of what is asked."""


def play_text(
    env_id: str,
    arguments: dict[str, Any],
    *,
    prompt: int | None,
    choices: int,
    seed: int,
    console: Console,
) -> None:
    """Play an episode from the keyboard or standard input, to its end or the input's."""
    row = find_row(env_id)
    with waiting(f"{row.task_id}: its optimum"):
        task = evaluation_task(row.gym_id, arguments).without_noise()
        try:
            best = optimum(row.gym_id, **arguments)
        except NotCertified:
            best = None
    game = Game(task, best, prompt, seed)
    console.print(introduction(row, arguments, game))
    keyboard = sys.stdin.isatty()
    if keyboard and task.exact is not None and task.exact.describe is not None:
        finished = play_keys(game, console)
    elif task.replies is not None:
        finished = play_talk(game, choices, console)
    else:
        finished = play_lines(game, choices, console)
    if finished:
        print_end(game, console, remember=keyboard)
    else:
        console.print(Text("the input ended before the text did", style="yellow"))


def introduction(row: Row, arguments: dict[str, Any], game: Game) -> Text:
    """What is asked, what is given, what it is paid, and what may be typed."""
    task = game.task
    told = Text.assemble((f"{row.task_id}: {row.summary}", "bold"), "\n")
    for name, value in (row.arguments() | arguments).items():
        if name not in GENERAL and value is not None:
            several = cast(Sequence[Any], value) if isinstance(value, (list, tuple)) else (value,)
            told.append(f"{name}: {', '.join(map(str, several))}\n")
    rewards = re.search(r"^## Rewards\n(.+?)(?=\n\n|\n## |\Z)", row.specification(), re.DOTALL | re.MULTILINE)
    if rewards is not None:
        told.append(" ".join(rewards[1].replace("``", "").split()) + "\n", style="dim")
    told.append(
        f"{task.horizon} tokens at most; a nat of KL costs {task.kl_coef:g}: a token that pi0 gives "
        f"probability p costs {task.kl_coef:g} log 1/p.\n"
    )
    if task.replies is not None:
        words = " ".join(task.vocabulary.token_string(token) for token in range(task.vocab_size))
        told.append(
            "You write one side of the conversation, the other answers when your turn ends. You have "
            f"{task.horizon} words and marks, of these:\n{words}\n"
        )
    else:
        told.append(RULES + (HINTS if knows_optimum(game) else ""))
    return told


def knows_optimum(game: Game) -> bool:
    """Whether pi* has rows to show."""
    return game.best is not None and game.best.policy is not None


def status(game: Game) -> Text:
    """How long the text is and what it has cost so far."""
    task = game.task
    return Text(
        f"{int(game.engine.time[0])} of {task.horizon} tokens · reward so far {shown(game.sums.reward, 3)} · "
        f"KL so far {game.nats:.1f} nats, {shown(task.kl_coef * game.nats, 3)} · together "
        f"{shown(game.objective, 3)}",
        style="cyan",
    )


def play_lines(game: Game, choices: int, console: Console) -> bool:
    """Play a text line by line; whether it came to its end."""
    hint = False
    while not game.over:
        row = game.reference_row()
        likeliest = np.argsort(-row, kind="stable")[:choices]
        console.print(Text(as_text(game.engine, 0), style="bold"))
        console.print(status(game))
        console.print(offers(game, row, likeliest, hint=hint))
        line = typed(console)
        if not line:
            return False
        hint = line.strip() == HINT and knows_optimum(game)
        if not hint:
            take(game, line.strip(), likeliest, console)
    console.print(Text(as_text(game.engine, 0), style="bold"))
    return True


def typed(console: Console) -> str:
    """The user's next line, asked for by a sign where it comes from a keyboard; empty behind the last."""
    if sys.stdin.isatty():
        console.print("> ", end="", style="cyan")
    return sys.stdin.readline()


def play_talk(game: Game, choices: int, console: Console) -> bool:
    """Play a conversation; whether it came to its end."""
    said = 0  # lines that are on the screen
    while not game.over:
        likeliest = np.argsort(-game.reference_row(), kind="stable")[:choices]
        said = print_lines(game, said, console)
        line = typed(console)
        if not line:
            return False
        if line.strip() == UNDO:
            said = 0
        take(game, line.strip(), likeliest, console)
    print_lines(game, said, console)
    return True


def play_keys(game: Game, console: Console) -> bool:
    """Play a picture by the keys of the keyboard; whether it came to its end."""
    words = [game.task.vocabulary.token_string(token) for token in range(game.task.vocab_size)]
    console.print(f"arrow keys are {', '.join(words)}; u takes back, q leaves", style="dim")
    for key in read_arrows():
        if key == "u":
            game.take_back()
        elif key == "q":
            return False
        elif isinstance(key, int) and key < len(words):
            game.write([key])
        console.print(Text(as_text(game.engine, 0), style="bold"))
        console.print(status(game))
        if game.over:
            return True
    return False


def take(game: Game, line: str, likeliest: IntArray, console: Console) -> None:
    """Do what a line says, or say why not."""
    if line == UNDO:
        if not game.take_back():
            console.print(Text("there is nothing to take back", style="red"))
        return
    try:
        game.write(tokens_of(line, game, likeliest))
    except ValueError as error:
        console.print(Text(str(error), style="red"))


def print_lines(game: Game, said: int, console: Console) -> int:
    """Print the lines of a conversation after the first ``said``; how many are complete by then."""
    engine = game.engine
    lines = as_text(engine, 0).split("\n")
    open_turn = not engine.done[0] and bool(engine.agent_mask()[0, engine.length[0] - 1])
    for place, line in enumerate(lines[said:], start=said + 1):
        unfinished = open_turn and place == len(lines)
        console.print(Text(f"{line} ..." if unfinished else line, style="bold"))
    return len(lines) - open_turn


def offers(game: Game, row: FloatArray, likeliest: IntArray, *, hint: bool) -> Table:
    """The likeliest tokens with their probabilities; with a hint what pi* would write, too."""
    table = Table("number", "token", "pi0", *(["pi*"] if hint else []), box=None)
    optimal = game.optimal_row() if hint else None
    # the ten of pi0 keep their numbers; what pi* likes better stands below them
    further = (
        [] if optimal is None else [t for t in np.argsort(-optimal)[: len(likeliest)] if t not in likeliest]
    )
    for place, token in enumerate([*likeliest, *further], start=1):
        number = str(place) if place <= len(likeliest) else ""
        cells = [number, Text(name_of(game, int(token))), f"{np.exp(row[token]):.4f}"]
        table.add_row(*cells, *([] if optimal is None else [f"{np.exp(optimal[token]):.4f}"]))
    return table


def name_of(game: Game, token: int) -> str:
    """A token as it is offered."""
    return END if token == game.task.end_token else repr(game.vocabulary.token_string(token))


def tokens_of(line: str, game: Game, likeliest: IntArray) -> list[int]:
    """The tokens that a line of input means, in the vocabulary behind the prompt.

    Raises:
        ValueError: it means none.
    """
    task, vocabulary = game.task, game.vocabulary
    if not line:
        return [int(likeliest[0])]
    if line == END:
        if task.end_token is None:
            raise ValueError(f"{task.id} has no end token: write {task.horizon} tokens")
        return [task.end_token]
    number = line.removeprefix("#")
    own = line == number and task.exact is not None and writes(task, line)
    if number.isdecimal() and int(number) <= len(likeliest) and not own:
        if int(number) < 1:
            raise ValueError(f"number must be 1 to {len(likeliest)}, got {number}")
        return [int(likeliest[int(number) - 1])]
    # byte-pair vocabularies have the space before a word in its token
    spaced = task.exact is None and not isinstance(vocabulary, PromptVocabulary)
    return vocabulary.encode(f" {line}" if spaced else line)


def writes(task: Task, line: str) -> bool:
    """Whether a task's vocabulary can write a line."""
    try:
        task.vocabulary.encode(line)
    except ValueError:
        return False
    return True
