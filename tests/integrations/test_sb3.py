"""Stable-Baselines3: what it is paid is what the objective says."""

from __future__ import annotations

import json
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("stable_baselines3")
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import klrl_envs
from klrl_envs.envs.vector_env import TokenVectorEnv
from klrl_envs.integrations.sb3 import KLCallback, SB3VecEnv
from klrl_envs.ledger import counts

GRID = "klrl/GridNavigationFeatures-v0"
RIGHT = {"gamma": 1.0, "ent_coef": 0.0, "normalize_advantage": False}


class Watch(BaseCallback):
    """Keeps what each step was paid before and after the callback beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Any] = []
        self.references: list[Any] = []

    def _on_step(self) -> bool:
        self.before.append(self.locals["rewards"].copy())
        self.references.append([info["reference_log_prob"] for info in self.locals["infos"]])
        return True


@pytest.mark.parametrize("native", [True, False])
def test_the_buffer_holds_the_penalised_rewards(native: bool) -> None:
    """r - kl_coef (log pi - log pi0), recomputed from the policy by hand, before returns are computed."""
    if native:
        env: Any = SB3VecEnv(GRID, num_envs=4, kl_coef=2.0)
    else:
        env = DummyVecEnv([lambda: Monitor(gym.make(GRID, kl_coef=2.0))] * 4)
    model = PPO("MlpPolicy", env, n_steps=96, batch_size=96, n_epochs=1, seed=0, learning_rate=0.0, **RIGHT)
    watch = Watch()
    model.learn(96 * 4, callback=CallbackList([watch, KLCallback()]))
    buffer = model.rollout_buffer
    # after training the buffer is stored lane by lane; observations and actions in the same order
    observations = torch.as_tensor(buffer.observations.reshape(-1, *env.observation_space.shape))
    with torch.no_grad():
        actions = torch.as_tensor(buffer.actions).flatten()
        _, log_prob, _ = model.policy.evaluate_actions(observations, actions)
    log_prob = log_prob.numpy().reshape(4, 96).T
    expected = np.array(watch.before) - 2.0 * (log_prob - np.array(watch.references))
    np.testing.assert_allclose(buffer.rewards, expected, rtol=1e-4, atol=1e-4)
    assert np.abs(buffer.rewards - np.array(watch.before)).max() > 1e-3
    assert any(info["r"] != 0 for info in model.ep_info_buffer)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"gamma": 0.99}, "gamma must be 1"),
        ({"ent_coef": 0.1}, "ent_coef must be 0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    model = PPO("MlpPolicy", SB3VecEnv(GRID, num_envs=2), n_steps=8, batch_size=16, **{**RIGHT, **settings})
    with pytest.raises(ValueError, match=message):
        model.learn(16, callback=KLCallback())


def test_what_changes_the_objective_is_refused_or_said() -> None:
    env = SB3VecEnv(GRID, num_envs=2)
    with pytest.raises(TypeError, match="on-policy"):
        DQN("MlpPolicy", env, gamma=1.0, learning_starts=1).learn(4, callback=KLCallback())
    normalised = VecNormalize(SB3VecEnv(GRID, num_envs=2), norm_obs=False, norm_reward=True, gamma=1.0)
    with pytest.raises(ValueError, match="norm_reward=False"):
        PPO("MlpPolicy", normalised, n_steps=8, batch_size=16, **RIGHT).learn(16, callback=KLCallback())
    with pytest.warns(UserWarning, match="normalize_advantage=False"):
        PPO("MlpPolicy", env, n_steps=8, batch_size=16, **{**RIGHT, "normalize_advantage": True}).learn(
            16, callback=KLCallback()
        )
    with pytest.raises(KeyError, match="reference_log_prob='step'"):
        late = SB3VecEnv(GRID, num_envs=2, reference_log_prob="end")
        PPO("MlpPolicy", late, n_steps=8, batch_size=16, **RIGHT).learn(16, callback=KLCallback())
    with pytest.raises(ValueError, match="kl_coef must be"):
        KLCallback(kl_coef=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        A2C("MlpPolicy", env, gamma=1.0, ent_coef=0.0, n_steps=4).learn(16, callback=KLCallback())


def test_the_adapter_is_the_environment_lane_by_lane() -> None:
    """The same as SB3's own vectorisation of single environments, but for the seeds of later episodes."""
    adapter = SB3VecEnv(GRID, num_envs=3)
    adapter.seed(7)
    plain = DummyVecEnv([lambda: gym.make(GRID)] * 3)
    plain.seed(7)
    np.testing.assert_array_equal(adapter.reset(), plain.reset())
    rng = np.random.default_rng(0)
    ended = 0
    for _ in range(100):
        actions = rng.integers(0, 4, 3)
        one, other = adapter.step(actions), plain.step(actions)
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_allclose(one[1], other[1])
        np.testing.assert_array_equal(one[2], other[2])
        for ours, theirs, done in zip(one[3], other[3], one[2]):
            assert ours["reference_log_prob"] == pytest.approx(theirs["reference_log_prob"])
            assert ("terminal_observation" in ours) == done == ("terminal_observation" in theirs)
            assert not ours.get("TimeLimit.truncated", False)
            if done:
                ended += 1
                np.testing.assert_array_equal(ours["terminal_observation"], theirs["terminal_observation"])
                assert ours["text"] == theirs["text"]
                assert set(ours["episode"]) == {"r", "l", "t"}
    assert ended > 3


def test_the_adapter_answers_for_its_lanes() -> None:
    adapter = SB3VecEnv(GRID, num_envs=3, kl_coef=2.0)
    adapter.reset()
    assert adapter.get_attr("kl_coef") == [2.0] * 3
    assert adapter.get_attr("kl_coef", indices=[1]) == [2.0]
    rows = adapter.env_method("reference_log_probs", indices=[0, 2])
    assert len(rows) == 2 and rows[0].shape == (4,)
    adapter.set_attr("mark", 5)
    assert adapter.get_attr("mark") == [5] * 3
    with pytest.raises(ValueError, match="indices must be None"):
        adapter.set_attr("mark", 6, indices=[0])
    assert adapter.env_is_wrapped(Monitor) == [True] * 3
    adapter.set_options({"prompt": 0})
    adapter.reset()
    assert all("terminal_observation" not in info for info in adapter.reset_infos)
    adapter.close()


def test_the_adapter_refuses_what_it_cannot_feed() -> None:
    with pytest.raises(ValueError, match="autoreset_mode must be 'SameStep'"):
        SB3VecEnv(TokenVectorEnv("GridNavigation-v0", 2))
    with pytest.raises(TypeError, match="TokenVectorEnv"):
        SB3VecEnv(gym.make("CartPole-v1"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown environment"):
        SB3VecEnv("klrl/Nothing-v0", num_envs=2)
    same_step = TokenVectorEnv("GridNavigation-v0", 2, autoreset_mode="SameStep")
    with pytest.raises(TypeError, match="go with an id"):
        SB3VecEnv(same_step, num_envs=2)
    assert SB3VecEnv(same_step).num_envs == 2


@pytest.mark.parametrize("native", [True, False])
def test_the_callback_records_episodes_as_the_recorder_does(native: bool, tmp_path: Path) -> None:
    """Reward, KL and length of each line, recomputed from its text, and the prompt that it began with."""
    task = klrl_envs.make_task("Arithmetic-v0")
    assert task.exact is not None
    features = "klrl/ArithmeticFeatures-v0"
    env: Any = SB3VecEnv(features, num_envs=3) if native else DummyVecEnv([lambda: gym.make(features)] * 3)
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=96, seed=0, **RIGHT)
    path = tmp_path / "episodes.jsonl"
    before = counts()
    model.learn(96 * 2, callback=KLCallback(record=path))
    assert (counts() - before).tokens == 192
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["episode"] for line in lines] == list(range(len(lines))) and len(lines) > 5
    assert all(before["tokens"] <= after["tokens"] <= 192 for before, after in pairwise(lines))
    assert any(abs(line["k1"]) > 1e-3 for line in lines)
    for line in lines:
        prompt = task.text(task.padded_prompts[line["prompt"]])
        written = line["text"].removeprefix(prompt).strip()
        assert line["text"].startswith(prompt)
        assert line["task_reward"] == pytest.approx(task.text_rewards([prompt], [written])[0], abs=1e-6)
        assert line["return"] == pytest.approx(line["task_reward"] - task.kl_coef * line["k1"], abs=1e-6)
        assert 1 <= line["length"] <= task.horizon and line["kl"] is None
        assert line["log_prob"] < 0 and line["log_prob"] - line["k1"] < 1e-6, "log pi, and log pi0"
    with pytest.raises(FileNotFoundError, match="is not there"):
        KLCallback(record=tmp_path / "none" / "episodes.jsonl")
