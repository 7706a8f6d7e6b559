"""A causal model of one's own is trained by the agents' commands, goes on when killed, and is evaluated."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

import klrl_envs
from agents.run import CHECKPOINT, Training
from klrl_envs.cli.app import app
from klrl_envs.networks.causal_folder import model_in
from klrl_envs.optima.certify import certify
from klrl_envs.reference.hub import hub_reference
from tests.agents.networks.models import saved_llama
from tests.agents.test_checkpoints import Killed, assert_same_run

pytestmark = pytest.mark.slow

SMALL = {"tokens": 900, "batch": 16, "group": 4, "episodes": 64, "evaluation_seed": 1, "threads": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with everything that a run on it needs."""
    pytest.importorskip("peft")
    path = tmp_path_factory.mktemp("model")
    saved_llama(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KLRL_HOME", str(path / "home"))
        certify(klrl_envs.evaluation_task("klrl/Sentiment-v0", settings_of(path)), 8)
    return path


def settings_of(folder: Path) -> dict[str, Any]:
    return {"reference": str(folder), "horizon": 4}


@pytest.fixture
def arguments(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("KLRL_HOME", str(folder / "home"))
    task = {"env_id": "klrl/Sentiment-v0", "env_kwargs": settings_of(folder)}
    return {**SMALL, **task, "device": "cpu"}


@pytest.mark.parametrize(("agent", "train"), [("reinforce", "lora"), ("ppo", "all")])
def test_it_is_trained_resumed_and_evaluated(
    agent: str, train: str, arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"agents.{agent}")
    kind = getattr(module, "PPOArguments" if agent == "ppo" else "ReinforceArguments")
    arguments |= {"minibatch": 8} if agent == "ppo" else {}
    arguments |= {"train": train, "learning_rate": 1e-2, "checkpoint_seconds": 0.0}
    module.train(kind(**arguments, out=str(tmp_path / "whole")))
    note, seen = Training.note, [0]

    def noted(training: Training, **numbers: Any) -> None:
        note(training, **numbers)
        seen[0] += 1
        if seen[0] == 6:
            raise Killed

    monkeypatch.setattr(Training, "note", noted)
    with pytest.raises(Killed):
        module.train(kind(**arguments, out=str(tmp_path / "killed")))
    assert (tmp_path / "killed" / CHECKPOINT).is_file()
    module.train(kind(**arguments, out=str(tmp_path / "killed"), resume=True))
    weights = "policy/adapter_model.safetensors" if train == "lora" else "policy/model.safetensors"
    assert_same_run(tmp_path / "whole", tmp_path / "killed", weights)
    record = klrl_envs.RunRecord.load(tmp_path / "whole" / "result.json")
    assert record.agent.trains == {"all": "all weights", "lora": "LoRA of rank 8"}[train]
    assert record.kl > 0.001
    # the folder is evaluated by the command to what the run measured
    policy, settings = tmp_path / "whole" / "policy", arguments["env_kwargs"]
    command = ["evaluate", "Sentiment-v0", "--policy", str(policy), "--reference", settings["reference"]]
    command += ["--horizon", "4", "--episodes", "64", "--seed", "1", "--json"]
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 0, ran.output
    said = json.loads(ran.stdout)
    np.testing.assert_allclose(said["kl"]["estimate"], record.kl, rtol=1e-3)
    assert_exported_alike(policy, settings, tmp_path)
    # another training takes the place of this folder, but not of one with something else in it
    (policy / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"policy is in the way"):
        module.train(kind(**arguments, out=str(tmp_path / "whole")))
    (policy / "notes.txt").unlink()
    monkeypatch.setattr(Training, "note", note)
    module.train(kind(**arguments, out=str(tmp_path / "whole"), seed=1))
    assert klrl_envs.RunRecord.load(tmp_path / "whole" / "result.json").seed == 1
    (tmp_path / "new" / "policy").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"policy is in the way"):
        module.train(kind(**arguments, out=str(tmp_path / "new")))


def assert_exported_alike(policy: Path, settings: dict[str, Any], folder: Path) -> None:
    """As a folder of its own it is the same model, for code that knows neither klrl nor peft."""
    exported, base = str(folder / "exported"), settings["reference"]
    ran = CliRunner().invoke(app, ["export", str(policy), exported, "--reference", base])
    assert ran.exit_code == 0, ran.output
    loaded = model_in(policy, hub_reference(base))
    tokens = torch.arange(loaded.config.vocab_size)[None]
    with torch.inference_mode():
        plain = AutoModelForCausalLM.from_pretrained(exported)(tokens).logits
        torch.testing.assert_close(plain, loaded(tokens).logits, atol=1e-5, rtol=1e-5)
        before = AutoModelForCausalLM.from_pretrained(base)(tokens).logits
    assert (plain - before).abs().max() > 1e-3
    assert AutoTokenizer.from_pretrained(exported).encode("a b") == AutoTokenizer.from_pretrained(
        base
    ).encode("a b")
    refused = CliRunner().invoke(app, ["export", str(policy), str(folder / "other")])
    assert refused.exit_code == 2 and "needs --reference" in refused.output


def test_a_model_without_peft_says_what_to_install(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents import reinforce

    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"needs peft .* pip install 'klrl-envs\[lora\]'"):
        reinforce.train(reinforce.ReinforceArguments(**arguments, train="lora", out=str(tmp_path / "run")))
