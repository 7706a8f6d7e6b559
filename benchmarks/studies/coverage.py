"""Do the intervals of an evaluation cover? Simulated against policies whose truth is known without sampling.

    python -m benchmarks.studies.coverage [--runs 2000] [--out benchmarks/studies/coverage]

Each setting is a policy on an exact task. Evaluations of it are redrawn thousands of times from a large pool
of its episodes, and it is counted how often the 95 % intervals of score, expected reward and KL hold the
truth. Settings are shown by the rare events that an evaluation expects: of an event with probability p, as
many as it occurs among the episodes; of any other law, the episodes over its kurtosis. From 20 on an interval
shall cover at 92.5 to 97.5 %, below at 92.5 % or more. "With solver" uses the regret to pi* at each state, as
on exact tasks; "without" what a neural task has: rewards and KL.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from klrl_envs import Optimum, evaluation_task, optimum
from klrl_envs.evaluation.assess import Estimates, estimates_of
from klrl_envs.evaluation.estimators import Mean, stratified_mean
from klrl_envs.evaluation.evaluate import sampled_numbers
from klrl_envs.evaluation.rollout import Episodes, roll_out
from klrl_envs.kl import check_kl_coef
from klrl_envs.optima.dynamic_programme import solve_problem
from klrl_envs.optima.forward import MarkovEvaluation, evaluate_markov
from klrl_envs.policies import OptimalPolicy
from klrl_envs.results.document import write_atomically
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.row import short_id

FOLDER = Path(__file__).parent / "coverage"
POOL = 500_000
"""Episodes of a setting's pool; an evaluation takes a few thousand of them at the most."""
EPISODES = (256, 1024, 4096)
EVENTS = 20
LOW, HIGH = 0.925, 0.975
ROUNDING = 1e-9


@dataclass(frozen=True)
class Setting:
    """A policy on an exact task: pi* at ``factor`` times the task's kl_coef; infinite is pi0 itself."""

    env_id: str
    factor: float
    arguments: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """What a person calls it."""
        which = "pi0" if np.isinf(self.factor) else f"pi* at {self.factor:g} kl_coef"
        changed = ", ".join(f"{name} {value:g}" for name, value in self.arguments)
        return f"{short_id(self.env_id)}{f' ({changed})' if changed else ''}, {which}"


SETTINGS = (
    Setting("klrl/Arithmetic-v0", np.inf),
    Setting("klrl/Arithmetic-v0", 2.0),
    Setting("klrl/Arithmetic-v0", 1.0),
    Setting("klrl/DiagnosticSparsity-v0", np.inf, (("probability", 1e-2),)),
    Setting("klrl/DiagnosticSparsity-v0", 2.0, (("probability", 1e-3),)),
    Setting("klrl/DiagnosticModes-v0", 3.0),
    Setting("klrl/GridNavigation-v0", 4.0),
    Setting("klrl/Brackets-v0", 2.0),
)


@dataclass(frozen=True)
class Row:
    """How often the interval of a quantity held the truth.

    Attributes:
        events: rare events that an evaluation expects.
        covered: share of the simulated evaluations.
        resolved: share of them whose interval was Student's.
    """

    setting: Setting
    solver: bool
    episodes: int
    quantity: str
    events: float
    covered: float
    resolved: float

    @property
    def holds(self) -> bool:
        """Whether the coverage is as it shall be."""
        return self.covered >= LOW and (self.events < EVENTS or self.covered <= HIGH)


class Rows:
    """A policy by (context, state, time) that ``roll_out`` takes for one that is not pi* or pi0."""

    def __init__(self, task: AutomatonTask, solution: Any) -> None:
        self._task, self._solution = task, solution

    def state_log_probs(self, context: Any, state: Any, time: Any) -> Any:
        """See ``StatePolicy``."""
        if self._solution is None:
            return self._task.reference.rows(context)
        return self._solution.log_probs(context, state, time)


def truths(own: MarkovEvaluation, best: Optimum) -> dict[str, float]:
    """What a policy is worth; without a KL that is nothing but rounding."""
    assert best.gap is not None
    score = (own.objective - best.reference_value) / best.gap
    found = {"score": score, "expected_reward": own.expected_reward}
    return found | ({"kl": own.kl} if own.kl > 1e-9 else {})


def simulate(setting: Setting, runs: int, *, pool: int = POOL, seed: int = 0) -> Iterator[Row]:
    """The coverages of a setting.

    Args:
        runs: evaluations for each number of episodes.
        pool: episodes that they are drawn from.
        seed: of everything that is drawn.
    """
    task = evaluation_task(setting.env_id, dict(setting.arguments)).exact
    assert task is not None
    best = optimum(setting.env_id, **dict(setting.arguments))
    assert best.policy is not None
    problem = best.policy.problem
    price = task.kl_coef * setting.factor
    policy = Rows(task, None if np.isinf(price) else solve_problem(problem, check_kl_coef(price)))
    own = evaluate_markov(problem, policy.state_log_probs, kl_coef=task.kl_coef)
    count = len(task.prompts.tokens)
    known = roll_out(
        policy, task, episodes=pool // count * count, seed=seed, other=OptimalPolicy(best.policy)
    )
    rng = np.random.default_rng(seed)
    for solver in (True, False):
        whole = known if solver else Episodes(**{**vars(known), "other_kl": None, "other_spread": None})
        expected = expected_events(whole, task, best)
        for episodes in EPISODES:
            shape = (max(2, -(-episodes // count)), count)
            held, resolved = Counter[str](), Counter[str]()
            for _ in range(runs):
                chosen = rng.integers(len(known.prompt) // count, size=shape) * count + np.arange(count)
                part = whole.take(chosen.ravel())
                estimates = estimates_of(part, task, best)
                numbers = sampled_numbers(estimates, part, task, best)
                for name, truth in truths(own, best).items():
                    held[name] += numbers[name].lower - ROUNDING <= truth <= numbers[name].upper + ROUNDING
                    resolved[name] += means_of(estimates)[name].resolved
            for name in truths(own, best):
                events = expected[name] * shape[0] * count / len(known.prompt)
                share, student = held[name] / runs, resolved[name] / runs
                yield Row(setting, solver, shape[0] * count, name, events, share, student)


def means_of(estimates: Estimates) -> dict[str, Mean]:
    """What each interval comes from."""
    return {
        "score": estimates.regret,
        "expected_reward": estimates.expected_reward_mean,
        "kl": estimates.kl_mean,
    }


def expected_events(whole: Episodes, task: AutomatonTask, best: Optimum) -> dict[str, float]:
    """The rare events among a pool's episodes that each quantity rests on."""
    estimates = estimates_of(whole, task, best)
    rewards = stratified_mean(whole.reward, whole.prompt).events
    return {
        "score": min(estimates.regret.events, rewards),
        "expected_reward": min(estimates.expected_reward_mean.events, rewards),
        "kl": estimates.kl_mean.events,
    }


def card(rows: Sequence[Row], runs: int) -> str:
    """The page."""
    enough = [row for row in rows if row.events >= EVENTS]
    few = [row for row in rows if row.events < EVENTS]
    least, most = min(row.covered for row in enough), max(row.covered for row in enough)
    about = " ".join((__doc__ or "").split("\n\n")[2].split())
    lines = [
        "# Do the intervals of an evaluation cover?",
        "",
        f"Made by `python -m benchmarks.studies.coverage --runs {runs}`. {about}",
        "",
        f"Where at least {EVENTS} rare events are expected ({len(enough)} rows), the 95 % intervals held the "
        f"truth in {least:.1%} to {most:.1%} of {runs:,} evaluations each; with fewer ({len(few)} rows) in "
        f"at least {min(row.covered for row in few):.1%}.",
        "",
        "| policy | regret | episodes | quantity | events expected | covered | of them Student's |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        solver = "with solver" if row.solver else "without"
        mark = "" if row.holds else " (!)"
        lines.append(
            f"| {row.setting.name} | {solver} | {row.episodes:,} | {row.quantity.replace('_', ' ')} | "
            f"{row.events:,.3g} | {row.covered:.3f}{mark} | {row.resolved:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 1 where an interval does not cover."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.coverage",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--runs", type=int, default=2000, help="evaluations of each setting and size")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of README.md")
    options = parser.parse_args(arguments)
    rows = [row for setting in tqdm(SETTINGS) for row in simulate(setting, options.runs)]
    write_atomically(options.out / "README.md", card(rows, options.runs))
    wrong = [row for row in rows if not row.holds]
    for row in wrong:
        print(
            f"{row.setting.name}, {row.episodes} episodes, {row.quantity}: {row.covered:.3f}", file=sys.stderr
        )
    print(f"written to {options.out}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
