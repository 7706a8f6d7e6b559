"""Well-known mistakes in KL-regularised RL, measured against the exact optimum: one figure and one table.

    python -m benchmarks.studies.pitfalls [--out benchmarks/pitfalls]

Every row says what a training signal really optimises, where that ends, and what it scores there. Nothing is
sampled: fixed points are computed on the exact tasks DiagnosticCoefficient-v0 (one price of KL, no prompts)
and DiagnosticPromptScale-v0 (prompts with unequal stakes), but for one signal that is followed step by step
(k3 in the reward). A score below 1 is the signal's own fault, which no optimiser can mend.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.studies.fixed_points import (
    Point,
    TablePolicy,
    backward,
    best_of,
    entropy_bonus,
    group_normalised,
    k3_in_the_reward,
    local_forward_kl,
    local_kl,
    objective_itself,
    of_law,
    sequence_forward_kl,
    tilt,
)
from leaderboard.plots import INK, LOOK, METADATA, SOFT

if TYPE_CHECKING:
    from klrl_envs.optima.result import Optimum
    from klrl_envs.tasks.automaton_task import AutomatonTask

FOLDER = Path(__file__).parent / "pitfalls"
ONE_PRICE, PROMPTS = "klrl/DiagnosticCoefficient-v0", "klrl/DiagnosticPromptScale-v0"
DISCOUNT = 0.95
MOST_TEXTS = 10  # log2 of the largest n of best-of-n
STEPS, RATE = 2_000, 0.05  # of the one signal whose end is found by following it
GOOD, BAD = "#009E73", "#D55E00"
LOWEST, HIGHEST = -1.0, 1.35  # bars are cut here, and say so
FARTHEST = 3.2  # times the optimum's KL: what lies beyond stands at the edge


@dataclass(frozen=True)
class Row:
    """A mistake.

    Attributes:
        name: what is done.
        optimises: what that optimises in truth.
        ends: "fixed point", or how else its end was found.
        env_id: the task.
        point: where it ends; None where no policy is meant.
        score: (J - J0) / (J* - J0) there.
    """

    name: str
    optimises: str
    ends: str
    env_id: str
    point: Point | None
    score: float


def score_of(objective: float, best: Optimum) -> float:
    """(J - J0) / (J* - J0)."""
    return (objective - best.reference_value) / (best.value - best.reference_value)


def exact_task(env_id: str) -> tuple[AutomatonTask, Optimum]:
    """A task on its evaluation prompts, and its optimum."""
    import klrl_envs

    task: Any = klrl_envs.make_task(env_id, prompts="evaluation")
    return task, klrl_envs.optimum(env_id)


def on_one_price() -> list[Row]:
    """The rows on one task without prompts."""
    from klrl_envs.optima.forward import evaluate_markov
    from klrl_envs.optima.probes import maximiser_objective
    from klrl_envs.optima.terminal_law import terminal_law

    task, best = exact_task(ONE_PRICE)
    assert best.policy is not None
    problem, beta = best.policy.problem, task.kl_coef
    law = terminal_law(problem)

    def state_by_state(name: str, optimises: str, policy: TablePolicy) -> Row:
        found = evaluate_markov(problem, policy.state_log_probs, kl_coef=beta)
        point = Point(found.expected_reward, found.kl, found.objective)
        return Row(name, optimises, "fixed point", ONE_PRICE, point, score_of(point.objective, best))

    def by_law(name: str, optimises: str, tilted: Any, ends: str = "fixed point") -> Row:
        point = of_law(law, tilted, beta)
        return Row(name, optimises, ends, ONE_PRICE, point, score_of(point.objective, best))

    counts = [2**power for power in range(MOST_TEXTS + 1)]
    n = max(counts, key=lambda count: of_law(law, best_of(law, count), beta).objective)
    *_, last = k3_in_the_reward(law, beta, steps=STEPS, rate=RATE)
    alone = maximiser_objective(task, best)
    top = float(law.rewards.max())
    return [
        state_by_state(
            "k1 in the reward, gamma 1", "the objective itself", backward(problem, objective_itself(beta))
        ),
        state_by_state(
            f"discount {DISCOUNT:g}",
            "an objective in which a reward fades with the length of the text",
            backward(problem, objective_itself(beta), discount=DISCOUNT),
        ),
        state_by_state(
            "SB3's ent_coef for the KL",
            "r + beta log pi0, and the entropy of the visited state only",
            backward(problem, entropy_bonus(beta)),
        ),
        state_by_state(
            "local KL only (token-level k2 in the loss)",
            "the reward to come and the KL of the visited state, blind to the KL to come",
            backward(problem, local_kl(beta)),
        ),
        state_by_state(
            "token-level k3 in the loss",
            "the same with KL(pi0 || pi) in place of KL(pi || pi0)",
            backward(problem, local_forward_kl(beta)),
        ),
        by_law(
            "sequence-level k3 in the loss", "E[r] - beta KL(pi0 || pi)", sequence_forward_kl(law, beta)
        ),
        by_law(
            "k3 in the reward",
            "E[r] - beta (KL(pi || pi0) - KL(pi0 || pi)): pays for dropping texts",
            last,
            f"lower rewards are never written; {STEPS:,} exact steps",
        ),
        by_law(f"best of n, n = {n}", "nothing: picks the best of n texts", best_of(law, n), "best n"),
        Row(
            "the reward alone", "E[r], by one deterministic text", "argmax", ONE_PRICE,
            Point(top, (top - alone) / beta, alone), score_of(alone, best),
        ),
    ]  # fmt: skip


def on_prompts() -> list[Row]:
    """The rows on prompts with unequal stakes."""
    from klrl_envs.optima.terminal_law import terminal_law

    task, best = exact_task(PROMPTS)
    assert best.policy is not None
    beta, law = task.kl_coef, terminal_law(best.policy.problem)
    point = of_law(law, group_normalised(law, beta), beta)
    # one Z for all prompts, as if they were one
    exponent = law.rewards / beta
    shift = exponent.max()
    pooled = beta * (shift + np.log(law.start @ law.probabilities @ np.exp(exponent - shift)))
    return [
        Row(
            "group-normalised advantages",
            "r / sd(r) within each prompt's group: every prompt its own coefficient",
            "fixed point", PROMPTS, point, score_of(point.objective, best),
        ),
        Row(
            "one Z for pooled prompts",
            "a number, beta log mean Z, that no policy reaches; J* is the mean of beta log Z",
            "closed form", PROMPTS, None, score_of(pooled, best),
        ),
    ]  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """The table as Markdown."""
    lines = [
        "# Pitfalls, against the exact optimum",
        "",
        "Made by `python -m benchmarks.studies.pitfalls`. Score: 0 the reference, 1 the optimum.",
        "",
        "![Where well-known mistakes end](pitfalls.png)",
        "",
        "| what is done | what it optimises | its end | E[r] | KL (nats) | score | task |",
        "| --- | --- | --- | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        reached = (
            ("", "") if row.point is None else (f"{row.point.expected_reward:.3f}", f"{row.point.kl:.2f}")
        )
        score = f"claims {row.score:.3f}" if row.point is None else f"{row.score:.3f}"
        cells = (row.name, row.optimises, row.ends, *reached, score, row.env_id.removeprefix("klrl/"))
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[Row], out: Path) -> None:
    """The figure: where each ends in the plane of KL and reward, and what it scores."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    ordered = sorted(rows, key=lambda row: row.score)
    with mpl.rc_context(LOOK):
        figure, (plane, bars) = pyplot.subplots(
            1, 2, figsize=(12.5, 5.2), width_ratios=(1.15, 1), layout="constrained"
        )
        numbers = {row.name: len(ordered) - place for place, row in enumerate(ordered)}
        draw_plane(plane, rows, numbers)
        draw_bars(bars, ordered, numbers)
        figure.suptitle(
            "What well-known mistakes cost: exact fixed points, scored against the exact optimum",
            x=0.01, ha="left", fontsize=13, color=INK,
        )  # fmt: skip
        figure.savefig(out / "pitfalls.svg", metadata=METADATA)
        figure.savefig(out / "pitfalls.png", dpi=150, metadata={"Software": None})
        pyplot.close(figure)


def draw_plane(axes: Any, rows: Sequence[Row], numbers: dict[str, int]) -> None:
    """The reward-KL plane of the task without prompts: frontier, best-of-n, and where each row ends."""
    from klrl_envs.optima.terminal_law import terminal_law

    task, best = exact_task(ONE_PRICE)
    assert best.policy is not None
    law = terminal_law(best.policy.problem)
    points = [
        of_law(law, tilt(law, np.full(1, coefficient)), task.kl_coef)
        for coefficient in np.geomspace(task.kl_coef / 100, task.kl_coef * 50, 300)
    ]
    axes.plot([p.kl for p in points], [p.expected_reward for p in points], color=INK, linewidth=1.8)
    curve = [of_law(law, best_of(law, 2**power), task.kl_coef) for power in range(MOST_TEXTS + 1)]
    axes.plot(
        [p.kl for p in curve], [p.expected_reward for p in curve], "--", color=SOFT, linewidth=1.2, marker="."
    )  # fmt: skip
    right, top = FARTHEST * best.kl, 1.06 * float(law.rewards.max())
    tangent = np.array([0.0, right])
    axes.plot(tangent, best.value + task.kl_coef * tangent, ":", color=SOFT, linewidth=1.1)
    shown = [(row, row.point) for row in rows if row.env_id == ONE_PRICE and row.point is not None]
    for place, (row, point) in enumerate(sorted(shown, key=lambda pair: pair[1].kl)):
        colour = GOOD if row.score > 1 - 1e-9 else BAD
        beyond = point.kl > right
        at = (min(point.kl, right), point.expected_reward)
        axes.plot(*at, ">" if beyond else "o", color=colour, markersize=8, markeredgecolor="white", zorder=4)
        label = f"{numbers[row.name]}: {point.kl:.0f} nats" if beyond else str(numbers[row.name])
        # alternately above to the left and below to the right, as the frontier rises between
        left = place % 2 == 0 or beyond
        axes.annotate(
            label, at, (-11, 9) if left else (11, -15), textcoords="offset points", color=colour,
            ha="right" if left else "left", weight="bold",
            arrowprops={"arrowstyle": "-", "color": SOFT, "lw": 0.6},
        )  # fmt: skip
    axes.plot(0, best.reference_value, "D", color=INK, markersize=7, clip_on=False)
    axes.annotate("reference", (0, best.reference_value), (9, -4), textcoords="offset points", color=INK)
    axes.set_xlim(-0.02 * right, 1.01 * right)
    axes.set_ylim(0, top)
    axes.set_xlabel("KL from the reference (nats)")
    axes.set_ylabel("expected reward")
    axes.text(
        0.985, 0.03,
        "line: optimal frontier; dashed: best of 1, 2, 4, ...\n"
        f"dotted: objective J* at kl_coef {task.kl_coef:g}\n{ONE_PRICE}",
        transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color=SOFT,
    )  # fmt: skip


def draw_bars(axes: Any, ordered: Sequence[Row], numbers: dict[str, int]) -> None:
    """The scores, best on top."""
    for place, row in enumerate(ordered):
        shown = min(max(row.score, LOWEST), HIGHEST)
        impossible = row.score > 1 + 1e-9
        colour = GOOD if abs(row.score - 1) < 1e-9 else BAD
        axes.barh(place, shown, 0.62, color=colour, alpha=0.35 if impossible else 0.9, linewidth=0)
        note = " (cut)" if row.score < LOWEST else ": no policy has it" if impossible else ""
        axes.text(
            max(shown, 0) + 0.03, place, f"{row.score:.2f}{note}", va="center", fontsize=9, color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1)
    axes.axvline(1, color=INK, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(ordered)), [f"{row.name}  ({numbers[row.name]})" for row in ordered])
    axes.tick_params(axis="y", length=0)
    low = max(min(0.0, ordered[0].score), LOWEST)
    axes.set_xlim(low - 0.02, HIGHEST + 0.75)
    axes.set_xlabel("score: 0 the reference, 1 the optimum")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.pitfalls",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of README.md, pitfalls.png and .svg")
    options = parser.parse_args(arguments)
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("benchmarks.studies.pitfalls needs matplotlib: pip install 'klrl-envs[plots]'", file=sys.stderr)
        return 1
    rows = [*on_one_price(), *on_prompts()]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "README.md").write_text(table(rows), encoding="utf-8")
    draw(rows, options.out)
    for row in rows:
        print(f"{row.score:8.3f}  {row.name}")
    print(f"written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
