"""Somebody's causal model in training: the same network in training mode, on the task's device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.networks.causal_model import CausalPolicy
from klrl_envs.reference.hub import HubReference
from tests.agents.networks.models import WORDS, saved_llama, text_task


def saved_opt(folder: Path) -> HubReference:
    """A model whose layers keep their share of dropout as a number."""
    from transformers import OPTConfig, OPTForCausalLM

    saved_llama(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = OPTConfig(
            vocab_size=len(WORDS), hidden_size=8, word_embed_proj_dim=8, ffn_dim=12, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=64, dropout=0.5, layerdrop=0.5, pad_token_id=0,
            bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        OPTForCausalLM(config).save_pretrained(folder)
    return HubReference(str(folder), folder)


def test_numbers_of_dropout_are_turned_off(tmp_path: Path) -> None:
    reference = saved_opt(tmp_path)
    policy = CausalPolicy(text_task(reference), critic=False, checkpoint_layers=True)
    tokens = torch.arange(12).view(2, 6) % len(WORDS)
    with torch.no_grad():
        found = [policy.model.train(mode)(input_ids=tokens).logits for mode in (True, False)]
    torch.testing.assert_close(*found)
    assert reference.model.config.dropout == 0.5, "pi0 stays as it is"


def test_a_model_that_draws_in_training_mode_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = saved_llama(tmp_path)
    kind: Any = type(reference.model.model.norm)
    plain = kind.forward

    def noisy(self: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(plain(self, x), 0.1, self.training)

    monkeypatch.setattr(kind, "forward", noisy)
    with pytest.raises(ValueError, match="checkpoint_layers must be False for LlamaForCausalLM"):
        CausalPolicy(text_task(reference), critic=False, checkpoint_layers=True)
    CausalPolicy(text_task(reference), critic=False)


def test_it_is_evaluated_on_the_task_s_device(tmp_path: Path) -> None:
    task = text_task(saved_llama(tmp_path / "here"))
    policy = CausalPolicy(task, critic=False)
    there = saved_llama(tmp_path / "there")
    there.device = "meta"
    scored, _ = policy.for_evaluation(replace(task, reference=there))
    assert scored._model.device.type == "meta"


def test_what_reads_texts_once_can_be_copied(tmp_path: Path) -> None:
    import copy

    from agents.networks.writing import ReadReference

    reference = ReadReference(saved_llama(tmp_path))
    assert copy.copy(reference).vocab_size == len(WORDS)
