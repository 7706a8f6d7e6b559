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
from klrl_envs.envs.rendering import as_text
from klrl_envs.optima.optimum import NotCertified, Optimum, optimum
from klrl_envs.tasks.base import Task

ONE = np.zeros(1, dtype=np.int64)


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
    console.print(
        "A number takes that token (#3 where 3 can be written); words are written as they are; an empty line "
        "takes the first."
    )
    reward = log_prob = 0.0
    while not engine.done[0]:
        rows = engine.reference_log_probs()[0]
        likeliest = np.argsort(-rows, kind="stable")[:choices]
        console.print(Text(as_text(engine, 0), style="bold"))
        console.print(offers(task, rows, likeliest))
        line = sys.stdin.readline()
        if not line:
            console.print(Text("the input ended before the text did", style="yellow"))
            return
        try:
            tokens = tokens_of(line.strip(), task, likeliest)
        except ValueError as error:
            console.print(Text(str(error), style="red"))
            continue
        for token in tokens:
            if engine.done[0]:
                break
            result = engine.step(np.array([token], dtype=np.int64))
            assert result.reference_log_prob is not None
            reward += float(result.reward[0])
            log_prob += float(result.reference_log_prob[0])
            for name, values in result.metrics.items():
                if name != "text":
                    console.print(f"{name}: {values[0]:.4g}")
    console.print(Text(as_text(engine, 0), style="bold"))
    console.print(verdict(reward, log_prob, task, best, int(engine.prompt_index[0]), state))


def offers(task: Task, rows: Any, likeliest: Any) -> Table:
    """The likeliest tokens with their probabilities."""
    table = Table("number", "token", "pi0", box=None)
    for place, token in enumerate(likeliest, start=1):
        shown = "end" if token == task.end_token else repr(task.vocabulary.token_string(int(token)))
        table.add_row(str(place), Text(shown), f"{np.exp(rows[token]):.4f}")
    return table


def tokens_of(line: str, task: Task, likeliest: Any) -> list[int]:
    """The tokens that a line of input means.

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
    return task.vocabulary.encode(f" {line}" if task.exact is None else line)


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
    was played. Where actions slip, one drawn reward is not what the policy is worth, and there is no score.
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
        table.add_row("score", "none: actions slip, and the reward of one episode is a draw")
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
