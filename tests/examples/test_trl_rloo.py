"""TRL's RLOO on the environment's reward: a few updates, with nano and with a model of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import klrl_envs
from klrl_envs.reference.byte_pairs import byte_alphabet
from klrl_envs.results import RunRecord

pytest.importorskip("trl")
pytest.importorskip("datasets")

from examples import trl_rloo

pytestmark = pytest.mark.slow

ONE_UPDATE = trl_rloo.BATCH * 24


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A saved random Llama whose tokenizer is one token a byte, and puts nothing before a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    table = {character: 1 + byte for byte, character in enumerate(byte_alphabet())}
    tokenizer = Tokenizer(models.BPE({"<end>": 0, **table}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    wrapped.save_pretrained(tmp_path / "own")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=257, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=160, bos_token_id=None, eos_token_id=0,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(tmp_path / "own")
    return tmp_path / "own"


def trained(out: Path, updates: int, **options: Any) -> str:
    """What the example says after a few updates."""
    given = {
        "out": out, "tokens": updates * ONE_UPDATE, "episodes": 128, "threads": 1,
        "evaluate-episodes": 128, **options,
    }  # fmt: skip
    return trl_rloo.main([word for name, value in given.items() for word in (f"--{name}", str(value))])


def test_nano_is_trained_recorded_and_scored(tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = trained(out, 3, **{"evaluate-every": ONE_UPDATE})
    record = RunRecord.load(out / "result.json")
    assert record.env_id == "klrl/Sentiment-v0" and record.budget == "counted"
    progress, curve = lines_of(out / "progress.jsonl"), lines_of(out / "curve.jsonl")
    assert len(progress) == 3 and progress[-1]["tokens"] == record.tokens
    assert 2 * ONE_UPDATE < record.tokens <= 3 * ONE_UPDATE
    assert progress[0]["kl"] == pytest.approx(0, abs=1e-3), "both begin as the reference, in float32"
    assert progress[2]["kl"] != 0
    for line in progress:
        paid = line["reward"] - 0.05 * line["kl"]
        assert line["objective"] == pytest.approx(paid, abs=1e-5) and 0 < line["reward"] < 1
    assert curve and all(abs(line["score"]) < 1 for line in curve)
    assert [line["seconds"] for line in progress] == sorted(line["seconds"] for line in progress)
    assert record.score is not None and said.startswith(f"score {record.score:.3f}")
    after = trl_rloo.AutoModelForCausalLM.from_pretrained(out / "model")
    before = trl_rloo.AutoModelForCausalLM.from_pretrained(out / "reference")
    assert not torch.equal(after.lm_head.weight, before.lm_head.weight)


def test_a_model_of_ones_own_is_its_reference(own: Path, tmp_path: Path) -> None:
    said = trained(tmp_path / "run", 2, model=own, **{"evaluate-every": 1})
    assert said.startswith("objective ") and "klrl certify" in said
    assert not (tmp_path / "run" / "result.json").exists()
    assert all(line["score"] is None for line in lines_of(tmp_path / "run" / "curve.jsonl"))
    assert lines_of(tmp_path / "run" / "progress.jsonl")[0]["kl"] == pytest.approx(0, abs=1e-3)


def test_a_tokenizer_of_other_prompts_is_refused(own: Path) -> None:
    reward = klrl_envs.as_reward_fn("klrl/Sentiment-v0")
    with pytest.raises(ValueError, match="the prompt is"):
        trl_rloo.checked_tokenizer(str(own), reward)
    reward = klrl_envs.as_reward_fn("klrl/Sentiment-v0", reference=str(own))
    tokenizer, texts = trl_rloo.checked_tokenizer(str(own), reward)
    assert len(texts) == len(reward.task.prompts.tokens)
    assert all(np.array(ids)[0] == 0 for ids in tokenizer(text=texts)["input_ids"])


def test_tokens_below_an_update_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        trl_rloo.main(["--out", str(tmp_path), "--tokens", "100"])
