"""References: cached steps, parallel passes and other people's code give the same log-probs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from klrl_envs.reference.hub import HubReference, hub_reference
from klrl_envs.reference.llama import to_llama
from klrl_envs.reference.markov import MarkovReference, UniformReference
from klrl_envs.reference.nano import Nano, NanoConfig
from klrl_envs.reference.transformer import TransformerReference, token_log_probs

TINY = NanoConfig(vocab_size=40, width=32, layers=2, heads=2, hidden=48, context=24)


@pytest.fixture(scope="module")
def tiny() -> Nano:
    torch.manual_seed(0)
    model = Nano(TINY)
    torch.nn.init.normal_(model.embedding.weight, std=0.5)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def nano_like(tiny: Nano) -> TransformerReference:
    return TransformerReference(
        lambda: tiny, name="tiny", fingerprint="0", vocab_size=40, width=32, context=TINY.context
    )


@pytest.fixture(scope="module")
def folder(tiny: Nano, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved causal LM with its own word-level tokenizer, as a user of the hub would have it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("model")
    words = ["<end>", "<unknown>", "this", "film", "is", "was", "a", "the", "good", "bad"]
    table = {word: index for index, word in enumerate(words)}
    table |= {f"w{index}": index for index in range(len(words), TINY.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(table, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<end>", eos_token="<end>", unk_token="<unknown>"
    )
    wrapped.save_pretrained(path)
    to_llama(tiny).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def hub(folder: Path) -> HubReference:
    return hub_reference(str(folder))


def bigram() -> MarkovReference:
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.ones(40), size=41)
    return MarkovReference(np.log(rows[40]), np.log(rows[:40]))


@pytest.mark.parametrize("kind", ["nano_like", "hub", "bigram", "uniform"])
def test_lanes_that_restart_at_different_times_agree_with_the_parallel_pass(
    kind: str, request: pytest.FixtureRequest
) -> None:
    made = {"bigram": bigram, "uniform": lambda: UniformReference(40)}
    reference: Any = made[kind]() if kind in made else request.getfixturevalue(kind)
    rng = np.random.default_rng(1)
    count, longest = 5, 16
    lanes = reference.lanes(count, longest)
    texts = rng.integers(0, 40, (count, longest))
    lengths = rng.integers(0, 6, count)
    lanes.reset(np.arange(count), texts[:, :6], lengths)
    for _ in range(40):
        first = np.zeros(count, dtype=np.int64)
        nexts = rng.integers(0, 40, count)
        grown = texts.copy()
        grown[np.arange(count), lengths] = nexts
        whole = reference.sequence_log_probs(grown, first, lengths + 1)
        taken = lanes.log_prob(nexts)
        np.testing.assert_allclose(taken, whole[np.arange(count), lengths], atol=2e-5)
        np.testing.assert_allclose(np.exp(lanes.log_probs().astype(np.float64)).sum(axis=1), 1, atol=1e-5)
        active = rng.random(count) < 0.7
        texts = np.where(active[:, None], grown, texts)
        lanes.step(nexts, active)
        lengths = lengths + active
        restart = np.flatnonzero((lengths >= longest - 1) | (rng.random(count) < 0.15))
        if len(restart):
            texts[restart] = rng.integers(0, 40, (len(restart), longest))
            lengths[restart] = rng.integers(0, 5, len(restart))
            lanes.reset(restart, texts[restart, :5], lengths[restart])


def test_the_llama_copy_has_the_same_logits(tiny: Nano) -> None:
    tokens = torch.arange(24).reshape(2, 12)
    expected = to_llama(tiny)(tokens).logits
    torch.testing.assert_close(tiny(tokens), expected, atol=1e-4, rtol=1e-4)


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


def test_token_log_probs_are_differentiable(tiny: Nano) -> None:
    model = Nano(TINY)
    model.load_state_dict(tiny.state_dict())
    token_log_probs(model, torch.arange(12).reshape(2, 6), skip=2).sum().backward()
    assert model.embedding.weight.grad is not None
    assert float(model.embedding.weight.grad.abs().sum()) > 0


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


def test_a_text_beyond_the_context_is_refused(nano_like: TransformerReference) -> None:
    with pytest.raises(
        ValueError, match="need 26 positions with the start token, the network's context has 24"
    ):
        nano_like.lanes(1, 25)


@pytest.mark.parametrize(
    ("row", "message"),
    [([0.5, 0.6], "sums to 1.1"), ([1.0, 0.0], "full support"), ([np.nan, 1.0], "full support")],
)
def test_rows_that_are_no_distribution_are_refused(row: list[float], message: str) -> None:
    with np.errstate(divide="ignore"):
        rows = np.log(np.array([row, [0.5, 0.5]]))
    with pytest.raises(ValueError, match=message):
        MarkovReference(np.log([0.5, 0.5]), rows)
