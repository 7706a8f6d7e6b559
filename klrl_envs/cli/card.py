"""`klrl show` and `klrl solve`: an environment's card, its optimum and its frontier."""

from __future__ import annotations

from typing import Any, cast

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from klrl_envs import ledger
from klrl_envs.envs.lookup import evaluation_task
from klrl_envs.evaluation.comparison import metrics_along_frontier
from klrl_envs.evaluation.shown_texts import ShownText, optimal_texts, reference_texts
from klrl_envs.optima.certificate import TRUSTED_SAMPLES
from klrl_envs.optima.optimum import FrontierPoint, NotCertified, Optimum, optimum
from klrl_envs.reference.arrays import IntArray
from klrl_envs.registry import find_row
from klrl_envs.tasks.base import Task

SAMPLES = 3
MARGIN = 12
"""Columns before a text, in which its reward stands."""
STEPS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@ledger.counting_as("certify")
def show_card(env_id: str, arguments: dict[str, Any], seed: int, console: Console) -> None:
    """Print the specification, the spaces, the optimum and sample texts."""
    row = find_row(env_id)
    task = evaluation_task(row.gym_id, arguments)
    console.print(Markdown(f"# {row.task_id}\n\n{row.specification()}"))
    console.print(numbers_table(spaces_of(row.gym_id, row.gym_features_id, arguments)))
    console.print(Text("Texts of pi0", style="bold"))
    print_texts(reference_texts(task, prompts_of(task), seed), console)
    try:
        best = optimum(row.gym_id, **arguments)
    except NotCertified as error:
        console.print(Text(f"Optimum: {error}", style="yellow"))
        return
    console.print(Text("Texts of pi*", style="bold"))
    print_texts(optimal_texts(task, best, prompts_of(task), seed), console)
    console.print(numbers_table(optimum_numbers(best)))


def show_solution(
    env_id: str, arguments: dict[str, Any], frontier: str | None, console: Console, *, as_json: bool
) -> None:
    """Print the optimum and the frontier."""
    best = optimum(env_id, **arguments)
    if as_json:
        console.print(best.to_json(), markup=False, soft_wrap=True, highlight=False)
        return
    if frontier is None:
        coefficients = [best.kl_coef * step for step in STEPS]
    else:
        coefficients = [number(text) for text in frontier.split(",")]
    console.print(numbers_table(optimum_numbers(best)))
    metrics: list[dict[str, float]] = [{} for _ in coefficients]
    if best.exact:
        metrics = metrics_along_frontier(env_id, coefficients, **arguments)
    names = [escape(f"E*[{name}]") for name in metrics[0]] if best.exact else ["effective samples"]
    table = Table(
        "kl_coef", escape("E*[r]"), "KL* (nats)", "J*", *names, title="frontier of reward against KL"
    )
    for point, means in zip(best.frontier(coefficients), metrics):
        style = "bold" if point.kl_coef == best.kl_coef else None
        values = (point.kl_coef, point.expected_reward, point.kl, point.value, *means.values())
        table.add_row(*(f"{value:.5g}" for value in values), *samples_of(point), style=style)
    console.print(table)


def samples_of(point: FrontierPoint) -> list[str]:
    """The effective samples that a sampled point rests on, and whether they are too few; nothing if exact."""
    if point.effective_samples is None:
        return []
    few = " (too few to trust)" if point.effective_samples < TRUSTED_SAMPLES else ""
    return [f"{point.effective_samples:,.0f}{few}"]


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
    return f"{value:.6g}" + (f"  (95 %: {lower:.6g} to {upper:.6g})" if upper > lower else "")


def optimum_numbers(best: Optimum) -> dict[str, str]:
    """An optimum in words and numbers."""
    value = f"{best.value:.6g}"
    if not best.exact:
        value += f"  (95 %: {best.lower:.6g} to {best.upper:.6g}; "
        value += f"rigorous: {best.rigorous_lower:.4g} to {best.rigorous_upper:.4g})"
    numbers = {
        "kl_coef": f"{best.kl_coef:g}",
        "J(pi0), the reference": f"{best.reference_value:.6g}",
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
