"""A deep soft Q-network: where its backups end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import klrl_envs
from agents.dqn import DQN, DQNArguments
from agents.run import Training
from tests.agents.tiny import exact_objective, solution_of, tiny_task, weighted_texts


def learner_on(task: Any, tmp_path: Path, **changes: Any) -> DQN:
    """A small network on a task that has no id."""
    torch.manual_seed(0)
    training = Training(DQNArguments(out=str(tmp_path)), "dqn", budget=0)
    training.task = task
    args = DQNArguments(hidden="32-32-32", learning_rate=1e-2, follow=0.2, threads=1, **changes)
    return DQN(args, training, torch.device("cpu"))


@pytest.mark.parametrize("cut", [0.0, 0.5])
def test_backups_over_all_texts_end_at_the_optimum(cut: float, tmp_path: Path) -> None:
    """The texts weigh alike, as no policy writes them; cut short they tell the same."""
    task = tiny_task()
    learner = learner_on(task, tmp_path, updates=600, cut=cut)
    texts = weighted_texts(learner.policy)[0]  # type: ignore[arg-type]
    learner.replay.add(texts)
    learner.hindsight.learn(texts)
    shorter = learner.hindsight.cut(texts, np.random.default_rng(0))
    assert bool((shorter.mask.sum(1) < texts.mask.sum(1)).any()) == (cut > 0)
    before = float(exact_objective(learner.policy, task).detach())
    loss = learner.update(0.02)
    best = float(solution_of(task).value) / task.kl_coef
    assert loss < 1e-4
    after = float(exact_objective(learner.policy, task).detach())
    assert best - before > 0.1 and best - after < 1e-3 * (best - before)


def test_at_first_it_is_pi0_and_its_values_are_zero(tmp_path: Path) -> None:
    learner = learner_on(tiny_task(), tmp_path, batch=16)
    texts = learner.write()
    assert texts.log_ratios.abs().max() < 1e-5
    assert learner.policy.soft_values(texts, torch.arange(16)).abs().max() < 1e-5


def test_where_luck_executes_another_token_a_value_is_the_mean(tmp_path: Path) -> None:
    """Half of all tokens slip: the exponential of what they may lead to would hope for the better half."""
    reference = klrl_envs.BigramReference(np.log([0.5, 0.5]), np.log(np.full((2, 2), 0.5)))
    automaton = klrl_envs.RewardAutomaton(
        np.array([[0, 1], [1, 1]]),
        final_reward=np.array([0.0, 1.0]),
        execution=np.array([[0.75, 0.25], [0.25, 0.75]]),
    )
    env: Any = klrl_envs.exact_task(reference, automaton, horizon=1, kl_coef=0.2)
    task = env.unwrapped.task
    learner = learner_on(task, tmp_path, batch=4096, updates=400)
    texts = learner.write()
    learner.update(0.02)
    values = learner.policy.taken(texts, torch.arange(4096)).squeeze(-1)
    for token, chance in ((0, 0.25), (1, 0.75)):
        found = values[texts.actions[:, 0] == token]
        assert float(found.mean()) == pytest.approx(chance / 0.2, abs=0.15)
        assert float(found.std()) < 1e-3


def test_where_luck_leaves_errors_replay_draws_evenly(tmp_path: Path) -> None:
    cases = (("Recall-v0", 0.6), ("DiagnosticNoise-v0", 0.0), ("GridNavigation-v0", 0.0))
    for task_id, sharpness in cases:
        learner = learner_on(klrl_envs.make_task(task_id), tmp_path)
        assert learner.replay.sharpness == sharpness
    noisy = klrl_envs.make_task("DiagnosticNoise-v0")
    assert learner_on(noisy, tmp_path, sharpness=1.0).replay.sharpness == 1.0


@pytest.mark.parametrize("cut", [0.0, 1.0])
def test_texts_of_replay_are_cut_short(cut: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = learner_on(klrl_envs.make_task("Recall-v0"), tmp_path, batch=32, updates=2, cut=cut)
    lengths: list[float] = []
    losses = learner.losses

    def watched(texts: Any) -> torch.Tensor:
        lengths.append(float(texts.mask.sum(1).float().mean()))
        return losses(texts)

    monkeypatch.setattr(learner, "losses", watched)
    learner.write()
    learner.update(0.5)
    assert len(lengths) == 2 and all((each < 16) == (cut > 0) for each in lengths)


def test_half_of_a_batch_is_begun_by_pi0(tmp_path: Path) -> None:
    """Of a policy that has left pi0: where pi0 wrote, its log-ratio is zero."""
    learner = learner_on(tiny_task(), tmp_path, batch=64)
    torch.nn.init.normal_(learner.policy.actor_weights()[-1], std=2.0)
    texts = learner.write()
    first = texts.log_ratios[:, 0].abs() < 1e-6
    assert int(first.sum()) == 32
