"""A policy's folder holds the whole network and nothing else, or it is refused by the tensor's name."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from klrl_envs.networks.causal_folder import load_folder, with_adapter
from klrl_envs.reference.hub import HubReference
from tests.agents.networks.models import saved_llama, text_task

Tensors = dict[str, torch.Tensor]
NORM = "model.layers.1.input_layernorm.weight"
FACTOR = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"


@pytest.fixture
def reference(tmp_path: Path) -> HubReference:
    return saved_llama(tmp_path / "model")


@pytest.fixture
def adapter(reference: HubReference, tmp_path: Path) -> Path:
    """An adapter that adds something."""
    import copy

    pytest.importorskip("peft")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = with_adapter(copy.deepcopy(reference.model), 2, 4)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.normal_()
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    return tmp_path / "adapter"


def renamed(tensors: Tensors) -> Tensors:
    return {f"other.{name}": value for name, value in tensors.items()}


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {each: value for each, value in tensors.items() if each != name}


def cut(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: tensors[name][:1].clone()}


def beside(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: torch.zeros(2)}


def change(file: Path, how: Callable[[Tensors], Tensors]) -> None:
    save_file(how(load_file(file)), file, {"format": "pt"})


def test_what_fits_is_loaded_as_it_was_saved(reference: HubReference, adapter: Path) -> None:
    task, prompts = text_task(reference), np.array([[1, 2, 0, 0, 0]])
    own = load_folder(reference._folder, task).log_probs(prompts)
    inputs = torch.tensor([[reference.start_token, 1, 2]])
    np.testing.assert_allclose(own[0], reference.model(inputs).logits[0, -1].log_softmax(-1), atol=1e-5)
    assert np.abs(load_folder(adapter, task).log_probs(prompts) - own).max() > 0.01


def test_factors_on_embeddings_are_loaded_as_peft_saves_them(reference: HubReference, tmp_path: Path) -> None:
    import copy

    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "embed_tokens"])
    model = peft.get_peft_model(copy.deepcopy(reference.model), config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_embedding" in name:
                weight.copy_(torch.linspace(-1, 1, weight.numel()).view(weight.shape))
    model.save_pretrained(tmp_path / "adapter")
    inputs = torch.tensor([[reference.start_token, 1, 2]])
    expected = model.eval()(inputs).logits[0, -1].log_softmax(-1).detach()
    assert any("embed_tokens" in name for name in load_file(tmp_path / "adapter/adapter_model.safetensors"))
    found = load_folder(tmp_path / "adapter", text_task(reference)).log_probs(np.array([[1, 2, 0, 0, 0]]))
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (renamed, "lacks 'base_model.*lora_A.weight' and"),
        (without(FACTOR), f"lacks '{FACTOR}'$"),
        (cut(FACTOR), f"has in another shape '{FACTOR}'$"),
        (beside("more"), "has beside the network's own 'more'$"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    how: Any, message: str, reference: HubReference, adapter: Path
) -> None:
    change(adapter / "adapter_model.safetensors", how)
    with pytest.raises(ValueError, match=f"adapter_model.safetensors: .*{message}"):
        load_folder(adapter, text_task(reference))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (renamed, "lacks 'lm_head.weight' and"),
        (without(NORM), f"lacks '{NORM}'$"),
        (cut(NORM), f"has in another shape '{NORM}'$"),
        (beside("more"), "has beside the network's own 'more'$"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(how: Any, message: str, reference: HubReference) -> None:
    change(reference._folder / "model.safetensors", how)
    with pytest.raises(ValueError, match=f"model.safetensors: .*{message}"):
        load_folder(reference._folder, text_task(reference))


@pytest.mark.parametrize("name", ["megatron_config", "megatron_core", "auto_mapping"])
def test_no_module_that_an_adapter_names_is_imported(
    name: str, reference: HubReference, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "module_of_an_adapter.py").write_text("raise SystemExit('it was run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    file = adapter / "adapter_config.json"
    value: Any = (
        "module_of_an_adapter" if name == "megatron_core" else {"parent_library": "module_of_an_adapter"}
    )
    file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
    with pytest.raises(ValueError, match=f"adapter_config.json: {name} is .*module_of_an_adapter"):
        load_folder(adapter, text_task(reference))
    assert "module_of_an_adapter" not in sys.modules


def test_it_lies_on_the_task_s_device(reference: HubReference) -> None:
    assert reference.model.device.type == "cpu"
    reference.device = "meta"
    assert load_folder(reference._folder, text_task(reference))._model.device.type == "meta"
