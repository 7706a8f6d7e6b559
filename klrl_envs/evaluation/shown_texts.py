"""Texts of pi0 and of pi*, with what they earn, for people to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from klrl_envs import ledger
from klrl_envs.envs.drawing import draw_reference
from klrl_envs.envs.engine import Engine
from klrl_envs.evaluation.evaluate import optimal_policy
from klrl_envs.evaluation.optimal_draws import play_optimal
from klrl_envs.evaluation.rollout import player
from klrl_envs.optima.optimum import Optimum
from klrl_envs.policies import PolicyName, PolicyObject
from klrl_envs.reference.arrays import IntArray
from klrl_envs.tasks.base import Task


@dataclass(frozen=True)
class ShownText:
    """A text.

    Attributes:
        prompt, written: its two parts, without padding.
        reward: of the episode.
    """

    prompt: str
    written: str
    reward: float


@ledger.counting_as("certify")
def reference_texts(task: Task, prompts: IntArray, seed: int) -> list[ShownText]:
    """A sample of pi0 behind each of the prompts [N], by their numbers."""
    rng = np.random.default_rng(seed)
    engine = _seeded(task, len(prompts), rng)
    written, rewards, _ = draw_reference(engine, prompts, rng)
    return _shown(engine, written, rewards)


@ledger.counting_as("certify")
def optimal_texts(task: Task, best: Optimum, prompts: IntArray, seed: int) -> list[ShownText]:
    """A sample of pi* behind each of the prompts [N], by their numbers: of the solution, or by rejection.

    Raises:
        RuntimeError: texts of pi* are too rare for rejection.
    """
    rng = np.random.default_rng([seed, 1])
    policy = optimal_policy(task, best)
    engine = _seeded(task, len(prompts), rng)
    engine.reset(np.arange(len(prompts)), prompts)
    _, rewards = play_optimal(policy, engine, rng)
    return _shown(engine, engine.written(), rewards)


@ledger.counting_as("evaluation")
def policy_texts(
    policy: PolicyObject | PolicyName, task: Task, prompts: IntArray, seed: int, *, features: bool = False
) -> list[ShownText]:
    """A text of any policy but "optimal" behind each of the prompts [N], by their numbers.

    Raises:
        TypeError, ValueError: as ``roll_out`` does.
    """
    rng = np.random.default_rng(seed)
    engine = _seeded(task, len(prompts), rng)
    engine.reset(np.arange(len(prompts)), prompts)
    rewards = player(policy, engine, rng, features=features)(len(prompts)).reward
    return _shown(engine, engine.written(), rewards)


def _seeded(task: Task, lanes: int, rng: np.random.Generator) -> Engine:
    engine = Engine(task, lanes)
    engine.seed_lanes(rng)
    return engine


def _shown(engine: Engine, written: IntArray, rewards: Any) -> list[ShownText]:
    rows = zip(engine.tokens, engine.prompt_lengths(), written, rewards.tolist(), strict=True)
    return [ShownText(*engine.task.parts(tokens[:first], own), paid) for tokens, first, own, paid in rows]
