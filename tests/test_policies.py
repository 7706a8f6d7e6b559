"""What a policy is, and the adapters that make policies of models."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs.envs.engine import Engine
from klrl_envs.evaluation.rejection import RejectionSampler
from klrl_envs.policies import (
    NAMES,
    CachedPolicy,
    CallablePolicy,
    CausalLMPolicy,
    LanesPolicy,
    SB3Policy,
    SequencePolicy,
    StatePolicy,
    TokenPolicy,
    TorchPolicy,
    as_policy,
)
from tests.oracles import random_env


def test_a_function_is_a_policy():
    policy = as_policy(lambda observations: np.full((len(observations), 4), -np.log(4)))
    assert isinstance(policy, CallablePolicy) and policy.log_probs(np.zeros((2, 3))).shape == (2, 4)
    assert as_policy(policy) is policy


def test_what_is_no_policy_is_refused():
    assert [as_policy(name) for name in NAMES] == list(NAMES)
    with pytest.raises(ValueError, match=r"policy must be one of .* got 'best'"):
        as_policy("best")
    with pytest.raises(TypeError, match="got int and no policy"):
        as_policy(3)
    with pytest.raises(TypeError, match="got the class LanesPolicy and no policy"):
        as_policy(LanesPolicy)


def test_protocols_tell_policies_apart():
    task = random_env(tokens=4, horizon=3).unwrapped.task
    lanes = LanesPolicy(task.reference.lanes, task)
    assert isinstance(lanes, CachedPolicy) and not isinstance(lanes, SequencePolicy)
    function = CallablePolicy(lambda observations: observations)
    assert isinstance(function, TokenPolicy) and not isinstance(function, (CachedPolicy, StatePolicy))
    assert isinstance(RejectionSampler(task, np.zeros(1)), SequencePolicy)


def test_lanes_policy_gives_the_same_rows_from_its_cache():
    task = random_env(tokens=4, horizon=3).unwrapped.task
    policy = LanesPolicy(task.reference.lanes, task)
    engine = Engine(task, 5)
    for lane in range(5):
        engine.seed(lane, np.random.default_rng(lane))
    engine.reset(np.arange(5))
    cached = policy.start(engine.tokens[:, :0])
    for tokens in ([1, 2, 3, 1, 2], [3, 3, 1, 1, 2]):
        assert np.allclose(cached, policy.log_probs(engine.tokens))
        assert np.allclose(cached, engine.reference_log_probs())
        engine.step(np.array(tokens))
        cached = policy.step(np.array(tokens))


def test_torch_policy_takes_logits_and_log_probs():
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(3, 5)
    observations = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    rows = TorchPolicy(module).log_probs(observations)
    assert rows.dtype == np.float32 and np.exp(rows).sum(axis=1) == pytest.approx(1.0)
    both = torch.nn.Module()
    both.forward = lambda x: (torch.log_softmax(module(x), dim=-1), x)
    again = TorchPolicy(both, "log_probs", select=lambda output: output[0]).log_probs(observations)
    assert np.allclose(rows, again)
    half = TorchPolicy(module.bfloat16(), select=lambda output: output)
    with pytest.raises(RuntimeError):
        half.log_probs(observations)  # the module's own business
    with pytest.raises(ValueError, match="output must be"):
        TorchPolicy(module, "probabilities")


def test_sb3_policy_agrees_with_its_distribution():
    sb3 = pytest.importorskip("stable_baselines3")
    import gymnasium as gym
    import torch

    import klrl_envs  # noqa: F401

    env = gym.make("klrl/GridNavigationFeatures-v0")
    model = sb3.PPO("MlpPolicy", env, n_steps=8, batch_size=8, device="cpu", seed=0)
    observation = np.stack([env.reset(seed=seed)[0] for seed in range(3)])
    rows = SB3Policy(model).log_probs(observation)
    for action in range(4):
        with torch.no_grad():
            _, log_prob, _ = model.policy.evaluate_actions(
                torch.as_tensor(observation), torch.full((3,), action)
            )
        assert rows[:, action] == pytest.approx(log_prob.numpy(), abs=1e-6)
    with pytest.raises(TypeError, match="get_distribution"):
        SB3Policy(sb3.DQN("MlpPolicy", env, device="cpu", buffer_size=10))


def test_causal_lm_policy_caches_texts_of_unequal_length():
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    from types import SimpleNamespace

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=11, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2
    )
    model = transformers.LlamaForCausalLM(config).eval()
    pad, start = 11, 1
    task = SimpleNamespace(
        lengths=lambda rows: np.where((rows == pad).any(axis=1), (rows == pad).argmax(axis=1), rows.shape[1])
    )
    policy = CausalLMPolicy(model, task, start)
    observations = np.full((3, 6), pad)
    texts = [[4, 5, 6], [7], [2, 3]]
    for row, text in zip(observations, texts):
        row[: len(text)] = text

    def alone(text):
        with torch.no_grad():
            logits = model(torch.tensor([[start, *text]])).logits[0, -1]
        return torch.log_softmax(logits, dim=-1).numpy()

    assert np.allclose(policy.log_probs(observations), [alone(text) for text in texts], atol=1e-5)
    assert np.allclose(policy.start(observations[:, :3]), [alone(text) for text in texts], atol=1e-5)
    for tokens in ([8, 9, 2], [3, 3, 4]):
        texts = [[*text, token] for text, token in zip(texts, tokens)]
        assert np.allclose(policy.step(np.array(tokens)), [alone(text) for text in texts], atol=1e-5)
