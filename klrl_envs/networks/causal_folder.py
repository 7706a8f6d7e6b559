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
from klrl_envs.reference.model_folder import check_free, write_folder
from klrl_envs.tasks.base import Task

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
NAMES_OF_MODULES = {"megatron_config": None, "megatron_core": "megatron.core", "auto_mapping": None}
"""Settings of an adapter by which peft imports a module, and what peft itself writes there for none."""


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
    """The policy in a folder, on the task's device, as ``evaluate`` takes it.

    Args:
        folder: of ``save_pretrained``: an adapter (LoRA) on the task's reference, or a whole causal model.
        task: whose prompts and texts are read.

    Raises:
        ValueError: neither of both, it does not fit the task, or tensors are missing, of another shape, or
            of no place in the network.
        ImportError: an adapter, and peft is not installed.
    """
    place, reference = Path(folder), hub_reference_of(task)
    model = model_in(place, reference)
    if model.config.vocab_size != task.vocab_size:
        raise ValueError(f"{place}: has {model.config.vocab_size} tokens, and {task.id} {task.vocab_size}")
    model = model.to(task.device).eval().requires_grad_(False)
    return CausalLMPolicy(model, task, reference.start_token)


def model_in(folder: Path, reference: HubReference) -> Any:
    """The causal model in a folder: whole, or the reference's with an adapter, merged where that can be.

    Raises:
        ValueError, ImportError: see ``load_folder``.
    """
    if (folder / ADAPTER[0]).is_file():
        return _adapted(folder, reference)
    if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
        return _whole(folder)
    raise ValueError(
        f"{folder}: has neither {' with '.join(ADAPTER)} nor config.json with weights in safetensors"
    )


def save_merged(folder: Path, reference: HubReference, target: str | Path, *, force: bool = False) -> Path:
    """Write the model in a folder, its adapter merged, with its reference's tokenizer; returns where.

    Raises:
        ValueError, ImportError: see ``load_folder``; or the adapter cannot be merged.
        FileExistsError: see ``klrl_envs.reference.model_folder.write_folder``.
    """
    check_free(Path(target).expanduser().resolve(), force)  # before anything is loaded
    model = model_in(folder, reference)
    if hasattr(model, "peft_config"):
        raise ValueError(
            f"{folder}: has factors on embeddings that are tied to the logits; merged, what is added to one "
            "would be added to the other, too: take the folder as it is, with peft"
        )

    def write(fresh: Path) -> None:
        model.save_pretrained(fresh)
        reference.vocabulary.save(fresh)

    return write_folder(target, write, force=force)


def _adapted(folder: Path, reference: HubReference) -> Any:
    _check_adapter(folder)
    import torch
    from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

    package, file = peft(), folder / ADAPTER[1]
    config = package.LoraConfig.from_pretrained(str(folder), local_files_only=True)
    base = copy.deepcopy(reference.model)
    config.inference_mode, config.base_model_name_or_path = True, base.config.name_or_path
    with cast(Any, torch.random).fork_rng(devices=[]):
        model = package.get_peft_model(base, config)
    own, known = (  # peft keeps embeddings, too, where they have factors
        package.get_peft_model_state_dict(model, save_embedding_layers=embeddings)
        for embeddings in (False, True)
    )
    found = load_file(file)
    other = [name for name in known if name in found and found[name].shape != known[name].shape]
    _check_names(str(file), sorted(own.keys() - found.keys()), sorted(found.keys() - known.keys()), other)
    package.set_peft_model_state_dict(model, found)
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    if base.config.tie_word_embeddings and any(hasattr(end, "base_layer") for end in ends):
        return model  # merged, what is added to one end would be added to the other, too
    return model.merge_and_unload()


def _check_adapter(folder: Path) -> None:
    """Raise ValueError unless a folder has a LoRA adapter whose settings name no module to import."""
    settings = json.loads((folder / ADAPTER[0]).read_text(encoding="utf-8"))
    kind = settings.get("peft_type")
    if kind != "LORA" or not (folder / ADAPTER[1]).is_file():
        raise ValueError(f"{folder}: must be an adapter of type LORA in {ADAPTER[1]}, and is {kind!r}")
    for name, allowed in NAMES_OF_MODULES.items():
        if settings.get(name) not in (None, allowed):
            raise ValueError(
                f"{folder / ADAPTER[0]}: {name} is {settings[name]!r} and would have a module imported; "
                f"allowed: {'null' if allowed is None else repr(allowed)}"
            )


def _whole(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    with cast(Any, torch.random).fork_rng(devices=[]):
        model, info = cast(Any, AutoModelForCausalLM).from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False,
            local_files_only=True, ignore_mismatched_sizes=True, output_loading_info=True,
        )  # fmt: skip
    files = sorted(folder.glob("*.safetensors"))
    other = [name for name, *_ in info["mismatched_keys"]]
    # a map that is tied to another needs no weight of its own, and is not among the missing
    _check_names(
        str(files[0] if len(files) == 1 else folder / "*.safetensors"),
        sorted(info["missing_keys"]), sorted(info["unexpected_keys"]), sorted(other),
    )  # fmt: skip
    return model


def _check_names(file: str, missing: list[str], unexpected: list[str], other: list[str]) -> None:
    """Raise ValueError that names the file and the first tensor which does not fit the network."""
    for what, names in (
        ("lacks", missing),
        ("has in another shape", other),
        ("has beside the network's own", unexpected),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ValueError(f"{file}: does not fit the network: it {what} {names[0]!r}{more}")
