"""The mistakes: what each training signal really optimises, where that ends, and what it scores there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.studies.fixed_points import (
    OperatingPoint,
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
)
from klrl_envs.reference.arrays import FloatArray

if TYPE_CHECKING:
    from klrl_envs import Optimum, Task

ONE_PRICE, PROMPTS = "klrl/DiagnosticCoefficient-v0", "klrl/DiagnosticPromptScale-v0"
DISCOUNT = 0.95
MOST_TEXTS = 10  # log2 of the largest n of best-of-n
STEPS, LEARNING_RATE = 2_000, 0.05  # of the one signal whose end is found by following it

# Name, what is optimised, the update whose fixed point it has, and the discount per step.
STATE_BY_STATE = (
    ("k1 in the reward, gamma 1", "the objective itself", objective_itself, 1.0),
    (
        f"discount {DISCOUNT:g}",
        "an objective in which a reward fades with the length of the text",
        objective_itself,
        DISCOUNT,
    ),
    (
        "SB3's ent_coef for the KL",
        "r + beta log pi0, and the entropy of the visited state only",
        entropy_bonus,
        1.0,
    ),
    (
        "local KL only (token-level k2 in the loss)",
        "the reward to come and the KL of the visited state, blind to the KL to come",
        local_kl,
        1.0,
    ),
    (
        "token-level k3 in the loss",
        "the same with KL(pi0 || pi) in place of KL(pi || pi0)",
        local_forward_kl,
        1.0,
    ),
)


@dataclass(frozen=True)
class Mistake:
    """A mistake, or the control.

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
    point: OperatingPoint | None
    score: float


def score_of(objective: float, best: Optimum) -> float:
    """(J - J0) / (J* - J0)."""
    return (objective - best.reference_value) / (best.value - best.reference_value)


def task_and_optimum(env_id: str) -> tuple[Task, Optimum]:
    """A task on its evaluation prompts, and its optimum."""
    import klrl_envs

    return klrl_envs.evaluation_task(env_id), klrl_envs.optimum(env_id)


def on_one_price() -> list[Mistake]:
    """The control and the mistakes on one task without prompts."""
    from klrl_envs.optima.forward import evaluate_markov
    from klrl_envs.optima.probes import maximiser_objective
    from klrl_envs.optima.terminal_law import terminal_law

    task, best = task_and_optimum(ONE_PRICE)
    assert task.exact is not None and best.policy is not None
    problem, beta = best.policy.problem, task.kl_coef
    law = terminal_law(problem)

    def at(name: str, optimises: str, ends: str, point: OperatingPoint) -> Mistake:
        return Mistake(name, optimises, ends, ONE_PRICE, point, score_of(point.objective, best))

    def by_law(name: str, optimises: str, ends: str, tilted: FloatArray) -> Mistake:
        return at(name, optimises, ends, of_law(law, tilted, beta))

    found: list[Mistake] = []
    for name, optimises, update, discount in STATE_BY_STATE:
        policy = backward(problem, update(beta), discount=discount)
        value = evaluate_markov(problem, policy.state_log_probs, kl_coef=beta)
        point = OperatingPoint(value.expected_reward, value.kl, value.objective)
        found.append(at(name, optimises, "fixed point", point))
    counts = [2**power for power in range(MOST_TEXTS + 1)]
    n = max(counts, key=lambda count: of_law(law, best_of(law, count), beta).objective)
    *_, last = k3_in_the_reward(law, beta, steps=STEPS, learning_rate=LEARNING_RATE)
    alone = maximiser_objective(task.exact, best)
    top = float(law.rewards.max())
    return [
        *found,
        by_law(
            "sequence-level k3 in the loss", "E[r] - beta KL(pi0 || pi)", "fixed point",
            sequence_forward_kl(law, beta),
        ),
        by_law(
            "k3 in the reward", "E[r] - beta (KL(pi || pi0) - KL(pi0 || pi)): pays for dropping texts",
            f"lower rewards are never written; {STEPS:,} exact steps", last,
        ),
        by_law(f"best of n, n = {n}", "nothing: picks the best of n texts", "best n", best_of(law, n)),
        at(
            "the reward alone", "E[r], by one deterministic text", "argmax",
            OperatingPoint(top, (top - alone) / beta, alone),
        ),
    ]  # fmt: skip


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
    return [
        Mistake(
            "group-normalised advantages",
            "r / sd(r) within each prompt's group: every prompt its own coefficient",
            "fixed point", PROMPTS, point, score_of(point.objective, best),
        ),
        Mistake(
            "one Z for pooled prompts",
            "a number, beta log mean Z, that no policy reaches; J* is the mean of beta log Z",
            "closed form", PROMPTS, None, score_of(pooled, best),
        ),
    ]  # fmt: skip
