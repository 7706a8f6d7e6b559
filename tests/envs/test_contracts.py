"""The Gymnasium contract, once, over every registered id."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import klrl_envs
from klrl_envs.registry import REGISTRY, find_row

IDS = [env_id for row in REGISTRY for env_id in (row.gym_id, row.gym_features_id)]
PLAIN_IDS = [row.gym_id for row in REGISTRY]
NEURAL_TOLERANCE = 1e-5


def tolerance(env_id: str) -> float:
    """Exact environments agree to the last digit."""
    return NEURAL_TOLERANCE if "neural" in find_row(env_id).tags else 0.0


def actions_for(task: Any, rng: np.random.Generator, count: int) -> np.ndarray:
    """Random tokens, with the end token among them now and then."""
    actions = rng.integers(0, task.vocab_size, count)
    if task.end_token is not None:
        actions[rng.random(count) < 0.08] = task.end_token
    return actions


@pytest.mark.parametrize("env_id", IDS)
def test_gymnasium_checker_finds_nothing(env_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env: Any = gym.make(env_id, render_mode="rgb_array", disable_env_checker=True)
        # GridNavigation's rendering as a window needs a screen; the other modes are checked below
        check_env(env.unwrapped, skip_render_check=True)


@pytest.mark.parametrize("env_id", IDS)
def test_observations_lie_in_the_space_and_episodes_terminate(env_id: str) -> None:
    env: Any = gym.make(env_id)
    task = env.unwrapped.task
    rng = np.random.default_rng(1)
    for episode in range(3):
        observation, info = env.reset(seed=episode)
        assert env.observation_space.contains(observation)
        assert ("prompt" in info) == (task.prompt_length > 0)
        total = 0.0
        for _ in range(task.horizon):
            action = actions_for(task, rng, 1)[0]
            observation, reward, terminated, truncated, info = env.step(action)
            assert env.observation_space.contains(observation)
            assert type(reward) is float
            assert truncated is False
            total += reward
            if terminated:
                break
        assert terminated
        assert isinstance(info["text"], str)
        assert "episode" not in info
        low, high = task.reward_range
        assert low <= total <= high


@pytest.mark.parametrize("env_id", PLAIN_IDS)
def test_reference_log_prob_is_that_of_the_row(env_id: str) -> None:
    env: Any = gym.make(env_id)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(5):
        row = env.unwrapped.reference_log_probs().copy()
        assert row.shape == (1, env.unwrapped.task.vocab_size)
        assert np.exp(row.astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)
        action = int(rng.integers(row.shape[1]))
        _, _, terminated, _, info = env.step(action)
        assert info["reference_log_prob"] == pytest.approx(row[0, action], abs=1e-6)
        if terminated:
            env.reset()


@pytest.mark.parametrize("env_id", PLAIN_IDS)
def test_log_probs_at_the_end_are_those_of_the_steps(env_id: str) -> None:
    stepwise: Any = gym.make(env_id)
    whole: Any = gym.make(env_id, reference_log_prob="end")
    rng = np.random.default_rng(2)
    for episode in range(2):
        stepwise.reset(seed=episode)
        whole.reset(seed=episode)
        collected: list[float] = []
        terminated = False
        while not terminated:
            action = actions_for(stepwise.unwrapped.task, rng, 1)[0]
            *_, step_info = stepwise.step(action)
            _, _, terminated, _, info = whole.step(action)
            collected.append(step_info["reference_log_prob"])
            assert ("reference_log_prob" in info) == terminated
        expected = np.zeros(stepwise.unwrapped.task.horizon)
        expected[: len(collected)] = collected
        np.testing.assert_allclose(info["reference_log_prob"], expected, atol=1e-4)


def masked(infos: dict[str, Any]) -> dict[str, list[Any]]:
    """Infos of a vector environment as lists of what each lane has (None where it has none)."""
    result: dict[str, list[Any]] = {}
    for key, value in infos.items():
        if key.startswith("_"):
            continue
        mask = infos[f"_{key}"]
        if isinstance(value, dict):
            result.update({f"{key}.{name}": entry for name, entry in masked(value).items()})
        elif mask.any():
            result[key] = [value[lane] if mask[lane] else None for lane in range(len(mask))]
    return result


def assert_same(ours: Any, theirs: Any, atol: float) -> None:
    """Equality of nested infos, floats within ``atol``."""
    assert type(ours) is type(theirs) or np.isscalar(ours) or isinstance(ours, np.ndarray)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_same(ours[key], theirs[key], atol)
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other, atol)
    elif isinstance(ours, (float, np.floating, np.ndarray)):
        np.testing.assert_allclose(ours, theirs, rtol=10 * atol, atol=10 * atol)
    else:
        assert ours == theirs


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("env_id", IDS)
def test_lanes_agree_with_gymnasium_vectorising_single_environments(env_id: str, mode: AutoresetMode) -> None:
    lanes = 3
    ours: Any = gym.make_vec(env_id, num_envs=lanes, autoreset_mode=mode.value)
    theirs: Any = gym.make_vec(
        env_id, num_envs=lanes, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}
    )
    atol = tolerance(env_id)
    assert ours.metadata["autoreset_mode"] is mode
    assert ours.autoreset_mode is mode
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.single_action_space == theirs.single_action_space
    observations, infos = ours.reset(seed=7)
    expected, expected_infos = theirs.reset(seed=7)
    np.testing.assert_allclose(observations, expected, rtol=atol, atol=atol)
    assert_same(masked(infos), masked(expected_infos), atol)
    rng = np.random.default_rng(3)
    steps = min(60, 3 * ours.unwrapped.task.horizon)
    for _ in range(steps):
        actions = actions_for(ours.unwrapped.task, rng, lanes)
        got, wanted = ours.step(actions), theirs.step(actions)
        assert got[1].dtype == np.float64
        np.testing.assert_allclose(got[0], wanted[0], rtol=atol, atol=atol)
        np.testing.assert_allclose(got[1], wanted[1], rtol=atol, atol=atol)
        np.testing.assert_array_equal(got[2], wanted[2])
        np.testing.assert_array_equal(got[3], wanted[3])
        assert_same(masked(got[4]), masked(wanted[4]), atol)
        if mode is AutoresetMode.DISABLED and got[2].any():
            options = {"reset_mask": got[2]}
            restarted, infos = ours.reset(options=options)
            assert "reset_mask" in options
            expected, expected_infos = theirs.reset(options=dict(options))
            np.testing.assert_allclose(restarted, expected, rtol=atol, atol=atol)
            assert_same(masked(infos), masked(expected_infos), atol)


@pytest.mark.parametrize("env_id", IDS)
def test_spec_survives_json_and_rebuilds_the_environment(env_id: str) -> None:
    env: Any = gym.make(env_id, kl_coef=0.5, horizon=5)
    again: Any = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.kl_coef == 0.5
    assert again.unwrapped.task.horizon == 5
    assert again.observation_space == env.observation_space
    vector: Any = gym.make_vec(env_id, num_envs=2, autoreset_mode="SameStep", horizon=5)
    rebuilt: Any = gym.make_vec(EnvSpec.from_json(vector.spec.to_json()))
    assert rebuilt.num_envs == 2
    assert rebuilt.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


@pytest.mark.parametrize("copier", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy])
@pytest.mark.parametrize("env_id", IDS)
def test_copies_in_mid_episode_go_on_alike(env_id: str, copier: Any) -> None:
    env: Any = gym.make(env_id)
    env.reset(seed=5)
    task = env.unwrapped.task
    rng = np.random.default_rng(5)
    for action in rng.integers(1, task.vocab_size, 3):
        if env.step(action)[2]:
            env.reset()
    twin = copier(env)
    for _ in range(2 * task.horizon):
        action = actions_for(task, rng, 1)[0]
        one, other = env.step(action), twin.step(action)
        np.testing.assert_allclose(one[0], other[0], rtol=NEURAL_TOLERANCE, atol=NEURAL_TOLERANCE)
        assert one[1] == pytest.approx(other[1], abs=1e-6)
        assert one[2] == other[2]
        if one[2]:
            np.testing.assert_allclose(env.reset()[0], twin.reset()[0], atol=NEURAL_TOLERANCE)
    assert len(pickle.dumps(env)) < 200_000


@pytest.mark.parametrize("env_id", PLAIN_IDS)
def test_rendering_returns_text_and_pixels(env_id: str) -> None:
    env: Any = gym.make(env_id, render_mode="ansi")
    env.reset(seed=0)
    env.step(1)
    assert isinstance(env.render(), str)
    env = gym.make(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    env.step(1)
    frame = env.render()
    assert frame.dtype == np.uint8
    assert frame.ndim == 3
    assert frame.std() > 0
    frames: Any = gym.make_vec(env_id, num_envs=2, render_mode="rgb_array")
    frames.reset(seed=0)
    assert len(frames.render()) == 2


@pytest.mark.parametrize("env_id", PLAIN_IDS)
def test_splits_of_prompts_are_disjoint_and_can_be_chosen(env_id: str) -> None:
    train = klrl_envs.make_task(env_id, prompts="train").prompts.tokens
    env: Any = gym.make(env_id, prompts="evaluation")
    evaluation = env.unwrapped.task.prompts.tokens
    if evaluation.shape[1]:
        rows = {tuple(row) for row in train.tolist()}
        assert not any(tuple(row) in rows for row in evaluation.tolist())
        observation, info = env.reset(options={"prompt": 3})
        assert info["prompt"] == 3
        np.testing.assert_array_equal(observation[: evaluation.shape[1]], evaluation[3])
    with pytest.raises(ValueError, match="prompts must be 'train' or 'evaluation'"):
        gym.make(env_id, prompts="test")
    with pytest.raises(ValueError, match=r"prompt must be in 0\.\."):
        env.reset(options={"prompt": len(evaluation)})
    with pytest.raises(ValueError, match="options may have the keys"):
        env.reset(options={"promt": 0})


@pytest.mark.parametrize("env_id", PLAIN_IDS)
def test_bad_input_is_refused_by_name(env_id: str) -> None:
    env: Any = gym.make(env_id, disable_env_checker=True).unwrapped
    with pytest.raises(RuntimeError, match="call reset before step"):
        env.step(0)
    env.reset(seed=0)
    size = env.task.vocab_size
    for wrong in (-1, size):
        with pytest.raises(ValueError, match=rf"action must be a token in 0\.\.{size - 1}, got {wrong}"):
            env.step(wrong)
    terminated = False
    while not terminated:
        _, _, terminated, _, _ = env.step(0)
    with pytest.raises(RuntimeError, match="call reset before step"):
        env.step(0)
    with pytest.raises(ValueError, match="kl_coef must be a finite number above 0"):
        gym.make(env_id, kl_coef=0)
    with pytest.raises(ValueError, match="horizon must be a whole number of at least 1"):
        gym.make(env_id, horizon=0)
    with pytest.raises(ValueError, match="reference"):
        gym.make(env_id, reference="no-such-model")
    with pytest.raises(TypeError, match="has no argument 'horizn'"):
        gym.make(env_id, horizn=3)
    with pytest.raises(ValueError, match="reference_log_prob must be"):
        gym.make(env_id, reference_log_prob="never")
    with pytest.raises(ValueError, match="autoreset_mode must be one of"):
        gym.make_vec(env_id, num_envs=2, autoreset_mode="sometimes")


def test_an_unknown_environment_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown environment 'klrl/Sentimental-v0'; known are"):
        klrl_envs.make_task("klrl/Sentimental-v0")


@pytest.mark.parametrize("env_id", PLAIN_IDS)
def test_module_prefix_registers_and_exact_tasks_import_no_torch(env_id: str) -> None:
    exact = "exact" in find_row(env_id).tags
    code = (
        "import sys, gymnasium as gym\n"
        f"env = gym.make('klrl_envs:{env_id}')\n"
        f"env.reset(seed=0)\nenv.step(1)\nassert ('torch' in sys.modules) == {not exact}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


def test_import_loads_neither_torch_nor_scipy() -> None:
    code = (
        "import sys, klrl_envs\nassert not {'torch', 'scipy', 'transformers', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


def test_a_window_shows_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env: Any = gym.make("klrl/GridNavigation-v0", render_mode="human")
    env.unwrapped.metadata["render_fps"] = 1000
    env.reset(seed=0)
    env.step(0)
    window = env.unwrapped._window
    assert window._surface.get_size() == (257, 257)
    assert tuple(window._surface.get_at((5 * 32 + 16, 5 * 32 + 16)))[:3] in ((46, 158, 91), (47, 95, 208))
    env.close()
    assert env.unwrapped._window is None
    with pytest.raises(ValueError, match="render_mode must be None or one of"):
        gym.make("klrl/GridNavigation-v0", render_mode="hologram")


@pytest.mark.parametrize("wrong", [1.9, "1", True, [1, 2]])
def test_actions_are_integers(wrong):
    env = gym.make("klrl/GridNavigation-v0", disable_env_checker=True).unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="actions must be integers of shape"):
        env.step(wrong)
    with pytest.raises(ValueError, match="prompt must be in"):
        env.reset(options={"prompt": 0.5})
