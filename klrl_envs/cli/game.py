"""An episode that a person plays: what was written, what it has cost so far, and how to take it back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from klrl_envs.envs.engine import Engine
from klrl_envs.envs.rendering import parts
from klrl_envs.optima.optimum import Optimum
from klrl_envs.reference.arrays import FloatArray
from klrl_envs.reference.vocabulary import Vocabulary
from klrl_envs.tasks.base import Task

ONE = np.zeros(1, dtype=np.int64)


@dataclass
class Sums:
    """What an episode has come to.

    Attributes:
        reward: paid so far.
        reference: log pi0 of what was written, nats.
        optimal: log pi* of it, nats, where pi* has rows; else meaningless.
        metrics: the task's, once it has ended.
    """

    reward: float = 0.0
    reference: float = 0.0
    optimal: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict[str, float])


class Game:
    """An episode, token by token.

    Args:
        task: without noise, with its evaluation prompts.
        best: its optimum, or None where nobody certified it.
        prompt: which evaluation prompt; drawn where None.
        seed: of prompt, start, and what the task draws.
    """

    def __init__(self, task: Task, best: Optimum | None, prompt: int | None, seed: int) -> None:
        self.task, self.best = task, best
        self._asked, self._seed = prompt, seed
        self.turns: list[list[int]] = []
        self._begin()
        self.prompt = int(self.engine.prompt_index[0])
        self.start_state = int(self.engine.state[0])

    def _begin(self) -> None:
        self.engine = Engine(self.task, 1)
        self.engine.seed_lanes([np.random.default_rng(self._seed)])
        self.engine.reset(ONE, self._asked)
        self.sums = Sums()

    @property
    def over(self) -> bool:
        """Whether the text has ended."""
        return bool(self.engine.done[0])

    @property
    def text(self) -> str:
        """What was written, without the prompt."""
        return parts(self.engine, 0)[1]

    @property
    def vocabulary(self) -> Vocabulary:
        """How tokens behind the prompt are written."""
        return self.task.vocabulary_after(parts(self.engine, 0)[0])

    @property
    def nats(self) -> float:
        """KL of always writing just this, -log pi0."""
        return 0.0 - self.sums.reference

    @property
    def objective(self) -> float:
        """What always writing this is worth so far: reward - kl_coef KL."""
        return self.sums.reward - self.task.kl_coef * self.nats

    def reference_row(self) -> FloatArray:
        """log pi0(.|s) float64[V] now."""
        return self.engine.reference_log_probs()[0]

    def optimal_row(self) -> FloatArray:
        """log pi*(.|s) float64[V] now, where pi* has rows."""
        assert self.best is not None and self.best.policy is not None
        engine = self.engine
        return self.best.policy.log_probs(engine.context[:1], engine.state[:1], engine.time[:1])[0]

    def write(self, tokens: list[int]) -> None:
        """Write tokens up to the end, or to where the task answers: one turn, which can be taken back."""
        self.turns.append([])
        for place, token in enumerate(tokens):
            if self.over or (place and self.was_answered()):
                break
            self.turns[-1].append(token)
            self._step(token)

    def _step(self, token: int) -> None:
        engine, sums = self.engine, self.sums
        if self.best is not None and self.best.policy is not None:
            sums.optimal += float(self.optimal_row()[token])
        result = engine.step(np.array([token], dtype=np.int64))
        assert result.reference_log_prob is not None
        sums.reward += float(result.reward[0])
        sums.reference += float(result.reference_log_prob[0])
        sums.metrics |= {name: values[0] for name, values in result.metrics.items() if name != "text"}

    def was_answered(self) -> bool:
        """Whether the task wrote after the last token: what else was meant was not heard then."""
        told = self.engine.environment_tokens
        return told is not None and bool(told[0, 0] != self.task.pad)

    def take_back(self) -> bool:
        """Take the last turn back; whether there was one. What the task drew it draws again."""
        if not self.turns:
            return False
        kept = self.turns[:-1]
        self.turns = []
        self._begin()
        for turn in kept:
            self.write(turn)
        return True

    def ends(self) -> tuple[float, float] | None:
        """J(pi0) and J* of episodes that begin as this one did; None where they are not known."""
        best = self.best
        if best is None:
            return None
        if best.policy is not None:
            problem = best.policy.problem
            states = problem.starts[1]
            start = (
                self.prompt
                if problem.prompts is not None
                else int(np.flatnonzero(states == self.start_state)[0])
            )
            return float(problem.reference_values[start]), float(best.policy.start_values[start])
        if best.certificate is None or best.log_partition is None:
            return best.reference_value, best.value
        reward = float(best.certificate.rewards[self.prompt].mean(dtype=np.float64))
        return reward, best.kl_coef * float(best.log_partition[self.prompt])

    def optimal_log_prob(self) -> float | None:
        """log pi* of the whole text, nats; None where it is not known, or luck is in it."""
        if self.best is None or self.task.random_beside_tokens:
            return None
        if self.best.policy is not None:
            return self.sums.optimal
        if self.best.log_partition is None:
            return None
        partition = float(self.best.log_partition[self.prompt])
        return self.sums.reference + self.sums.reward / self.task.kl_coef - partition
