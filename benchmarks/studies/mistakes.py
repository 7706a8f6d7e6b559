"""The mistakes: what each training signal really optimises, where that ends, and what it scores there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from benchmarks.studies import fixed_points
from benchmarks.studies.fixed_points import TablePolicy, Update, backward
from benchmarks.studies.followed import sequence_k3_in_the_reward, token_k3_in_the_reward
from benchmarks.studies.laws import (
    OperatingPoint,
    best_count,
    best_of,
    group_normalised,
    highest,
    of_law,
    regressed_on_a_value,
    reset_reference,
    sequence_forward_kl,
)
from klrl_envs.reference.arrays import FloatArray

if TYPE_CHECKING:
    from klrl_envs import Optimum, Task

Kind = Literal["right", "estimator", "data", "objective", "claim"]
KINDS: dict[Kind, str] = {
    "right": "has the gradient of the objective",
    "estimator": "an estimator of the KL that has another gradient where it stands",
    "data": "right on the policy's own texts, fitted on others",
    "objective": "another objective",
    "claim": "a number that no policy reaches",
}

ONE_PRICE, PROMPTS = "klrl/DiagnosticCoefficient-v0", "klrl/DiagnosticPromptScale-v0"
DISCOUNT = 0.95
VALUE_RATIO = 500.0  # of the two coefficients in the published defaults of A*PO, .5 and .001
RESETS = (1, 2, 4)  # after which the score is told on the way to the end
SEQUENCE_STEPS, SEQUENCE_LEARNING_RATE = 2_000, 0.05  # of the signals whose end is found by following them
TOKEN_STEPS, TOKEN_LEARNING_RATE = 2_000, 0.2

REWARD_TOKEN, REWARD_SEQUENCE = "in the reward, per token", "in the reward, per sequence"
LOSS_TOKEN, LOSS_SEQUENCE = "in the loss, per token", "in the loss, per sequence"


class Signal(NamedTuple):
    """What is done: its name, where it stands and its level, what it optimises in truth, and its sources.

    ``sources`` are arXiv ids; ``ends`` says how the end was found.
    """

    name: str
    where: str
    kind: Kind
    optimises: str
    sources: tuple[str, ...] = ()
    ends: str = "fixed point"


@dataclass(frozen=True)
class Mistake:
    """A mistake, or what is right.

    Attributes:
        signal: what is done.
        env_id: the task.
        point: where it ends; None where no policy is meant.
        score: (J - J0) / (J* - J0) there.
    """

    signal: Signal
    env_id: str
    point: OperatingPoint | None
    score: float

    @property
    def label(self) -> str:
        """Name, place and level."""
        return f"{self.signal.name} {self.signal.where}".strip()


def score_of(objective: float, best: Optimum) -> float:
    """(J - J0) / (J* - J0)."""
    return (objective - best.reference_value) / (best.value - best.reference_value)


def task_and_optimum(env_id: str) -> tuple[Task, Optimum]:
    """A task on its evaluation prompts, and its optimum."""
    import klrl_envs

    return klrl_envs.evaluation_task(env_id), klrl_envs.optimum(env_id)


class OnePrice:
    """The rows on one task without prompts."""

    def __init__(self) -> None:
        from klrl_envs.optima.terminal_law import terminal_law

        self.task, self.best = task_and_optimum(ONE_PRICE)
        assert self.best.policy is not None
        self.problem, self.beta = self.best.policy.problem, self.task.kl_coef
        self.law = terminal_law(self.problem)

    def at(self, signal: Signal, point: OperatingPoint) -> Mistake:
        """The row of a signal that ends at a point."""
        return Mistake(signal, ONE_PRICE, point, score_of(point.objective, self.best))

    def by_law(self, signal: Signal, tilted: FloatArray) -> Mistake:
        """The row of a signal that ends at a law of the reward."""
        return self.at(signal, of_law(self.law, tilted, self.beta))

    def by_states(self, signal: Signal, policy: TablePolicy) -> Mistake:
        """The row of a signal that ends at a table."""
        from klrl_envs.optima.forward import evaluate_markov

        value = evaluate_markov(self.problem, policy.state_log_probs, kl_coef=self.beta)
        return self.at(signal, OperatingPoint(value.expected_reward, value.kl, value.objective))

    def fixed(self, signal: Signal, update: Update, discount: float = 1.0) -> Mistake:
        """The row of a signal whose end is found state by state."""
        return self.by_states(signal, backward(self.problem, update, discount=discount))

    def rows(self) -> list[Mistake]:
        """All of them, the right ones first."""
        return [*self.right(), *self.estimators(), *self.regressions(), *self.objectives()]

    def right(self) -> list[Mistake]:
        """What has the objective's own gradient."""
        itself, own = fixed_points.objective_itself(self.beta), "the objective itself"
        return [
            self.fixed(
                Signal("k1", "in the reward, per token or sequence", "right", own, ("2402.14740",)), itself
            ),
            self.fixed(Signal("k2", LOSS_SEQUENCE, "right", own, ("2506.09477",)), itself),
            self.fixed(
                Signal("importance-weighted k3", LOSS_SEQUENCE, "right", own, ("2512.02556",)), itself
            ),
        ]

    def estimators(self) -> list[Mistake]:
        """The KL estimated in a way that has another gradient."""
        local = fixed_points.local_kl(self.beta)
        blind = "the reward to come and the KL of the visited state, blind to the KL to come"
        pays = "E[r] - beta (KL(pi || pi0) - KL(pi0 || pi)): pays for dropping texts"
        followed = "all but a few are dropped; {:,} exact natural gradient steps of {:g} from pi0"
        sequence = {"steps": SEQUENCE_STEPS, "learning_rate": SEQUENCE_LEARNING_RATE}
        token = {"steps": TOKEN_STEPS, "learning_rate": TOKEN_LEARNING_RATE}
        *_, last = sequence_k3_in_the_reward(self.law, self.beta, **sequence)
        return [
            self.fixed(Signal("k2", LOSS_TOKEN, "estimator", blind, ("2506.09477",)), local),
            self.fixed(
                Signal("importance-weighted k3", LOSS_TOKEN, "estimator", blind, ("2512.02556",)), local
            ),
            self.fixed(
                Signal(
                    "k3", LOSS_TOKEN, "estimator",
                    "the same with KL(pi0 || pi) in place of KL(pi || pi0)", ("2402.03300",),
                ),
                fixed_points.local_forward_kl(self.beta),
            ),
            self.by_law(
                Signal("k3", LOSS_SEQUENCE, "estimator", "E[r] - beta KL(pi0 || pi)", ("2506.09477",)),
                sequence_forward_kl(self.law, self.beta),
            ),
            self.by_states(
                Signal(
                    "k3", REWARD_TOKEN, "estimator",
                    "the KL to come, but KL(pi || pi0) - KL(pi0 || pi) at the visited state: pays for "
                    "dropping tokens", ("2506.09477",),
                    followed.format(TOKEN_STEPS, TOKEN_LEARNING_RATE),
                ),
                token_k3_in_the_reward(self.problem, self.beta, **token),
            ),
            self.by_law(
                Signal(
                    "k3", REWARD_SEQUENCE, "estimator", pays, ("2506.09477",),
                    followed.format(SEQUENCE_STEPS, SEQUENCE_LEARNING_RATE),
                ),
                last,
            ),
        ]  # fmt: skip

    def regressions(self) -> list[Mistake]:
        """beta l on r - V, V of another coefficient: what the texts are drawn from decides."""
        name = f"V* at {VALUE_RATIO:g} beta"
        kinds: tuple[tuple[str, Kind, str, float], ...] = (
            ("own texts", "right", "the objective itself: V is a baseline", 0.0),
            ("half pi0's texts", "data", "a regression whose errors are weighed by what is replayed", 0.5),
            ("pi0's texts", "data", "a regression whose errors are weighed by what is replayed", 1.0),
        )
        return [
            self.by_law(
                Signal(f"{name} ({texts})", LOSS_SEQUENCE, kind, optimises, ("2505.20686",)),
                regressed_on_a_value(self.law, self.beta, VALUE_RATIO * self.beta, replayed=share),
            )
            for texts, kind, optimises, share in kinds
        ]

    def objectives(self) -> list[Mistake]:
        """Other objectives."""
        from klrl_envs.optima.probes import maximiser_objective

        assert self.task.exact is not None
        count = best_count(self.law, self.beta)
        alone, top = maximiser_objective(self.task.exact, self.best), float(self.law.rewards.max())
        on_the_way = ", ".join(f"{self.after_resets(resets):.3f}" for resets in RESETS)
        counts = ", ".join(map(str, RESETS))
        drift = f"pi0 given the highest reward; after {counts} resets it scores {on_the_way}"
        return [
            self.fixed(
                Signal(
                    f"discount {DISCOUNT:g}", REWARD_TOKEN, "objective",
                    "an objective in which a reward fades with the length of the text",
                ),
                fixed_points.objective_itself(self.beta),
                DISCOUNT,
            ),
            self.fixed(
                Signal(
                    "SB3's ent_coef for the KL", LOSS_TOKEN, "objective",
                    "r + beta log pi0, and the entropy of the visited state only",
                ),
                fixed_points.entropy_bonus(self.beta),
            ),
            self.by_law(
                Signal(
                    f"best of n = {count}", "without training", "objective",
                    "nothing: picks the best of n texts", ("2401.01879",), "the best of all n",
                ),
                best_of(self.law, count),
            ),
            self.by_law(
                Signal(
                    "reference reset to the policy", "with any right KL", "objective",
                    "k + 1 times the reward after k resets", ("2404.09656",), drift,
                ),
                highest(self.law),
            ),
            self.by_law(
                Signal(
                    "the reward alone (pi0 given the highest)", "without KL", "objective",
                    "E[r], at its maximiser nearest pi0", ("2205.11275",),
                    "limit of the natural gradient from pi0",
                ),
                highest(self.law),
            ),
            self.at(
                Signal(
                    "the reward alone (one text)", "without KL", "objective",
                    "E[r], by one deterministic text", ("2205.11275",), "argmax",
                ),
                OperatingPoint(top, (top - alone) / self.beta, alone),
            ),
        ]  # fmt: skip

    def after_resets(self, resets: int) -> float:
        """The score after so many resets of the reference."""
        point = of_law(self.law, reset_reference(self.law, self.beta, resets), self.beta)
        return score_of(point.objective, self.best)


def on_prompts() -> list[Mistake]:
    """The mistakes on prompts with unequal stakes."""
    from klrl_envs.optima.terminal_law import terminal_law

    task, best = task_and_optimum(PROMPTS)
    assert best.policy is not None
    beta, law = task.kl_coef, terminal_law(best.policy.problem)
    point = of_law(law, group_normalised(law, beta), beta)
    # one Z for all prompts, as if they were one
    exponent = law.rewards / beta
    shift = exponent.max()
    pooled = beta * (shift + np.log(law.start @ law.probabilities @ np.exp(exponent - shift)))
    normalised = Signal(
        "group-normalised advantages", REWARD_SEQUENCE, "objective",
        "r / sd(r) within each prompt's group: every prompt its own coefficient",
        ("2402.03300", "2503.20783"),
    )  # fmt: skip
    one_z = Signal(
        "one Z for pooled prompts", "", "claim",
        "a number, beta log mean Z, that no policy reaches; J* is the mean of beta log Z", (), "closed form",
    )  # fmt: skip
    return [
        Mistake(normalised, PROMPTS, point, score_of(point.objective, best)),
        Mistake(one_z, PROMPTS, None, score_of(float(pooled), best)),
    ]


def all_rows() -> list[Mistake]:
    """Every row of the page, in its order."""
    return [*OnePrice().rows(), *on_prompts()]
