"""What each wrapper means."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

import itertools
import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import klrl_envs  # noqa: F401
from klrl_envs import BigramReference, RewardAutomaton, exact_task
from klrl_envs.envs.vector_env import TokenVectorEnv
from klrl_envs.kl import kl_divergence
from klrl_envs.wrappers import (
    DelayedReward,
    KLReward,
    NoisyReward,
    RandomStart,
    Recorder,
    ReferenceFeatures,
    StateIndex,
    VectorKLReward,
    VectorRecorder,
    VectorReferenceFeatures,
    VectorStateIndex,
)

GRID = "klrl/GridNavigation-v0"
TILTED = np.log(np.array([0.55, 0.2, 0.15, 0.1]))
SIZE, END = 5, 0


def tilted(observations):
    """A policy of the grid that depends on the heading that it sees."""
    return TILTED[(np.arange(4) + np.asarray(observations)[:, 2:3]) % 4]


def random_rows(rng, *shape):
    rows = rng.normal(size=shape)
    return rows - np.log(np.exp(rows).sum(axis=-1, keepdims=True))


def text_env(kl_coef=0.5, horizon=4):
    """Five tokens, of which 0 ends; the reward of a step is the token / 10."""
    rng = np.random.default_rng(7)
    reference = BigramReference(random_rows(rng, SIZE), random_rows(rng, SIZE, SIZE))
    transition = np.tile(np.arange(SIZE), (SIZE, 1))
    reward = np.tile(np.arange(SIZE) / 10, (SIZE, 1))
    automaton = RewardAutomaton(transition, reward, np.full(SIZE, 1.0))
    return exact_task(reference, automaton, horizon=horizon, kl_coef=kl_coef, end_token=END)


def test_kl_reward_pays_k1_and_reports_exact_kl():
    env, plain = (gym.make(GRID) for _ in range(2))
    env = KLReward(env, 8.0, tilted)
    observation, _ = env.reset(seed=3)
    plain.reset(seed=3)
    uniform = np.full((1, 4), -np.log(4))
    for action in (0, 1, 2, 3, 0, 0):
        rows = tilted(observation[None])
        observation, reward, *_, info = env.step(action)
        _, task_reward, *_ = plain.step(action)
        ratio = rows[0, action] + np.log(4)
        assert reward == pytest.approx(task_reward - 8.0 * ratio)
        assert info["kl"] == pytest.approx(kl_divergence(rows, uniform)[0])
        assert info["k1"] == pytest.approx(ratio)
        assert info["k2"] == pytest.approx(ratio**2 / 2)
        assert info["k3"] == pytest.approx(np.exp(-ratio) - 1 + ratio)
        assert info["task_reward"] == task_reward


def test_kl_reward_of_the_reference_is_the_task_reward():
    env = KLReward(gym.make(GRID), 8.0, lambda observations: np.full((len(observations), 4), -np.log(4)))
    env.reset(seed=0)
    for _ in range(10):
        _, reward, *_, info = env.step(0)
        assert reward == info["task_reward"]
        assert abs(info["kl"]) < 1e-15


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_kl_reward_agrees_with_single(mode):
    lanes, steps = 3, 40
    task = text_env().unwrapped.task
    policy = np.concatenate([random_rows(np.random.default_rng(1), SIZE + 1, SIZE)])

    def log_prob(observations):
        seen = np.asarray(observations)
        length = np.where((seen == END).any(axis=1), (seen == END).argmax(axis=1), seen.shape[1])
        last = np.where(length > 0, seen[np.arange(len(seen)), np.maximum(length - 1, 0)], SIZE)
        return policy[last]

    vector = VectorKLReward(TokenVectorEnv(task, lanes, autoreset_mode=mode), 0.5, log_prob)
    singles = [KLReward(text_env(), 0.5, log_prob) for _ in range(lanes)]
    vector.reset(seed=5)
    for lane, env in enumerate(singles):
        env.reset(seed=5 + lane)
    rng = np.random.default_rng(2)
    waiting = np.zeros(lanes, dtype=bool)
    ends = 0
    for _ in range(steps):
        actions = rng.integers(0, SIZE, lanes)
        _, rewards, terminated, _, infos = vector.step(actions)
        for lane, env in enumerate(singles):
            if waiting[lane]:  # the reset step of NEXT_STEP
                assert mode is AutoresetMode.NEXT_STEP
                assert rewards[lane] == 0 and not infos["_k1"][lane] and infos["k1"][lane] == 0
                env.reset()
                continue
            _, reward, done, _, info = env.step(actions[lane])
            where = infos["final_info"] if done and mode is AutoresetMode.SAME_STEP else infos
            assert rewards[lane] == pytest.approx(reward)
            for name in ("kl", "k1", "k2", "k3", "task_reward", "log_prob"):
                assert where[f"_{name}"][lane] and where[name][lane] == pytest.approx(info[name])
            if done:
                ends += 1
                if mode is AutoresetMode.SAME_STEP:
                    env.reset()
        if mode is AutoresetMode.NEXT_STEP:
            waiting = terminated.copy()
        if mode is AutoresetMode.DISABLED and terminated.any():
            vector.reset(options={"reset_mask": terminated})
            for lane in np.flatnonzero(terminated):
                singles[lane].reset()
    assert ends > 5


def test_kl_reward_refuses_bad_input():
    env = gym.make(GRID)
    with pytest.raises(ValueError, match="kl_coef must be a finite number of at least 0, got -1"):
        KLReward(env, -1, tilted)
    with pytest.raises(TypeError, match="VectorKLReward"):
        KLReward(gym.make_vec(GRID, 2), 1.0, tilted)
    with pytest.raises(TypeError, match="KLReward wraps it"):
        VectorKLReward(env.unwrapped, 1.0, tilted)
    wrapped = KLReward(env, 1.0, lambda observations: np.zeros((1, 4)))
    wrapped.reset(seed=0)
    with pytest.raises(ValueError, match="log_prob must return normalised"):
        wrapped.step(0)
    wrapped = KLReward(env, 1.0, lambda observations: np.zeros((1, 3)))
    wrapped.reset(seed=0)
    with pytest.raises(ValueError, match=r"shape \(1, 4\), returned \(1, 3\)"):
        wrapped.step(0)
    with pytest.raises(TypeError, match="an environment of klrl_envs"):
        KLReward(gym.make("CartPole-v1"), 1.0, tilted)


def test_noise_has_the_mean_reward_and_leaves_the_episode_alone():
    def play(env, seed):
        env.reset(seed=seed)
        return [env.step(action)[:2] for action in (0, 2, 0, 3, 0) * 8]

    bare, noisy = play(gym.make(GRID), 4), play(NoisyReward(gym.make(GRID), 2.0), 4)
    again = play(NoisyReward(gym.make(GRID), 2.0), 4)
    assert all((a[0] == b[0]).all() for a, b in zip(bare, noisy))
    noise = np.array([b[1] - a[1] for a, b in zip(bare, noisy)])
    assert 1.2 < noise.std() < 2.8 and len(set(noise)) == len(noise)
    assert [b[1] for b in noisy] == [b[1] for b in again]
    twice = play(NoisyReward(NoisyReward(gym.make(GRID), 2.0), 2.0), 4)
    first, second = noise, np.array([c[1] - b[1] for b, c in zip(noisy, twice)])
    assert not np.allclose(first, second), "stacked wrappers must not share their noise"
    at_end = play(NoisyReward(gym.make(GRID), 2.0, at_end=True), 4)
    assert [a[1] for a in at_end[:-1]] == [a[1] for a in bare[:-1]] and at_end[-1][1] != bare[-1][1]


@pytest.mark.parametrize("delay", [0, 1, 3, 100])
def test_delayed_rewards_keep_their_sum(delay):
    actions = (3, 1, 4, 2)
    plain = text_env()
    plain.reset(seed=0)
    rewards = [plain.step(action)[1] for action in actions]
    env = DelayedReward(text_env(), delay)
    env.reset(seed=0)
    paid = [env.step(action)[1] for action in actions]
    assert sum(paid) == pytest.approx(sum(rewards))
    assert paid[:-1] == ([0.0] * delay + rewards)[:3]


def test_delayed_reward_is_paid_at_an_early_end_and_not_carried_over():
    env = DelayedReward(text_env(), 3)
    for _ in range(2):
        env.reset()
        assert env.step(4)[1] == 0
        assert env.step(END)[1] == pytest.approx(0.4 + 1.0)


def test_random_start_tokens_follow_the_reference_and_pay_no_kl():
    env = RandomStart(text_env(), 1)
    draws = []
    env.reset(seed=0)
    for _ in range(2000):
        observation, info = env.reset()
        draws.append(info["random_start"][0])
        assert observation[0] == draws[-1]
    expected = np.exp(env.unwrapped.reference_log_probs())  # any state has full support
    start = np.exp(env.unwrapped.task.reference.table[-1])
    start[END] = 0
    counts = np.bincount(draws, minlength=SIZE) / len(draws)
    assert expected.shape == (1, SIZE)
    assert np.abs(counts - start / start.sum()).max() < 0.04 and counts[END] == 0

    policy = random_rows(np.random.default_rng(0), SIZE)
    outer = KLReward(env, 0.5, lambda observations: np.tile(policy, (len(observations), 1)))
    outer.reset(seed=1)
    _, reward, *_, info = outer.step(2)
    assert reward == pytest.approx(0.2 - 0.5 * info["k1"])


def test_random_start_leaves_the_horizon_and_redraws_ends():
    env = RandomStart(gym.make(GRID, horizon=6), 3, "uniform")
    for seed in range(20):
        env.reset(seed=seed)
        assert env.unwrapped.engine.time[0] == 3 and not env.unwrapped.engine.done[0]
    first = RandomStart(gym.make(GRID), 5)
    assert first.reset(seed=9)[1] == RandomStart(gym.make(GRID), 5).reset(seed=9)[1]
    with pytest.raises(ValueError, match=r"0\.\.39, got 40"):
        RandomStart(gym.make(GRID), 40)
    with pytest.raises(ValueError, match="source must be"):
        RandomStart(gym.make(GRID), 1, "prior")


def test_state_index_is_a_bijection_of_time_state_and_context():
    env = StateIndex(text_env())
    seen = {}
    for actions in itertools.product(range(SIZE), repeat=3):
        observation, _ = env.reset()
        for action in (None, *actions):
            if action is not None:
                observation, *_ = env.step(action)
            engine = env.unwrapped.engine
            state = (int(engine.time[0]), int(engine.state[0]), int(engine.context[0]))
            assert env.observation_space.contains(observation)
            assert seen.setdefault(int(observation), state) == state
            if action == END:
                break
    assert len(set(seen.values())) == len(seen)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_vector_state_index_agrees_with_single(mode):
    vector = VectorStateIndex(gym.make_vec(GRID, 3, autoreset_mode=mode))
    singles = [StateIndex(gym.make(GRID)) for _ in range(3)]
    observations, _ = vector.reset(seed=1)
    rng = np.random.default_rng(0)
    shown = [env.reset(seed=1 + lane)[0] for lane, env in enumerate(singles)]
    for _ in range(6):
        assert vector.observation_space.contains(observations)
        assert observations.tolist() == shown
        actions = rng.integers(0, 4, 3)
        observations, _, terminated, *_ = vector.step(actions)
        shown = [env.step(action)[0] for env, action in zip(singles, actions)]
        assert not terminated.any()


def test_observation_wrappers_refuse_what_they_cannot_do():
    same = gym.make_vec(GRID, 2, autoreset_mode="SameStep")
    with pytest.raises(ValueError, match="SameStep"):
        VectorStateIndex(same)
    with pytest.raises(ValueError, match="features id"):
        VectorReferenceFeatures(same)
    with pytest.raises(TypeError, match="VectorStateIndex wraps it"):
        StateIndex(same)
    with pytest.raises(TypeError, match="vectorization_mode='sync'"):
        NoisyReward(same, 1.0)


def test_reference_features_are_those_of_the_features_id():
    plain, features = ReferenceFeatures(gym.make(GRID)), gym.make("klrl/GridNavigationFeatures-v0")
    both = ReferenceFeatures(gym.make(GRID), augment=True)
    vector = VectorReferenceFeatures(gym.make_vec(GRID, 2))
    assert plain.observation_space == features.observation_space
    shown = [env.reset(seed=2)[0] for env in (plain, features, both, vector)]
    for action in (0, 1, 2, 0):
        assert (shown[0] == shown[1]).all() and (shown[2]["features"] == shown[1]).all()
        assert (shown[3][0] == shown[1]).all()
        assert both.observation_space.contains(shown[2]) and plain.observation_space.contains(shown[0])
        assert vector.observation_space.contains(shown[3])
        shown = [env.step(action)[0] for env in (plain, features, both)]
        shown.append(vector.step(np.array([action, action]))[0])


def test_recorder_writes_a_line_an_episode(tmp_path):
    path = tmp_path / "episodes.jsonl"
    policy = random_rows(np.random.default_rng(0), SIZE)
    env = KLReward(text_env(), 0.5, lambda observations: np.tile(policy, (len(observations), 1)))
    env = Recorder(env, str(path))
    env.reset(seed=11)
    paid = sum(env.step(action)[1] for action in (3, END))
    env.reset()
    env.step(1)
    env.reset()  # the unfinished episode leaves no line
    for action in (1, 2, 3, 4):
        env.step(action)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["episode"] for line in lines] == [0, 1]
    first, second = lines
    assert first["seed"] == 11 and second["seed"] is None and first["prompt"] is None
    assert first["text"] == "t3" and second["text"] == "t1 t2 t3 t4"
    assert first["return"] == pytest.approx(paid) and first["length"] == 2
    assert first["task_reward"] == pytest.approx(1.3)
    assert first["return"] == pytest.approx(first["task_reward"] - 0.5 * first["k1"])
    assert first["seconds"] >= 0 and "log_prob" not in first
    with pytest.raises(FileNotFoundError, match="is not there"):
        Recorder(text_env(), str(tmp_path / "none" / "x.jsonl"))


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_recorder_counts_each_episode_once(tmp_path, mode):
    path = tmp_path / "episodes.jsonl"
    policy = random_rows(np.random.default_rng(0), SIZE)
    inner = TokenVectorEnv(text_env().unwrapped.task, 3, autoreset_mode=mode)
    inner = VectorKLReward(inner, 0.5, lambda observations: np.tile(policy, (len(observations), 1)))
    env = VectorRecorder(inner, str(path))
    env.reset(seed=20)
    rng = np.random.default_rng(1)
    total, ends = 0.0, 0
    for _ in range(41):
        _, rewards, terminated, *_ = env.step(rng.integers(0, SIZE, 3))
        total += rewards.sum()
        ends += int(terminated.sum())
        if mode is AutoresetMode.DISABLED and terminated.any():
            env.reset(options={"reset_mask": terminated})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == ends > 10
    assert [line["episode"] for line in lines] == list(range(ends))
    for line in lines:
        assert line["return"] == pytest.approx(line["task_reward"] - 0.5 * line["k1"])
        written = [int(word[1:]) for word in line["text"].split()]
        assert len(written) == line["length"] - (
            line["task_reward"] != pytest.approx(sum(written) / 10 + 1) or (len(written) < 4)
        )
        assert line["task_reward"] == pytest.approx(sum(written) / 10 + 1)
    first_of_lane = {lane: next(line for line in lines if line["lane"] == lane) for lane in range(3)}
    assert [line["seed"] for line in first_of_lane.values()] == [20, 21, 22]
    assert sum(line["seed"] is not None for line in lines) == 3


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: NoisyReward(env, sigma=0.5),
        lambda env: DelayedReward(env, delay=2),
        lambda env: RandomStart(env, tokens=2),
        StateIndex,
        ReferenceFeatures,
    ],
)
def test_specs_survive_json(wrap):
    env = wrap(gym.make(GRID, horizon=12))
    spec = gym.envs.registration.EnvSpec.from_json(env.spec.to_json())
    again = gym.make(spec)
    assert again.observation_space == env.observation_space
    first, second = env.reset(seed=3), again.reset(seed=3)
    assert np.array_equal(first[0], second[0])
    for action in (0, 2, 0, 1):
        a, b = env.step(action), again.step(action)
        assert np.array_equal(a[0], b[0]) and a[1] == b[1]


def test_an_inner_wrapper_says_what_the_task_paid():
    env = KLReward(NoisyReward(gym.make(GRID), 3.0), 1.0, lambda rows: np.full((1, 4), -np.log(4)))
    env.reset(seed=0)
    _, reward, _, _, info = env.step(0)
    assert info["task_reward"] in (0.0, -1.0, -10.0, 100.0) and reward != info["task_reward"]


def test_kl_reward_needs_observations_that_are_arrays():
    env = ReferenceFeatures(gym.make("klrl/Keywords-v0", horizon=3), augment=True)
    with pytest.raises(TypeError, match="observations must be arrays, got Dict"):
        KLReward(env, 1.0, lambda rows: rows)
