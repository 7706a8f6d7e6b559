"""Does training end where the signal sends it? Variants of GRPO's loss, trained, beside their computed ends.

    python -m benchmarks.studies.trained_ends [--jobs 2]    # what is on record is left out
    python -m benchmarks.studies.trained_ends --draw        # the page alone

On DiagnosticCoefficient-v0 (one reward at four prices of KL) and DiagnosticPromptScale-v0 (prompts whose
rewards differ a hundredfold) the end of each is computed without sampling (``group_ends``), and the agent is
trained once on the budget of the diagnostics. What then separates it from the optimum is the signal's own
fault or the training's: the table says which.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.studies.group_ends import GroupSignal, end_of, policy_of
from klrl_envs import Optimum, optimum
from klrl_envs.optima.forward import evaluate_markov
from klrl_envs.optima.optimum import problem_of
from klrl_envs.registry import make_task, sweeps
from klrl_envs.results.benchmark import Benchmark
from klrl_envs.results.document import write_atomically
from klrl_envs.results.outcome import finished
from klrl_envs.results.plan import expand
from klrl_envs.results.session import STOPPED, run_session
from klrl_envs.results.suites import Experiment, Suite
from klrl_envs.tasks.base import require_exact
from klrl_envs.tasks.row import short_id

FOLDER = Path(__file__).parent / "trained_ends"
ENVIRONMENTS = ("klrl/DiagnosticCoefficient-v0", "klrl/DiagnosticPromptScale-v0")
TOKENS, SEED = 200_000, 0
NEAR = 0.05


@dataclass(frozen=True)
class Variant:
    """A setting of the agent: its flags, and what decides where it ends; None where that is pi*."""

    name: str
    flags: str
    signal: GroupSignal | None


VARIANTS = (
    Variant("grpo", "", GroupSignal(32, deviation=True, by_length=True)),
    Variant("grpo-sums", "--mean longest", GroupSignal(32, deviation=True, by_length=False)),
    Variant("grpo-sums-of-4", "--mean longest --group 4", GroupSignal(4, deviation=True, by_length=False)),
    Variant("grpo-undivided", "--scale none", GroupSignal(32, deviation=False, by_length=True)),
    Variant(
        "grpo-undivided-sums",
        "--scale none --mean longest",
        GroupSignal(32, deviation=False, by_length=False),
    ),
    Variant("corrected-divided", "--loss corrected --scale group", None),
    Variant("corrected-of-4", "--loss corrected --group 4", None),
    Variant("corrected", "--loss corrected", None),
)
HEAD = """# Does training end where the signal sends it?

Made by `python -m benchmarks.studies.trained_ends`: `agents.grpo` with other means over tokens, other groups,
with and without division by the group's standard deviation and with the KL in the loss or in the reward, each
trained once ({tokens:,} tokens, seed {seed}), beside the end of the loss, computed without sampling for a
policy of the same form, log pi0 + f(state, time) ([how](../group_ends.py); prompts of one stake are taken for
one). With the KL in the loss as k3, token by token, no end is pi\\*. Division makes of kl_coef another
coefficient for every prompt ([a pitfall](../pitfalls/README.md)): where KL is dear it buys a reward that is
not worth it. With k1 in the reward every setting ends at pi\\*, at a score of 1.

*Apart* is the difference of the objectives over the larger of J\\* - J(pi0) and J\\* - J(end): of the score
where the end is better than pi0, else of the way from the optimum to the end. Within {near:g}: {right} with
k1 in the reward, {wrong} with k3 in the loss. The others of k3 stand on both sides of their ends, most of
them where division or a small kl_coef makes the KL large; what holds them there, the budget or the sampling
of k3, whose rare values are huge, is not told apart here.

| environment | what is trained | end: score | E[r] | KL, nats | trained: score | E[r] | KL, nats | apart |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""


@dataclass(frozen=True)
class Point:
    """What a policy reaches: expected reward, and KL(pi || pi0) in nats."""

    expected_reward: float
    kl: float


@dataclass(frozen=True)
class Row:
    """A setting on a task.

    Attributes:
        env_id, settings: the task.
        kl_coef: its price.
        variant: the name of what was trained.
        reference, best: J(pi0) and J*.
        end: where the signal ends.
        trained: where the agent ended.
    """

    env_id: str
    settings: dict[str, Any]
    kl_coef: float
    variant: str
    reference: float
    best: float
    end: Point
    trained: Point

    def objective(self, point: Point) -> float:
        """E[r] - kl_coef KL."""
        return point.expected_reward - self.kl_coef * point.kl

    def score(self, point: Point) -> float:
        """0 as pi0, 1 as the optimum."""
        return (self.objective(point) - self.reference) / (self.best - self.reference)

    @property
    def apart(self) -> float:
        """The difference of the objectives, over the larger of J* - J(pi0) and J* - J(end)."""
        end = self.objective(self.end)
        return abs(self.objective(self.trained) - end) / (self.best - min(end, self.reference))

    @classmethod
    def load(cls, data: dict[str, Any]) -> Row:
        """A row as ``asdict`` wrote it."""
        end, trained = (Point(**data.pop(name)) for name in ("end", "trained"))
        return cls(**data, end=end, trained=trained)


def suite_of(variant: Variant) -> Suite:
    """The runs of a setting, one for each task."""
    command = " ".join(filter(None, ("python -m agents.grpo", variant.flags, f"--name {variant.name}")))
    return tuple(
        Experiment(variant.name, command, (env_id,), (SEED,), TOKENS, settings)
        for env_id in ENVIRONMENTS
        for settings in sweeps()[env_id]
    )


def end_point(signal: GroupSignal | None, env_id: str, settings: dict[str, Any], best: Optimum) -> Point:
    """Where a signal ends on the training prompts, as the evaluation prompts see it."""
    if signal is None:
        return Point(best.expected_reward, best.kl)
    task = require_exact(make_task(env_id, **settings), "a fixed point")
    assert best.policy is not None, "exact tasks have one"
    heads = end_of(problem_of(task), task.kl_coef, signal)
    problem = best.policy.problem
    reached = evaluate_markov(problem, policy_of(problem, heads).state_log_probs, kl_coef=task.kl_coef)
    return Point(reached.expected_reward, reached.kl)


def rows_of(variant: Variant, benchmark: Benchmark) -> Iterator[Row]:
    """The rows of a setting that was run."""
    for record in finished(expand(suite_of(variant)), benchmark):
        best = optimum(record.env_id, **record.env_kwargs)
        settings = dict(record.env_kwargs)
        yield Row(
            record.env_id,
            settings,
            best.kl_coef,
            variant.name,
            best.reference_value,
            best.value,
            end=end_point(variant.signal, record.env_id, settings, best),
            trained=Point(record.expected_reward, record.kl),
        )


def line(row: Row) -> str:
    """A row of the table."""
    variant = next(each for each in VARIANTS if each.name == row.variant)
    where = f"`{short_id(row.env_id)}`"
    where += "".join(f", {name} {value:g}" for name, value in row.settings.items())
    points = [
        f"{row.score(point):.3f} | {point.expected_reward:.3f} | {point.kl:.3g}"
        for point in (row.end, row.trained)
    ]
    cells = [where, f"`{variant.flags}`" if variant.flags else "as published", *points, f"{row.apart:.3f}"]
    return "| " + " | ".join(cells) + " |"


def page(rows: Sequence[Row]) -> str:
    """The page, task by task."""
    ends_at_optimum = {variant.name for variant in VARIANTS if variant.signal is None}
    counts = []
    for right in (True, False):
        some = [row.apart <= NEAR for row in rows if (row.variant in ends_at_optimum) == right]
        counts.append(f"{sum(some)} of {len(some)}")
    head = HEAD.format(tokens=TOKENS, seed=SEED, near=NEAR, right=counts[0], wrong=counts[1])
    tasks = list(dict.fromkeys((row.env_id, row.kl_coef) for row in rows))
    ordered = sorted(rows, key=lambda row: tasks.index((row.env_id, row.kl_coef)))
    return head + "\n".join(map(line, ordered)) + "\n"


def record_of(variant: Variant, folder: Path) -> Path:
    """The file of a setting's rows."""
    return folder / f"{variant.name}.json"


def load_rows(folder: Path) -> list[Row]:
    """Every row that is on record."""
    paths = [path for variant in VARIANTS if (path := record_of(variant, folder)).is_file()]
    return [Row.load(data) for path in paths for data in json.loads(path.read_text("utf-8"))]


def main(words: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.trained_ends",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--runs", type=Path, default=Path("runs/trained_ends"), help="where agents write")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, of one thread each")
    parser.add_argument("--draw", action="store_true", help="the page of what is on record, and no run")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of README.md and the records")
    options = parser.parse_args(words)
    options.out.mkdir(parents=True, exist_ok=True)
    benchmark = Benchmark(out=options.runs.resolve(), entries=None, threads=1)
    worst = 0
    for variant in VARIANTS:
        path = record_of(variant, options.out)
        if options.draw or path.is_file():
            continue
        code = run_session(expand(suite_of(variant)), benchmark, jobs=options.jobs)
        worst = max(worst, code)
        if not code:
            rows = [asdict(row) for row in rows_of(variant, benchmark)]
            write_atomically(path, json.dumps(rows, indent=1) + "\n")
        if code == STOPPED:
            break
    write_atomically(options.out / "README.md", page(load_rows(options.out)))
    print(f"written to {options.out}")
    return worst


if __name__ == "__main__":
    sys.exit(main())
