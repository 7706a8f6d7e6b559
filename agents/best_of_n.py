"""Best-of-n: of n texts of the reference, the one of the highest reward.

With p the law of the reward under pi0 and F its distribution function, the best of n is

    pi(x) = pi0(x) w(r(x))      w(r) = (F(r)^n - F(r-)^n) / p(r)

where ties are broken alike. It is pi0 reweighted by the rank of the reward, and not pi*: at the same KL
pi* has more reward, but where rewards are two. KL(pi || pi0) = E log w is at most log n - (n - 1)/n, and that
much only where there are no ties (Beirami et al. 2024, arXiv 2401.01879; Korbak, Perez and Buckley 2022,
arXiv 2205.11275).

It is a bound and no learner: it has no weights, and pays n texts for each answer. By default n is the best at
the task's kl_coef. There are three ways, by what is known of p:
- Exact tasks with one start that pay at the end: p is a forward pass, and best-of-n is pi* of the reward
  kl_coef log w, so that the soft dynamic programme gives its rows. It is scored exactly and draws nothing.
- Exact tasks with prompts that pay at the end: n texts are drawn, and log w is exact, prompt by prompt.
- All others: n texts are drawn. log w is not known, and its bound log n - (n - 1)/n is reported, which holds
  in the mean over texts: the score is a lower bound, the closer the fewer ties. Trial texts choose n.
What is drawn counts; the default n leaves it, trial texts and all, within the task's budget of tokens.

Left out: distilling the choice into a policy, and rewards other than the task's own to choose by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import klrl_envs
from agents.arguments import Arguments, parse
from agents.run import Training, report
from klrl_envs import AutomatonTask, Engine, Evaluation, Optimum, RewardAutomaton, Task
from klrl_envs.envs.drawing import draw_reference
from klrl_envs.optima.terminal_law import TerminalLaw, has_law, terminal_law
from klrl_envs.policies import OptimalPolicy

FloatArray = NDArray[np.float64]

MOST = 2**30
"""The largest n that is looked at where no text is drawn."""
TRIED = 400
"""Of which the best n is chosen, a geometric row."""
LARGEST_LAW = 1 << 26
"""Contexts times prompts times states up to which the law of each prompt is computed."""


@dataclass
class BestOfNArguments(Arguments):
    """Best-of-n."""

    env_id: str = "klrl/Keywords-v0"
    """the environment; its reward is a function of prompt and tokens"""
    n: int | None = None
    """texts of pi0 of which the best is kept; by default as many as are best at the task's kl_coef"""
    trial: int = 2048
    """texts that tell the best n where the law of the reward is not known"""


def log_weights(law: TerminalLaw, n: float) -> FloatArray:
    """log w [S, U] of each start and reward, nats; 0 where pi0 never earns that reward."""
    chance = law.probabilities
    up_to = np.minimum(chance.cumsum(axis=1) / chance.sum(axis=1, keepdims=True), 1.0)
    held = chance > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.log1p(-np.minimum(chance / up_to, 1.0))  # log F(r-) / F(r)
        found = n * np.log(up_to) + np.log(-np.expm1(n * below)) - np.log(chance)
    return np.where(held, found, 0.0)


def objective_of(law: TerminalLaw, n: float, kl_coef: float, *, known: bool) -> float:
    """E[r] - kl_coef KL of best-of-n by the law of the reward; with the bound of KL where it is not known."""
    logs = log_weights(law, n)
    tilted = law.probabilities * np.exp(logs)
    reward = float(law.start @ tilted @ law.rewards)
    nats = float(law.start @ (tilted * logs).sum(axis=1)) if known else most_nats(n)
    return reward - kl_coef * nats


def most_nats(n: float) -> float:
    """log n - (n - 1)/n, KL where no two texts earn the same."""
    return float(np.log(n) - (n - 1) / n)


def best_count(objective: Callable[[int], float], most: int) -> int:
    """The n of a geometric row from 1 to ``most`` with the largest objective."""
    row = np.unique(np.geomspace(1, max(most, 1), TRIED).round().astype(np.int64)).tolist()
    return max(row, key=objective)


def texts_of_each(task: Task, texts: int) -> int:
    """How many texts of each prompt are at least so many in all."""
    return -(-texts // len(task.prompts.tokens))


def affordable_count(task: Task, budget: int, episodes: int, trial: int) -> int:
    """The largest n whose texts and the trial's are inside a budget of tokens, each as long as can be."""
    tried = texts_of_each(task, trial) * len(task.prompts.tokens)
    return (budget // task.horizon - tried) // episodes


def estimated_law(task: Task, texts: int, rng: np.random.Generator) -> TerminalLaw:
    """The law of the reward of each prompt by texts of pi0, the prompts in turn."""
    count, each = len(task.prompts.tokens), texts_of_each(task, texts)
    engine = Engine(task, count)
    engine.seed_lanes(rng)
    rewards = np.stack([draw_reference(engine, np.arange(count), rng)[1] for _ in range(each)], axis=1)
    levels, place = np.unique(rewards, return_inverse=True)
    probabilities = np.zeros((count, levels.size))
    np.add.at(probabilities, (np.arange(count)[:, None], place.reshape(rewards.shape)), 1 / each)
    return TerminalLaw(np.full(count, 1 / count), levels, probabilities)


def as_optimum(task: AutomatonTask, law: TerminalLaw, n: int) -> OptimalPolicy:
    """Best-of-n of a task with one start by its rows: pi* of the reward kl_coef log w."""
    automaton = task.automaton
    weights = task.kl_coef * log_weights(law, n)[0]

    def paid(final: FloatArray) -> FloatArray:
        place = np.searchsorted(law.rewards, final).clip(max=law.rewards.size - 1)
        return np.where(law.rewards[place] == final, weights[place], 0.0)  # of states that end no text

    tilted = RewardAutomaton(
        automaton.transition,
        final_reward=paid(automaton.final_reward),
        start=automaton.start,
        absorbing=automaton.absorbing,
        horizon_reward=paid(automaton.horizon_reward),
    )
    env = klrl_envs.exact_task(
        task.reference, tilted, horizon=task.horizon, kl_coef=task.kl_coef, end_token=task.end_token
    )
    solution = klrl_envs.optimum(env).policy
    assert solution is not None
    return OptimalPolicy(solution)


class BestOfN:
    """The best of n texts of pi0, as ``klrl_envs.policies.SequencePolicy`` has it.

    Args:
        task: on the prompts that will be asked for.
        n: texts of which the best is kept.
        law: of the reward after each prompt, or None; without it ``log_prob`` is an upper bound of the mean.
    """

    def __init__(self, task: Task, n: int, law: TerminalLaw | None) -> None:
        self.log_prob_kind: Literal["exact", "upper"] = "upper" if law is None else "exact"
        self._task, self._n, self._law = task, n, law
        self._weights = None if law is None else log_weights(law, n)
        self._index = {row.tobytes(): place for place, row in enumerate(task.padded_prompts)}

    def sample(
        self, prompts: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], FloatArray]:
        """The best texts int64 [B, T] and their log pi float64 [B], nats."""
        count = len(prompts)
        asked = np.array([self._index[np.ascontiguousarray(row).tobytes()] for row in prompts])
        engine = Engine(self._task, count)
        engine.seed_lanes(rng)
        tokens, rewards, log_prob = draw_reference(engine, asked, rng)
        for _ in range(1, self._n):
            other, paid, reference = draw_reference(engine, asked, rng)
            better = paid > rewards  # of equals the first is as good as any, as they are alike
            tokens = np.where(better[:, None], other, tokens)
            rewards, log_prob = np.where(better, paid, rewards), np.where(better, reference, log_prob)
        if self._law is None or self._weights is None:
            return tokens, log_prob + most_nats(self._n)
        # a reward of the engine is one of the automaton's numbers, and so of the law's
        return tokens, log_prob + self._weights[asked, np.searchsorted(self._law.rewards, rewards)]


def law_of(task: Task, best: Optimum) -> TerminalLaw | None:
    """The law of the reward after each prompt, where one forward pass of reasonable size gives it."""
    if task.exact is None or best.policy is None or not task.exact.automaton.terminal:
        return None
    size = task.exact.reference.contexts * len(task.prompts.tokens) * task.exact.automaton.states
    return terminal_law(best.policy.problem) if size <= LARGEST_LAW else None


def train(args: BestOfNArguments) -> Evaluation:
    """Choose n, and evaluate."""
    training = Training(args, "best_of_n", budget=0)
    task = training.evaluation_task
    if task.random_beside_tokens or task.replies is not None or task.reward_noise:
        raise ValueError(
            "best_of_n needs an environment whose reward is a function of prompt and tokens, and "
            f"{training.row.gym_id} is none"
        )
    if args.n is not None and args.n < 1:
        raise ValueError(f"n must be at least 1, got {args.n}")
    best = klrl_envs.optimum(training.row.gym_id, **args.env_kwargs)
    law = law_of(task, best)
    by_rows = best.policy is not None and has_law(best.policy.problem)
    n = args.n
    if n is None:
        rng = np.random.default_rng((args.seed, 2))
        rewards = estimated_law(task, args.trial, rng) if law is None else law
        trial = args.trial if law is None else 0
        affordable = affordable_count(task, training.row.token_budget, args.episodes, trial)
        n = best_count(
            lambda count: objective_of(rewards, count, task.kl_coef, known=law is not None),
            MOST if by_rows else affordable,
        )
    training.note(n=n)
    training.describe("pi0 and the reward", "nothing")
    if by_rows and law is not None and task.exact is not None:
        return training.finish(as_optimum(task.exact, law, n))
    return training.finish(BestOfN(task, n, law))


if __name__ == "__main__":
    print(report(train(parse(BestOfNArguments, __doc__))))
