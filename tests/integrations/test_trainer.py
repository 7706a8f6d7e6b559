"""Hugging Face trainers: the score of a model while it is trained, by whom it is not disturbed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klrl_envs

pytest.importorskip("transformers")
pytest.importorskip("accelerate")
import torch
import transformers

from klrl_envs.integrations.trainer import ScoreCallback
from klrl_envs.policies import CausalLMPolicy

pytestmark = pytest.mark.slow

ENV_ID, START = "klrl/Brackets-v0", 0
STEPS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved causal language model over the environment's tokens, with dropout, so that training draws."""
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=klrl_envs.make_task(ENV_ID).vocab_size, n_positions=64, n_embd=16, n_layer=1, n_head=2,
        resid_pdrop=0.2, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    transformers.GPT2LMHeadModel(config).save_pretrained(path)
    return path


def trained(folder: Path, out: Path, watch: dict[str, Any] | None) -> Any:
    """A trainer after a few steps, with the callback where ``watch`` is its arguments."""
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    draws = np.random.default_rng(2).integers(0, model.config.vocab_size, (64, 8))
    data: Any = [{"input_ids": row, "labels": row} for row in draws.tolist()]
    arguments = transformers.TrainingArguments(
        output_dir=str(out), max_steps=STEPS, per_device_train_batch_size=4, use_cpu=True, seed=3,
        report_to="none", logging_steps=100, save_strategy="no", learning_rate=0.01, disable_tqdm=True,
    )  # fmt: skip
    trainer = transformers.Trainer(model, arguments, train_dataset=data)
    if watch is not None:
        trainer.add_callback(ScoreCallback(ENV_ID, start_token=START, log=trainer.log, **watch))
    trainer.train()
    return trainer


def test_the_training_is_what_it_would_be_without(folder: Path, tmp_path: Path) -> None:
    alone = trained(folder, tmp_path, None)
    drawn = random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002
    watched = trained(folder, tmp_path, {"every": 2, "episodes": 8})
    assert drawn == (random.random(), np.random.random(), torch.rand(1).item())  # noqa: NPY002
    before = transformers.AutoModelForCausalLM.from_pretrained(folder).state_dict()
    after, other = alone.model.state_dict(), watched.model.state_dict()
    assert all(torch.equal(after[name], other[name]) for name in after)
    assert any(not torch.equal(after[name], before[name]) for name in after), "it was trained"


def test_scores_are_written_and_logged(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.jsonl"
    trainer = trained(folder, tmp_path, {"every": 4, "episodes": 64, "out": out})
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["steps"] for line in lines] == [0, 4, STEPS]
    assert len({line["seed"] for line in lines}) == 3 and all(line["tokens"] == 0 for line in lines)
    logged = [each for each in trainer.state.log_history if "klrl/score" in each]
    assert [each["klrl/score"] for each in logged] == [line["score"] for line in lines]
    assert [each["klrl/kl"] for each in logged] == [line["kl"] for line in lines]
    policy = CausalLMPolicy(trainer.model.eval(), klrl_envs.evaluation_task(ENV_ID), START)
    again = klrl_envs.evaluate(policy, ENV_ID, episodes=64, seed=lines[-1]["seed"])
    assert again.score is not None and again.score.estimate == pytest.approx(lines[-1]["score"])


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        ScoreCallback(ENV_ID, every=0)
    with pytest.raises(ValueError, match="out must lie in a folder that is there"):
        ScoreCallback(ENV_ID, out=tmp_path / "none" / "scores.jsonl")
    with pytest.raises(ValueError, match="unknown environment"):
        ScoreCallback("klrl/Nothing-v0")


def test_no_trainer_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, klrl_envs.integrations; klrl_envs.as_reward_fn; print('transformers' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
