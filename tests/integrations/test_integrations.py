"""Stable-Baselines3 and TRL: what they are paid is what the objective says."""

from __future__ import annotations

import warnings
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
from klrl_envs.envs.engine import Engine
from klrl_envs.envs.vector_env import TokenVectorEnv
from klrl_envs.integrations.sb3 import KLCallback, SB3VecEnv
from klrl_envs.integrations.trl import as_reward_fn
from klrl_envs.reference.sampling import sample_rows
from klrl_envs.registry import make_task

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


def test_rewards_for_trl_are_those_of_the_environment() -> None:
    reward = as_reward_fn("klrl/Keywords-v0")
    task = make_task("Keywords-v0")
    rng = np.random.default_rng(0)
    vocabulary = task.vocabulary
    env = gym.make("klrl/Keywords-v0")
    texts, paid = [], []
    keywords = [vocabulary.encode(word)[0] for word in task.source[1]["keywords"]]  # type: ignore[index]
    choices = np.array([*keywords, task.end_token, vocabulary.encode("the")[0]])
    for _ in range(20):
        env.reset(seed=0)
        total = 0.0
        for _ in range(task.horizon):
            token = rng.choice(choices)
            _, step_reward, terminated, _, info = env.step(token)
            total += float(step_reward)
            if terminated:
                break
        texts.append(info["text"])
        paid.append(total)
    assert reward([""] * 20, texts) == pytest.approx(paid)
    chats = [[{"role": "assistant", "content": text}] for text in texts]
    assert reward([[{"role": "user", "content": "write"}]] * 20, chats, other=[1] * 20) == pytest.approx(paid)
    assert reward([""], ["thisisnoword"]) == [0.0]
    assert reward([], []) == []
    assert reward.kl_coef == task.kl_coef and reward.__name__ == "klrl_keywords_v0"


def test_rewards_for_trl_average_over_random_starts() -> None:
    reward = as_reward_fn("klrl/GridNavigation-v0", size=3, horizon=4)
    task = make_task("GridNavigation-v0", size=3, horizon=4)
    actions = [0, 2, 0, 1]
    env = TokenVectorEnv(task, 4000, autoreset_mode="Disabled")
    env.reset(seed=0)
    total = np.zeros(4000)
    for action in actions:
        total += env.engine.step(np.full(4000, action), ~env.engine.done).reward
    text = " ".join(task.vocabulary.token_string(action) for action in actions)
    assert reward([""], [text])[0] == pytest.approx(total.mean(), abs=4 * total.std() / 4000**0.5)
    with pytest.raises(ValueError, match="stochastic"):
        as_reward_fn("klrl/GridNavigation-v0", slip=0.1)
    with pytest.raises(ValueError, match="pair up"):
        reward(["", ""], ["forward"])


EXACT = [row.gym_id for row in klrl_envs.REGISTRY if "exact" in row.tags and "grid" not in row.tags]


@pytest.mark.parametrize("env_id", EXACT)
def test_rewards_for_trl_are_those_of_every_exact_environment(env_id: str) -> None:
    """Texts of the optimum and of the reference, from several prompts; of a noisy reward the mean is paid."""
    noiseless = {"sigma": 0.0} if "Noise" in env_id else {}
    task: Any = make_task(env_id, prompts="evaluation", **noiseless)
    policy = klrl_envs.optimum(env_id, **noiseless).policy
    assert policy is not None
    lanes = 16
    engine = Engine(task, lanes)
    rng = np.random.default_rng(3)
    for lane in range(lanes):
        engine.seed(lane, np.random.default_rng(lane))
    engine.reset(np.arange(lanes), np.arange(lanes) % len(task.prompts.tokens))
    paid = np.zeros(lanes)
    while not engine.done.all():
        active = ~engine.done
        best = policy.log_probs(engine.context[active], engine.state[active], engine.time[active])
        rows = np.where(np.arange(active.sum())[:, None] % 2, best, engine.reference_log_probs()[active])
        tokens = np.zeros(lanes, dtype=np.int64)
        tokens[active] = sample_rows(rows, rng)
        paid += engine.step(tokens, active).reward
    prompts = [task.text(row) for row in engine.tokens[:, : task.prompt_length]]
    texts = [task.text(row) for row in engine.written()]
    reward = as_reward_fn(env_id, prompts="evaluation")
    assert reward(prompts, texts) == pytest.approx(paid.tolist(), abs=1e-12)
    assert np.isfinite(reward.reward_range).all()
    if task.prompt_length:
        with pytest.raises(ValueError, match="is none of the"):
            reward(["no such prompt"], texts[:1])


def test_the_public_name() -> None:
    assert klrl_envs.as_reward_fn is as_reward_fn
