"""From a task to its certificate, and from there to its optimum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klrl_envs
from klrl_envs.envs.token_env import TokenEnv
from klrl_envs.envs.vector_env import TokenVectorEnv
from klrl_envs.optima.certify import LANES, certify, sample_rewards
from klrl_envs.optima.optimum import NotCertified, certificate_name, optimum
from klrl_envs.reference.markov import MarkovReference
from klrl_envs.reference.vocabulary import WordVocabulary
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.base import Prompts
from klrl_envs.tasks.text_task import TextTask
from tests.optima.laws import certificate

NORMAL = 1.959963984540054


def tiny_reference() -> Any:
    rows = np.log(np.random.default_rng(2).dirichlet(np.ones(4), size=5))
    return MarkovReference(rows[-1], rows[:-1])


SHARE = RewardAutomaton(
    np.minimum(np.arange(6)[:, None] + (np.arange(4) == 2), 5), final_reward=np.arange(6) / 5
)
"""Counts token 2, up to five; token 3 ends."""


def score_tiny(tokens, lengths, texts):
    written = np.arange(tokens.shape[1]) < lengths[:, None]
    return np.minimum(((tokens == 2) & written).sum(axis=1), 5) / 5, {}


def tiny_text_task(kl_coef: float = 0.2, horizon: int = 5) -> TextTask:
    """The task of SHARE, told as a text task whose prompts are single tokens."""
    return TextTask(
        id="Tiny-v0",
        reference=tiny_reference(),
        vocabulary=WordVocabulary(("a", "b", "c", "."), 3),
        horizon=horizon,
        end_token=3,
        kl_coef=kl_coef,
        reward_range=(0.0, 1.0),
        prompts=Prompts.equal(np.array([[0], [1]])),
        reward_fingerprint="0" * 64,
        score_texts=score_tiny,
    )


def exact_tiny(kl_coef: float, horizon: int = 5) -> tuple[float, float, float]:
    """Mean over the two prompts of (J*, E*[r], KL*), solved."""
    reference, results = tiny_reference(), []
    for prompt in (0, 1):
        after = MarkovReference(reference.table[prompt], reference.table[:4])
        solved = klrl_envs.optimum(
            klrl_envs.exact_task(after, SHARE, horizon=horizon, kl_coef=kl_coef, end_token=3)
        )
        results.append((solved.value, solved.expected_reward, solved.kl))
    mean = np.mean(results, axis=0)
    return float(mean[0]), float(mean[1]), float(mean[2])


def test_certified_and_solved_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KLRL_HOME", str(tmp_path))
    task = tiny_text_task()
    env = TokenEnv(task)
    with pytest.raises(NotCertified, match="klrl certify Tiny-v0"):
        optimum(env)
    assert issubclass(NotCertified, LookupError)
    made = certify(task, 20_000, seed=1)
    found = optimum(env)
    truth = exact_tiny(task.kl_coef)
    assert (tmp_path / "certificates" / certificate_name(task)).is_file()
    assert found == made.optimum(task.kl_coef) == optimum(TokenVectorEnv(task, 3))
    assert not found.exact and found.policy is None and found.certificate is not None
    assert found.lower - 1e-3 <= truth[0] <= found.upper + 1e-3 and found.upper - found.lower < 0.02
    assert abs(found.value - truth[0]) < 4 * (found.upper - found.lower) / (2 * NORMAL)
    assert abs(found.expected_reward - truth[1]) < 4 * found.expected_reward_stderr
    assert abs(found.kl - truth[2]) < 4 * found.kl_stderr
    assert found.rigorous_lower < truth[0] < found.rigorous_upper
    assert found.log_partition is not None and found.log_partition.shape == (2,)
    # another coefficient is read from the same samples, another horizon is another task
    assert optimum(TokenEnv(tiny_text_task(kl_coef=0.5))).value == made.optimum(0.5).value
    with pytest.raises(NotCertified):
        optimum(TokenEnv(tiny_text_task(horizon=4)))


def test_a_certificate_of_another_task_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KLRL_HOME", str(tmp_path))
    task = tiny_text_task()
    certificate(np.zeros((2, 5))).save(tmp_path / "certificates" / certificate_name(task))
    with pytest.raises(ValueError, match="is the certificate of another task"):
        optimum(TokenEnv(task))


def test_an_interrupted_certificate_is_taken_up_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("klrl_envs.optima.certify.SAVE_SECONDS", -1.0)
    task, out = tiny_text_task(), tmp_path / "c.safetensors"
    whole = certify(task, 700, seed=3, out=tmp_path / "whole.safetensors")
    sampled: list[int] = []

    def counted(task, prompt, count, seed):
        sampled.append(prompt)
        return sample_rewards(task, prompt, count, seed)

    def interrupt(done: int, total: int, seconds_left: float) -> None:
        assert (done, total) == (1, 2) and seconds_left >= 0
        raise KeyboardInterrupt

    monkeypatch.setattr("klrl_envs.optima.certify.sample_rewards", counted)
    with pytest.raises(KeyboardInterrupt):
        certify(task, 700, seed=3, out=out, progress=interrupt)
    partial = tmp_path / "c.safetensors.partial"
    assert partial.is_file() and not out.exists()
    with pytest.raises(ValueError, match="was made with seed 3, not 4"):
        certify(task, 700, seed=4, out=out)
    resumed = certify(task, 700, seed=3, out=out)
    assert sampled == [0, 1] and not partial.exists()
    np.testing.assert_array_equal(resumed.rewards, whole.rewards)
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    certify(task, 700, seed=3, out=out)
    assert sampled == [0, 1]
    with pytest.raises(ValueError, match=r"was made with shape \(2, 700\), not \(2, 701\)"):
        certify(task, 701, seed=3, out=out)


def test_streams_differ_by_prompt_and_seed_and_extend():
    task = tiny_text_task()
    first = sample_rewards(task, 0, LANES + 10, 0)
    np.testing.assert_array_equal(first[:20], sample_rewards(task, 0, 20, 0))
    assert not np.array_equal(first, sample_rewards(task, 0, LANES + 10, 1))
    assert not np.array_equal(first, sample_rewards(task, 1, LANES + 10, 0))
    assert not np.array_equal(first[:10], first[LANES:])


def test_certify_refuses(tmp_path: Path):
    out = tmp_path / "c.safetensors"
    with pytest.raises(ValueError, match="samples_per_prompt must be at least 2, got 1"):
        certify(tiny_text_task(), 1, out=out)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        certify(tiny_text_task(), 10, seed=-1, out=out)
    scattered = RewardAutomaton(SHARE.transition, final_reward=SHARE.final_reward, start=np.full(6, 1 / 6))
    env: Any = klrl_envs.exact_task(tiny_reference(), scattered, horizon=3, kl_coef=0.1)
    with pytest.raises(ValueError, match="random beside its tokens"):
        certify(env.unwrapped.task, 10, out=out)
