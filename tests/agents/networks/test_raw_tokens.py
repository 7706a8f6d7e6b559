"""The policy on raw tokens: it begins at pi0, is one policy however it is read, and learns."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import klrl_envs
from agents import ppo, reinforce
from agents.networks.make import make_network
from agents.networks.raw_tokens import RawTokensPolicy
from agents.networks.trajectories import make_engine
from agents.ppo import PPOArguments
from agents.reinforce import ReinforceArguments
from klrl_envs import Prompts, RunRecord
from klrl_envs.evaluation.rollout import roll_out

TASKS = ("Keywords-v0", "Recall-v0", "DiagnosticPromptScale-v0", "DiagnosticReference-v0", "Sentiment-v0")


def unsettled(task: Any, critic: bool = True) -> RawTokensPolicy:
    """A policy away from its start."""
    torch.manual_seed(1)
    policy = make_network(task, critic=critic, observe="tokens")
    assert isinstance(policy, RawTokensPolicy)
    for reader in (policy.actor, policy.critic):
        if reader is not None:
            torch.nn.init.normal_(reader.head[-1].weight, std=0.2)  # type: ignore[arg-type]
    return policy


@pytest.mark.parametrize("env_id", TASKS)
def test_it_begins_at_the_reference_or_the_initial_policy_exactly(env_id: str) -> None:
    task = klrl_envs.make_task(env_id)
    policy: Any = make_network(task, observe="tokens")
    engine = make_engine(task, 16, 0)
    prompts = np.zeros(16, dtype=np.int64)
    trajectories = policy.write(engine, prompts, torch.Generator().manual_seed(0))
    known = policy.actor.read(trajectories.tokens)
    lengths = torch.arange(known.shape[1]).expand(16, -1)
    assert not policy.actor(known, lengths).any()
    scored, features = policy.for_evaluation(task)
    assert not features
    rows = scored.start(task.padded_prompts[prompts])
    engine.reset(np.arange(16), prompts)
    known_rows = engine.reference_log_probs()
    if task.exact is not None and task.exact.initial_policy is not None:
        known_rows = task.exact.initial_policy[engine.context]
        assert np.abs(known_rows - engine.reference_log_probs()).max() > 0.1
    else:
        episodes: Any = roll_out(scored, task, episodes=64, seed=0)
        assert episodes.kl.max() < 1e-5
    np.testing.assert_allclose(rows, known_rows, atol=1e-5)


@pytest.mark.parametrize(("env_id", "cut"), [*((env_id, False) for env_id in TASKS), ("Sentiment-v0", True)])
def test_it_reads_what_it_wrote_as_it_was_written(env_id: str, cut: bool) -> None:
    """Step by step, in one pass over the trajectories, and from the beginning as the evaluation does."""
    task: Any = klrl_envs.make_task(env_id)
    if cut:  # prompts of different lengths, and none
        lengths = np.array([0, 1, 2, 3, 5, 8, 8, 0])
        tokens = np.where(np.arange(8) < lengths[:, None], task.prompts.tokens[:8], task.pad)
        task = dataclasses.replace(task, prompts=Prompts(tokens, lengths))
    policy = unsettled(task)
    prompts = np.arange(8) % len(task.prompts.tokens)
    engine = make_engine(task, 8, 0)
    trajectories = policy.write(engine, prompts, torch.Generator().manual_seed(0))
    assert trajectories.kl.sum(1).min() > 0.01
    with torch.no_grad():
        log_probs, kl = policy.scores(trajectories, torch.arange(8))
        values = policy.values(trajectories, torch.arange(8))
    torch.testing.assert_close(log_probs, trajectories.log_probs, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(kl, trajectories.kl, rtol=1e-3, atol=1e-4)
    assert values.shape == kl.shape and values.std() > 0
    scored, _ = policy.for_evaluation(task)
    rows = [scored.start(task.padded_prompts[prompts])]
    rows += [scored.step(column) for column in trajectories.actions.T[:-1].numpy()]
    taken = torch.from_numpy(np.stack(rows, 1)).gather(-1, trajectories.actions[..., None]).squeeze(-1)
    mask = trajectories.mask
    torch.testing.assert_close(taken[mask], trajectories.log_probs[mask], rtol=1e-3, atol=1e-4)
    until = task.prompts.lengths[prompts, None] + 3
    first = np.where(np.arange(task.max_length) < until, trajectories.tokens.numpy(), task.pad)
    long = engine.time >= 3
    np.testing.assert_allclose(scored.log_probs(first)[long], rows[3][long], rtol=1e-3, atol=1e-4)


def test_pi0_writes_the_steps_that_it_is_told_to() -> None:
    task: Any = klrl_envs.make_task("Keywords-v0")
    policy = unsettled(task)
    borrowed = np.arange(task.horizon) < np.arange(8)[:, None]
    texts = policy.write(
        make_engine(task, 8, 0), np.zeros(8, int), torch.Generator().manual_seed(0), by_reference=borrowed
    )
    own = ~torch.as_tensor(borrowed)[:, : texts.mask.shape[1]] & texts.mask
    assert texts.kl[texts.mask & ~own].abs().max() < 1e-4 and texts.kl[own].min() > 1e-3


def test_what_stands_behind_a_token_does_not_matter_to_it() -> None:
    task = klrl_envs.make_task("Keywords-v0")
    reader = unsettled(task).actor
    texts = torch.randint(
        0, task.vocab_size, (4, task.max_length), generator=torch.Generator().manual_seed(0)
    )
    other = torch.cat((texts[:, :5], texts[:, 5:].flip(1)), dim=1)
    one, two = reader.read(texts), reader.read(other)
    torch.testing.assert_close(one[:, :6], two[:, :6])
    assert not torch.allclose(one[:, -1], two[:, -1])


@pytest.mark.slow
def test_reinforce_learns_from_raw_tokens_and_leaves_its_policy(tmp_path: Path) -> None:
    results = []
    for out in ("a", "b"):
        args = ReinforceArguments(
            env_id="klrl/DiagnosticCoefficient-v0", tokens=24_000, episodes=256, threads=1,
            out=str(tmp_path / out), observe="tokens", name="reinforce-tokens", evaluation_seed=0,
        )  # fmt: skip
        evaluation = reinforce.train(args)
        record = RunRecord.load(tmp_path / out / "result.json")
        results.append((record.score, record.objective, record.kl))
    assert results[0] == results[1]
    assert evaluation.score_estimate is not None and evaluation.score_estimate > 0.45
    assert record.agent.name == "reinforce-tokens" and record.agent.url == "agents/reinforce.py"
    assert record.command.startswith("python -m agents.reinforce ") and "--observe tokens" in record.command
    path = tmp_path / "b" / "policy.safetensors"
    scored, features = klrl_envs.load_policy(path, klrl_envs.evaluation_task(args.env_id))
    assert not features
    again = klrl_envs.evaluate(scored, args.env_id, episodes=256, seed=0)
    assert again.objective.estimate == pytest.approx(record.objective, abs=1e-9)


@pytest.mark.slow
def test_ppo_learns_from_raw_tokens(tmp_path: Path) -> None:
    args = PPOArguments(
        env_id="klrl/DiagnosticCoefficient-v0", tokens=24_000, episodes=256, threads=1, out=str(tmp_path),
        observe="tokens",
    )  # fmt: skip
    score = ppo.train(args).score_estimate
    assert score is not None and score > 0.3
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert np.mean([line["explained"] for line in lines[-10:]]) > 0


def test_what_cannot_be_observed_is_named() -> None:
    with pytest.raises(ValueError, match="observe must not be 'tokens' on GridNavigation-v0"):
        make_network(klrl_envs.make_task("GridNavigation-v0"), observe="tokens")
    with pytest.raises(ValueError, match=r"observe must be one of \('state', 'tokens'\), got 'all'"):
        make_network(klrl_envs.make_task("Keywords-v0"), observe="all")


@pytest.mark.gpu
@pytest.mark.parametrize("env_id", ["klrl/Keywords-v0", "klrl/Sentiment-v0"])
def test_it_is_trained_on_the_accelerator(env_id: str, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    args = ReinforceArguments(
        env_id=env_id, tokens=20_000, out=str(tmp_path), episodes=64, device="cuda", observe="tokens"
    )
    assert reinforce.train(args).score_estimate is not None
