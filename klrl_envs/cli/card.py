"""`klrl show` and `klrl solve`: an environment's card, its optimum and its frontier."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from klrl_envs import ledger
from klrl_envs.cli.listing import plain
from klrl_envs.cli.options import print_json
from klrl_envs.cli.waiting import waiting
from klrl_envs.envs.lookup import evaluation_task
from klrl_envs.evaluation.comparison import metrics_along_frontier
from klrl_envs.evaluation.shown_texts import ShownText, optimal_texts, reference_texts
from klrl_envs.optima.certificate import TRUSTED_SAMPLES, Certificate
from klrl_envs.optima.optimum import NotCertified, Optimum, optimum
from klrl_envs.reference.arrays import IntArray
from klrl_envs.registry import find_row
from klrl_envs.showing import shown, with_bounds
from klrl_envs.tasks.base import Task

SAMPLES = 3
MARGIN = 12
"""Columns before a text, in which its reward stands."""
FRONTIER = ("kl_coef", escape("E*[r]"), "KL* (nats)", "J*")
STEPS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@ledger.counting_as("certify")
def show_card(env_id: str, arguments: dict[str, Any], seed: int, console: Console, *, as_json: bool) -> None:
    """Print the specification, the spaces, the optimum and sample texts."""
    row = find_row(env_id)
    with waiting(f"{row.task_id}: its optimum, and texts"):
        task = evaluation_task(row.gym_id, arguments)
        spaces = spaces_of(row.gym_id, row.gym_features_id, arguments)
        of_reference = reference_texts(task, prompts_of(task), seed)
        best, of_optimum, missing = None, list[ShownText](), ""
        try:
            best = optimum(row.gym_id, **arguments)
            of_optimum = optimal_texts(task, best, prompts_of(task), seed)
        except NotCertified as error:
            missing = str(error)
    if as_json:
        texts = {
            "pi0": [dataclasses.asdict(text) for text in of_reference],
            "pi*": [dataclasses.asdict(text) for text in of_optimum],
        }
        known = None if best is None else json.loads(best.to_json())
        card = {
            **plain(row), "arguments": row.arguments() | arguments, "specification": row.specification(),
            "spaces": spaces, "optimum": known, "not_certified": missing or None, "texts": texts,
        }  # fmt: skip
        print_json(json.dumps(card, indent=2), console)
        return
    console.print(Markdown(f"# {row.task_id}\n\n{row.specification()}"))
    console.print(numbers_table(spaces))
    console.print(Text("Texts of pi0", style="bold"))
    print_texts(of_reference, console)
    if best is None:
        console.print(Text(f"Optimum: {missing}", style="yellow"))
        return
    console.print(Text("Texts of pi*", style="bold"))
    print_texts(of_optimum, console)
    console.print(numbers_table(optimum_numbers(best)))


def show_solution(
    env_id: str, arguments: dict[str, Any], frontier: str | None, console: Console, *, as_json: bool
) -> None:
    """Print the optimum and the frontier."""
    with waiting(f"the optimum of {env_id}"):
        best = optimum(env_id, **arguments)
    if frontier is None:
        coefficients = [best.kl_coef * step for step in STEPS]
    else:
        coefficients = [number(text) for text in frontier.split(",")]
    if as_json:
        points = [dataclasses.asdict(point) for point in best.frontier(coefficients)]
        print_json(json.dumps({**json.loads(best.to_json()), "frontier": points}, indent=2), console)
        return
    console.print(numbers_table(optimum_numbers(best)))
    with waiting("the frontier"):
        table = (
            frontier_table(best, coefficients, metrics_along_frontier(env_id, coefficients, **arguments))
            if best.certificate is None
            else sampled_frontier_table(best.certificate, best.kl_coef, coefficients)
        )
    console.print(table)


def frontier_table(
    best: Optimum, coefficients: Sequence[float], metrics: Sequence[dict[str, float]]
) -> Table:
    """The exact frontier at some coefficients, with the means of the task's metrics there."""
    table = Table(
        *FRONTIER, *(escape(f"E*[{name}]") for name in metrics[0]), title="frontier of reward against KL"
    )
    for point, means in zip(best.frontier(coefficients), metrics):
        values = (point.kl_coef, point.expected_reward, point.kl, point.value, *means.values())
        style = "bold" if point.kl_coef == best.kl_coef else None
        table.add_row(*map(shown, values), style=style)
    return table


def sampled_frontier_table(certificate: Certificate, kl_coef: float, coefficients: Sequence[float]) -> Table:
    """The frontier as a certificate has it, each number with its 95 % interval; the task's own point bold."""
    table = Table(*FRONTIER, "effective samples", title="frontier of reward against KL [95 %]")
    for coefficient in coefficients:
        best = certificate.optimum(coefficient)
        samples = best.effective_samples or 0.0
        few = " (too few to trust)" if samples < TRUSTED_SAMPLES else ""
        cells = (
            shown(coefficient),
            with_bounds(best.expected_reward, best.expected_reward_interval),
            with_bounds(best.kl, best.kl_interval),
            with_bounds(best.value, (best.lower, best.upper)),
            f"{samples:,.0f}{few}",
        )
        table.add_row(*map(escape, cells), style="bold" if coefficient == kl_coef else None)
    return table


def spaces_of(gym_id: str, features_id: str, arguments: dict[str, Any]) -> dict[str, str]:
    """Action and observation spaces of both ids, in short."""
    env, features = (cast(Any, gym).make(each, **arguments) for each in (gym_id, features_id))
    return {
        "action space": str(env.action_space),
        "observation space": short_space(env.observation_space),
        f"observation space of {features_id}": short_space(features.observation_space),
    }


def short_space(space: Any) -> str:
    """A Box by its shape, type and the range of its bounds: bounds that differ would fill pages."""
    if isinstance(space, gym.spaces.Box):
        return f"Box({space.dtype}, {space.shape}, {space.low.min():g} to {space.high.max():g})"
    return str(space)


def with_interval(value: float, bounds: tuple[float, float]) -> str:
    """A number, and its 95 % interval where it has a width."""
    lower, upper = bounds
    interval = f"  (95 %: {shown(lower, 6)} to {shown(upper, 6)})" if upper > lower else ""
    return shown(value, 6) + interval


def optimum_numbers(best: Optimum) -> dict[str, str]:
    """An optimum in words and numbers."""
    value = shown(best.value, 6)
    if not best.exact:
        value += f"  (95 %: {shown(best.lower, 6)} to {shown(best.upper, 6)}; "
        value += f"rigorous: {best.rigorous_lower:.4g} to {best.rigorous_upper:.4g})"
    numbers = {
        "kl_coef": f"{best.kl_coef:g}",
        "J(pi0), the reference": shown(best.reference_value, 6),
        "J*, the optimum": value,
        "E*[r], its expected reward": with_interval(best.expected_reward, best.expected_reward_interval),
        "KL*, its KL to pi0 (nats)": with_interval(best.kl, best.kl_interval),
    }
    if best.effective_samples is not None:
        numbers["effective samples"] = f"{best.effective_samples:.4g}"
    return {**numbers, "method": best.method}


def numbers_table(rows: dict[str, str]) -> Table:
    """Two columns without a head."""
    table = Table(show_header=False)
    for name, value in rows.items():
        table.add_row(Text(name), Text(value))
    return table


def print_texts(texts: list[ShownText], console: Console) -> None:
    """Print prompts, texts and rewards."""
    for text in texts:
        lines = text.written.replace("\n", "\n" + MARGIN * " ")
        console.print(Text.assemble((f"  {text.reward:8.3f}  ", "cyan"), (text.prompt, "dim"), lines))
        if "\n" in text.written:  # a conversation
            console.print()


def prompts_of(task: Task) -> IntArray:
    """A few prompts int64[3], the same for both policies."""
    return np.arange(SAMPLES) % len(task.prompts.tokens)


def number(text: str) -> float:
    """A number of a list.

    Raises:
        ValueError: it is none.
    """
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--frontier takes numbers with commas between, as .02,.05, got {text!r}") from None
