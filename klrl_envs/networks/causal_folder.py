"""A policy as a folder: a causal model of transformers, or an adapter of peft on a task's reference.

Weights are read from safetensors only, no code of the folder is run, and nothing is downloaded.
"""

from __future__ import annotations

import copy
import importlib
import json
from pathlib import Path
from typing import Any, cast

from klrl_envs.policies import CausalLMPolicy
from klrl_envs.reference.hub import HubReference
from klrl_envs.tasks.base import Task

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def hub_reference_of(task: Task) -> HubReference:
    """The reference of a task as a model of transformers; ValueError where it is none."""
    if not isinstance(task.reference, HubReference):
        raise ValueError(
            f"{task.id} needs a model of transformers (a folder or hub id) as its reference, "
            f"not {task.reference.name!r}"
        )
    return task.reference


def peft() -> Any:
    """The package peft.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module("peft")
    except ImportError as error:
        raise ImportError(
            f"LoRA on a model of transformers needs peft ({error}): pip install 'klrl-envs[lora]'"
        ) from None


def with_adapter(model: Any, rank: int, alpha: int) -> Any:
    """A causal model with new factors on all its linear maps but the last, in place; they add nothing yet."""
    package = peft()
    config = package.LoraConfig(
        task_type="CAUSAL_LM", r=rank, lora_alpha=alpha, target_modules="all-linear", lora_dropout=0.0
    )
    return package.get_peft_model(model, config)


def load_folder(folder: str | Path, task: Task) -> CausalLMPolicy:
    """The policy in a folder, on the CPU, as ``evaluate`` takes it.

    Args:
        folder: of ``save_pretrained``: an adapter (LoRA) on the task's reference, or a whole causal model.
        task: whose prompts and texts are read.

    Raises:
        ValueError: neither of both, or it does not fit the task.
        ImportError: an adapter, and peft is not installed.
    """
    place, reference = Path(folder), hub_reference_of(task)
    if (place / ADAPTER[0]).is_file():
        model = _adapted(place, reference)
    elif (place / "config.json").is_file() and any(place.glob("*.safetensors")):
        model = _whole(place)
    else:
        raise ValueError(
            f"{place}: has neither {' with '.join(ADAPTER)} nor config.json with weights in safetensors"
        )
    if model.config.vocab_size != task.vocab_size:
        raise ValueError(f"{place}: has {model.config.vocab_size} tokens, and {task.id} {task.vocab_size}")
    return CausalLMPolicy(model.eval().requires_grad_(False), task, reference.start_token)


def _adapted(folder: Path, reference: HubReference) -> Any:
    kind = json.loads((folder / ADAPTER[0]).read_text(encoding="utf-8")).get("peft_type")
    if kind != "LORA" or not (folder / ADAPTER[1]).is_file():
        raise ValueError(f"{folder}: must be an adapter of type LORA in {ADAPTER[1]}, and is {kind!r}")
    import torch

    base = copy.deepcopy(reference.model).to("cpu")
    with cast(Any, torch.random).fork_rng(devices=[]):
        return peft().PeftModel.from_pretrained(base, str(folder)).merge_and_unload()


def _whole(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    with cast(Any, torch.random).fork_rng(devices=[]):
        return cast(Any, AutoModelForCausalLM).from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
