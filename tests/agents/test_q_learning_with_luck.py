"""Soft Q-learning where what follows a token is drawn: it averages, and knows so from the task."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.q_learning import WITH_LUCK, SoftQ
from klrl_envs import evaluate_exactly, make_task
from klrl_envs.envs.vector_env import TokenVectorEnv
from klrl_envs.reference.sampling import sample_rows
from klrl_envs.wrappers import VectorStateIndex
from tests.talk import guessing_game


def test_it_learns_a_game_with_another_speaker() -> None:
    env = guessing_game(horizon=3)
    task: Any = env.task
    table = SoftQ(task)
    assert table.decay == WITH_LUCK and SoftQ(make_task("GridNavigation-v0")).decay == 0.0  # type: ignore[arg-type]
    lanes, rng = 64, np.random.default_rng(0)
    inner = TokenVectorEnv(task, lanes, autoreset_mode="Disabled")
    vector, every = VectorStateIndex(inner), np.arange(lanes)
    index, _ = vector.reset(seed=0)
    for _ in range(150):
        steps: list[list[tuple[int, int, float]]] = [[] for _ in range(lanes)]
        while not inner.engine.done.all():
            going = ~inner.engine.done
            rows = inner.reference_log_probs() if rng.random() < 0.5 else table.log_rows(index)[0]
            actions = sample_rows(rows, rng)
            result = inner.engine.step(actions, going)
            for lane in every[going].tolist():
                steps[lane].append((index[lane], actions[lane], float(result.reward[lane])))
            index = vector.observations(None)
        for episode in steps:
            table.learn_episode(*map(np.array, zip(*episode, strict=True)))
        index, _ = vector.reset()
    score = evaluate_exactly(table, env).score
    assert score is not None and score > 0.9
