"""`klrl play`: write a text by hand and see what it is worth."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from klrl_envs.envs.engine import Engine
from klrl_envs.envs.lookup import evaluation_task
from klrl_envs.envs.rendering import as_text, parts
from klrl_envs.optima.optimum import NotCertified, Optimum, optimum
from klrl_envs.reference.vocabulary import PromptVocabulary, Vocabulary
from klrl_envs.tasks.base import Task

ONE = np.zeros(1, dtype=np.int64)
RULES = (
    "A number takes that token (#3 where 3 can be written); words are written as they are; an empty line "
    "takes the first."
)


def play_text(
    env_id: str,
    arguments: dict[str, Any],
    *,
    prompt: int | None,
    choices: int,
    seed: int,
    console: Console,
) -> None:
    """Play an episode from standard input, to its end or the input's."""
    task = evaluation_task(env_id, arguments).without_noise()
    try:
        best = optimum(env_id, **arguments)
    except NotCertified:
        best = None
    engine = Engine(task, 1)
    engine.seed_lanes([np.random.default_rng(seed)])
    engine.reset(ONE, prompt)
    state = int(engine.state[0])
    vocabulary = task.vocabulary_after(parts(engine, 0)[0])
    console.print(Text(RULES if task.replies is None else rules_of_talk(task)))
    reward = log_prob = 0.0
    metrics: dict[str, float] = {}
    said = 0  # lines of a conversation that are on the screen
    while not engine.done[0]:
        rows = engine.reference_log_probs()[0]
        likeliest = np.argsort(-rows, kind="stable")[:choices]
        if task.replies is None:
            console.print(Text(as_text(engine, 0), style="bold"))
            console.print(offers(task, vocabulary, rows, likeliest))
        else:
            said = print_lines(engine, said, console)
        line = sys.stdin.readline()
        if not line:
            console.print(Text("the input ended before the text did", style="yellow"))
            return
        try:
            tokens = tokens_of(line.strip(), task, vocabulary, likeliest)
        except ValueError as error:
            console.print(Text(str(error), style="red"))
            continue
        paid, nats, metrics = write(engine, tokens)
        reward, log_prob = reward + paid, log_prob + nats
    if task.replies is None:
        console.print(Text(as_text(engine, 0), style="bold"))
    else:
        print_lines(engine, said, console)
    for name, value in metrics.items():
        console.print(f"{name}: {value:.4g}")
    console.print(verdict(reward, log_prob, task, best, int(engine.prompt_index[0]), state))


def write(engine: Engine, tokens: list[int]) -> tuple[float, float, dict[str, float]]:
    """Write tokens up to the end, or to where the task answers.

    Returns:
        The reward, log pi0 of what was written in nats, and at the end the task's metrics.
    """
    reward = log_prob = 0.0
    metrics: dict[str, float] = {}
    for place, token in enumerate(tokens):
        if engine.done[0] or (place and was_answered(engine)):
            break
        result = engine.step(np.array([token], dtype=np.int64))
        assert result.reference_log_prob is not None
        reward += float(result.reward[0])
        log_prob += float(result.reference_log_prob[0])
        metrics |= {name: values[0] for name, values in result.metrics.items() if name != "text"}
    return reward, log_prob, metrics


def rules_of_talk(task: Task) -> str:
    """How a conversation is played."""
    words = " ".join(task.vocabulary.token_string(token) for token in range(task.vocab_size))
    return (
        "You write one side of the conversation, the other answers when your turn ends. You have "
        f"{task.horizon} words and marks, of these:\n{words}\n"
    )


def print_lines(engine: Engine, said: int, console: Console) -> int:
    """Print the lines of a conversation after the first ``said``; how many are complete by then."""
    lines = as_text(engine, 0).split("\n")
    open_turn = not engine.done[0] and bool(engine.agent_mask()[0, engine.length[0] - 1])
    for place, line in enumerate(lines[said:], start=said + 1):
        unfinished = open_turn and place == len(lines)
        console.print(Text(f"{line} ..." if unfinished else line, style="bold"))
    return len(lines) - open_turn


def was_answered(engine: Engine) -> bool:
    """Whether the task wrote after the last token: what else was meant to be said was not heard then."""
    told = engine.environment_tokens
    return told is not None and bool(told[0, 0] != engine.task.pad)


def offers(task: Task, vocabulary: Vocabulary, rows: Any, likeliest: Any) -> Table:
    """The likeliest tokens with their probabilities."""
    table = Table("number", "token", "pi0", box=None)
    for place, token in enumerate(likeliest, start=1):
        shown = "end" if token == task.end_token else repr(vocabulary.token_string(int(token)))
        table.add_row(str(place), Text(shown), f"{np.exp(rows[token]):.4f}")
    return table


def tokens_of(line: str, task: Task, vocabulary: Vocabulary, likeliest: Any) -> list[int]:
    """The tokens that a line of input means, in the vocabulary behind the prompt.

    Raises:
        ValueError: it means none.
    """
    if not line:
        return [int(likeliest[0])]
    if line == "end":
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


def verdict(
    reward: float, log_prob: float, task: Task, best: Optimum | None, prompt: int, state: int
) -> Table:
    """What the policy that always writes this text is worth.

    Its KL is -log pi0(text); J0 and J* are those of the prompt, or of the automaton's state, from which it
    was played. Where actions slip, or answers are drawn, a drawn reward is not what the policy is worth, and
    there is no score.
    """
    kl = -log_prob
    objective = reward - task.kl_coef * kl
    table = Table(show_header=False)
    table.add_row("reward", f"{reward:.4f}")
    table.add_row("KL of always writing this, -log pi0 (nats)", f"{kl:.3f}")
    table.add_row(f"objective, reward - {task.kl_coef:g} KL", f"{objective:.4f}")
    if best is None:
        table.add_row("score", "the optimum is not certified for these arguments: see klrl certify")
        return table
    if task.exact is not None and not task.exact.automaton.deterministic:
        luck = "actions slip" if task.replies is None else "answers are drawn"
        table.add_row("score", f"none: {luck}, and the reward of one episode is a draw")
        return table
    start, top = best.reference_value, best.value
    if task.exact is not None:
        start, top = ends_from(prompt, state, best)
    elif best.certificate is not None and best.log_partition is not None:
        start = float(best.certificate.rewards[prompt].mean(dtype=np.float64))
        top = best.kl_coef * float(best.log_partition[prompt])
    table.add_row("J(pi0), the reference", f"{start:.4f}")
    table.add_row("J*, the optimum", f"{top:.4f}")
    score = "none: J* = J(pi0)" if top <= start else f"{(objective - start) / (top - start):.4f}"
    table.add_row("score (0 the reference, 1 the optimum)", score)
    return table


def ends_from(prompt: int, state: int, best: Optimum) -> tuple[float, float]:
    """J(pi0) and J* of episodes that begin with a prompt, or in a state of the automaton."""
    assert best.policy is not None
    problem = best.policy.problem
    start = prompt if problem.prompts is not None else int(np.flatnonzero(problem.starts[1] == state)[0])
    return float(problem.reference_values[start]), float(best.policy.start_values[start])
