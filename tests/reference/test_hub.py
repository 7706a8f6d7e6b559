"""Causal LMs from a folder or from the hub."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from klrl_envs.reference.hub import HubReference, hub_reference
from klrl_envs.reference.transformer import TransformerReference


def test_the_saved_model_scores_as_the_original(hub: HubReference, nano_like: TransformerReference) -> None:
    tokens = np.random.default_rng(2).integers(0, 40, (3, 10))
    first, lengths = np.array([0, 2, 3]), np.array([10, 7, 3])
    expected = nano_like.sequence_log_probs(tokens, first, lengths)
    np.testing.assert_allclose(hub.sequence_log_probs(tokens, first, lengths), expected, atol=2e-5)
    assert (expected[2] == 0).all()
    assert hub.fingerprint == HubReference("again", hub._folder).fingerprint


def test_a_hub_fingerprint_is_of_the_model_alone(hub: HubReference, tmp_path: Path) -> None:
    """Not of the folder; but of every file that decides what is read or written."""
    copied = tmp_path / "elsewhere"
    shutil.copytree(hub._folder, copied)
    assert HubReference("copy", copied).fingerprint == hub.fingerprint
    tokenizer = copied / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"good"', '"swap"').replace('"bad"', '"good"'))
    assert HubReference("other", copied).fingerprint != hub.fingerprint


def test_hidden_states_stay_inside_their_bound_whatever_the_norm(hub: HubReference, tmp_path: Path) -> None:
    from transformers import GemmaConfig, GemmaForCausalLM

    torch.manual_seed(0)
    config = GemmaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    shutil.copytree(hub._folder, tmp_path / "gemma")
    GemmaForCausalLM(config).save_pretrained(tmp_path / "gemma")
    for reference in (hub, HubReference("gemma", tmp_path / "gemma")):
        lanes = reference.lanes(64, 8)
        lanes.reset(np.arange(64), np.random.default_rng(0).integers(0, 40, (64, 8)), np.full(64, 8))
        seen = float(np.abs(lanes.hidden()).max())
        assert 0 < seen <= reference.hidden_bound < 20 * seen


def test_a_folder_is_a_reference_of_sentiment(folder: Path) -> None:
    env: Any = gym.make("klrl/Sentiment-v0", reference=str(folder), horizon=4)
    observation, _ = env.reset(seed=0)
    assert env.unwrapped.task.vocab_size == 40
    assert env.observation_space.contains(observation)
    terminated = False
    while not terminated:
        _, reward, terminated, _, info = env.step(8)
    assert 0 <= reward <= 1
    assert info["text"].endswith("good good good good")


def test_weights_other_than_safetensors_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="no safetensors weights"):
        hub_reference(str(tmp_path))


def test_a_hub_id_that_was_never_fetched_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="klrl fetch nobody/nothing"):
        hub_reference("nobody/nothing")


def test_a_device_s_reference_is_made_once(folder: Path) -> None:
    from klrl_envs import make_task

    hub = hub_reference(str(folder))
    assert hub is hub_reference(str(folder), "cpu") is hub.on("cpu")
    assert make_task("Sentiment-v0", reference=str(folder), horizon=4).reference is hub
    elsewhere = hub.on("cuda:0")
    assert elsewhere is not hub and elsewhere.device == "cuda"
    assert elsewhere is elsewhere.on("cuda") is elsewhere.on("cuda:0") is hub.on("cuda")
    own = HubReference("a name that no folder has", folder)
    assert own.on("cpu") is own


def test_what_lanes_handed_out_never_changes(hub: HubReference) -> None:
    lanes = hub.lanes(2, 4)
    lanes.reset(np.arange(2), np.array([[3], [4]]), np.ones(2, dtype=np.int64))
    handed = [lanes.hidden(), lanes.features(), lanes.rows(), lanes.log_probs()]
    before = [np.asarray(array).copy() for array in handed]
    lanes.reset(np.array([1]), np.array([[7]]), np.ones(1, dtype=np.int64))
    for array, copied in zip(handed, before):
        np.testing.assert_array_equal(array, copied)
    assert (lanes.hidden()[0] == before[0][0]).all() and (lanes.hidden()[1] != before[0][1]).any()
