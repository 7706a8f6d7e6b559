"""pi0 on CUDA: the numbers of the CPU up to rounding, tensors that stay there, steps that can be captured."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import klrl_envs
from klrl_envs.reference.decoder import Decoder
from klrl_envs.reference.device import features_of, rows_of
from klrl_envs.reference.transformer import nano_reference

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
TOLERANCE = 1e-4  # nats


def test_products_are_of_whole_floats() -> None:
    assert not torch.backends.cuda.matmul.allow_tf32, "log-probs are scored in float32, without TF32"


def test_log_probs_equal_those_of_the_cpu() -> None:
    task = klrl_envs.make_task("Sentiment-v0")
    prompts, lengths = task.prompts.tokens[:16], task.prompts.lengths[:16]
    lanes = {device: nano_reference().on(device).lanes(16, task.max_length) for device in ("cpu", "cuda")}
    rng = np.random.default_rng(0)
    for each in lanes.values():
        each.reset(np.arange(16), prompts, lengths)
    for _ in range(task.horizon):
        assert np.abs(lanes["cpu"].log_probs() - lanes["cuda"].log_probs()).max() < TOLERANCE
        tokens = lanes["cuda"].draw(rng.random(16))
        assert np.abs(lanes["cpu"].log_prob(tokens) - lanes["cuda"].log_prob(tokens)).max() < TOLERANCE
        for each in lanes.values():
            each.step(tokens, np.arange(16) % 3 > 0)


def test_rows_and_features_stay_on_the_device() -> None:
    env: Any = gym.make_vec("klrl/Sentiment-v0", num_envs=4, device="cuda")
    env.reset(seed=0)
    lanes, device = env.unwrapped.engine.reference_lanes, torch.device("cuda")
    assert rows_of(lanes, device).is_cuda and features_of(lanes, device).is_cuda
    env.close()


def test_the_fingerprint_and_the_evaluation_are_those_of_the_cpu() -> None:
    here = klrl_envs.evaluate("reference", "klrl/Sentiment-v0", episodes=256, seed=3)
    there = klrl_envs.evaluate("reference", "klrl/Sentiment-v0", episodes=256, seed=3, device="cuda")
    assert here.task_sha256 == there.task_sha256
    assert (
        there.kl.estimate == 0 and abs(here.expected_reward.estimate - there.expected_reward.estimate) < 0.02
    )


def test_a_step_can_be_captured() -> None:
    weights = nano_reference().on("cuda").decoder_weights
    prompts = torch.zeros((8, 4), dtype=torch.int64, device="cuda")
    tokens = torch.arange(8, device="cuda")
    decoders = [Decoder(weights, 8, 16) for _ in range(2)]
    for decoder in decoders:
        decoder.start(prompts, torch.full((8,), 4, device="cuda"))
        decoder.step(tokens)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = decoders[0].step(tokens)
    for _ in range(3):
        graph.replay()
        torch.testing.assert_close(captured, decoders[1].step(tokens), rtol=1e-4, atol=1e-5)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="torch sees"):
        klrl_envs.device_named(f"cuda:{torch.cuda.device_count()}")
