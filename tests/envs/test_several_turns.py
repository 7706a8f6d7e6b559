"""A task that writes tokens itself: the contract of several turns, on a game of guessing."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from klrl_envs import ledger
from klrl_envs.envs.engine import Engine
from klrl_envs.envs.vector_env import TokenVectorEnv
from klrl_envs.optima.optimum import optimum_of, problem_of
from klrl_envs.tasks.base import Prompts
from tests.envs.test_vector_env import assert_same, masked
from tests.playing import play
from tests.talk import ASK, HELLO, LEFT, NO, RIGHT, WORDS, YES, guessing_game


def test_what_the_environment_writes_stands_in_text_observation_and_info() -> None:
    env = guessing_game()
    observation, info = env.reset(seed=0)
    pad = env.task.pad
    assert pad == 6 and env.task.max_length == 4 + 1 + 1 + 2, "a greeting, one answer, a verdict"
    assert env.observation_space.shape == (8,)
    assert info["environment_tokens"].tolist() == [HELLO, pad]
    assert observation.tolist() == [HELLO] + [pad] * 7
    observation, reward, terminated, _, info = env.step(YES)
    assert "environment_tokens" not in info and reward == 0.0 and not terminated
    observation, reward, terminated, _, info = env.step(ASK)
    (answer,) = [token for token in info["environment_tokens"].tolist() if token != pad]
    assert answer in (YES, NO) and reward == -0.05 and not terminated
    assert observation[:4].tolist() == [HELLO, YES, ASK, answer]
    assert env.agent_mask()[0].tolist() == [False, True, True, False] + [False] * 4
    observation, reward, terminated, _, info = env.step(RIGHT if answer == YES else LEFT)
    assert terminated and reward in (0.0, 1.0)
    verdict = [token for token in info["environment_tokens"].tolist() if token != pad]
    assert verdict == ([YES] if reward else [NO, NO])
    assert info["text"] == " ".join(WORDS[token] for token in observation.tolist() if token != pad)
    assert env.engine.time[0] == 3 and env.engine.length[0] == 5 + len(verdict)
    with pytest.raises(RuntimeError, match="call reset before step"):
        env.step(ASK)


def test_the_horizon_counts_the_agents_tokens_and_the_last_word_is_answered() -> None:
    env = guessing_game()
    for seed in range(5):
        env.reset(seed=seed)
        steps = [env.step(action) for action in (NO, NO, NO, ASK)]
        assert [step[2] for step in steps] == [False, False, False, True]
        assert ["environment_tokens" in step[4] for step in steps] == [False, False, False, True]
        assert env.engine.length[0] == 6 and env.engine.taken == 4 * (seed + 1)


def test_gymnasium_finds_nothing() -> None:
    for features in (False, True):
        check_env(guessing_game(features=features), skip_render_check=True)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("features", [False, True])
def test_lanes_agree_with_single_environments(mode: AutoresetMode, features: bool) -> None:
    lanes = 5
    ours = TokenVectorEnv(guessing_game().task, lanes, autoreset_mode=mode, features=features)
    makers = [lambda: guessing_game(features=features)] * lanes
    theirs: Any = SyncVectorEnv(makers, autoreset_mode=mode)
    observations, infos = ours.reset(seed=3)
    expected, expected_infos = theirs.reset(seed=3)
    np.testing.assert_array_equal(observations, expected)
    assert_same(masked(infos), masked(expected_infos), 0.0)
    rng, spoken = np.random.default_rng(0), 0
    for _ in range(80):
        actions = rng.choice(6, size=lanes, p=[0.1, 0.5, 0.1, 0.1, 0.1, 0.1])
        got, wanted = ours.step(actions), theirs.step(actions)
        for one, other in zip(got[:4], wanted[:4]):
            np.testing.assert_array_equal(one, other)
        assert_same(masked(got[4]), masked(wanted[4]), 0.0)
        spoken += int(got[4].get("_environment_tokens", np.zeros(1)).sum())
        if mode is AutoresetMode.DISABLED and got[2].any():
            again, infos = ours.reset(options={"reset_mask": got[2]})
            expected, expected_infos = theirs.reset(options={"reset_mask": got[2].copy()})
            np.testing.assert_array_equal(again, expected)
            assert_same(masked(infos), masked(expected_infos), 0.0)
    assert spoken > 50


@pytest.mark.parametrize("copier", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy])
def test_copies_in_mid_conversation_go_on_alike(copier: Any) -> None:
    env = guessing_game()
    env.reset(seed=5)
    env.step(ASK)
    twin = copier(env)
    rng = np.random.default_rng(5)
    for _ in range(30):
        action = rng.integers(6)
        one, other = env.step(action), twin.step(action)
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:4] == other[1:4] and one[4].keys() == other[4].keys()
        np.testing.assert_array_equal(env.agent_mask(), twin.agent_mask())
        if one[2]:
            np.testing.assert_array_equal(env.reset()[0], twin.reset()[0])


def test_masks_tell_whose_token_is_whose() -> None:
    engine, _ = play(guessing_game(horizon=5).task, 64, seed=1, reference_in_between=True)
    mask = engine.agent_mask()
    np.testing.assert_array_equal(mask.sum(axis=1), engine.time)
    inside = np.arange(engine.task.max_length) < engine.length[:, None]
    assert not mask[~inside].any() and not mask[:, 0].any(), "the greeting is the environment's"
    for row, own, length in zip(engine.tokens.tolist(), mask.tolist(), engine.length.tolist(), strict=True):
        asked = False
        for place in range(1, length):
            if row[place - 1] in (LEFT, RIGHT) and own[place - 1]:
                assert not any(own[place:length]), "the verdict ends the game"
                break
            assert own[place] == (row[place - 1] != ASK or asked), "the first question is answered"
            asked |= row[place - 1] == ASK


def test_the_reference_reads_replies_and_is_charged_for_none() -> None:
    """log pi0 of the agent's tokens in their whole context, step by step and at the end alike."""
    task = guessing_game(horizon=5).task
    step, end = Engine(task, 32), Engine(task, 32, reference_log_prob="end")
    for engine in (step, end):
        engine.seed_lanes(np.random.default_rng(2))
        engine.reset(np.arange(32))
    rng = np.random.default_rng(0)
    told = np.zeros((32, 5))
    final = np.zeros((32, 5))
    for time in range(5):
        active = ~step.done
        tokens = rng.integers(0, 6, 32)
        result, other = step.step(tokens, active), end.step(tokens, active)
        told[:, time] = result.reference_log_prob
        if len(other.finished):
            final[other.finished] = other.metrics["reference_log_prob"]
    np.testing.assert_array_equal(step.tokens, end.tokens)
    np.testing.assert_allclose(told, final, atol=1e-12)
    np.testing.assert_allclose(step.reference_nats, end.reference_nats, atol=1e-12)
    for lane in range(32):
        row, own = step.tokens[lane].tolist(), step.agent_mask()[lane]
        known = [task.reference.table[row[place - 1], row[place]] for place in np.flatnonzero(own)]
        np.testing.assert_allclose(told[lane, : len(known)], known, atol=1e-12)


def test_only_the_agents_tokens_are_counted() -> None:
    before = ledger.counts()
    engine, _ = play(guessing_game().task, 16, seed=0)
    counted = ledger.counts() - before
    assert counted.tokens == engine.taken == engine.time.sum() < engine.length.sum()


def test_rewards_are_those_of_the_solver() -> None:
    task = guessing_game().task
    best = optimum_of(task)
    _, paid = play(task, 20_000, seed=3)
    assert paid.mean() == pytest.approx(best.expected_reward, abs=5 * paid.std() / 20_000**0.5)
    assert best.kl > 0.2 and best.value > best.reference_value + 0.1


def test_prompts_and_replies_go_together() -> None:
    """The prompts are neither's: written() and the mask begin after them, whatever their lengths."""
    plain = guessing_game(horizon=3).task
    prompts = Prompts.padded([[NO], [YES, NO, YES]], plain.pad)
    task = replace(plain, prompts=prompts, prompt_states=np.array([0, 2]))
    engine, paid = play(task, 4000, seed=0)
    first = engine.prompt_lengths()
    assert first.tolist() == [1, 3] * 2000
    mask, written = engine.agent_mask(), engine.written()
    np.testing.assert_array_equal(mask.sum(axis=1), engine.time)
    assert not mask[:, 0].any() and mask[1::2, 3].all() and mask[0::2, 1].all()
    for lane in range(20):
        text = engine.tokens[lane, first[lane] : engine.length[lane]]
        np.testing.assert_array_equal(written[lane, : len(text)], text)
        assert (written[lane, len(text) :] == task.pad).all()
    best = optimum_of(task)
    assert paid.mean() == pytest.approx(best.expected_reward, abs=5 * paid.std() / 4000**0.5)
    with pytest.raises(ValueError, match="a prompt must not lead to a speaking state"):
        problem_of(replace(task, prompt_states=np.array([0, 4])))
    with pytest.raises(ValueError, match="has prompts: a conversation's text does not tell its prompt"):
        task.text_rewards(["no"], ["ask yes right yes"])
