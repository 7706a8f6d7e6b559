"""A policy as a file: safetensors of a network that klrl_envs knows, or ONNX.

No code of the file's author is run and nothing is unpickled. A safetensors file names its network and the
network's sizes in its metadata, all strings:

    {"format": "klrl-policy-1", "network": "residual", "width": "128"}

The task and these demand names, types and shapes of the tensors; a file that has others is refused before
memory is taken for them.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any, cast

from klrl_envs.networks.bounded import read_regular
from klrl_envs.networks.network import Network
from klrl_envs.networks.tensor_file import Header, read_header, read_tensors, shown, write_tensors
from klrl_envs.policies import PolicyObject
from klrl_envs.tasks.base import Task

FORMAT = "klrl-policy-1"
SUFFIXES = (".safetensors", ".onnx")
NETWORKS = {
    "hidden-state": ("klrl_envs.networks.hidden_state", "HiddenStateNetwork"),
    "language-model": ("klrl_envs.networks.language_model", "LanguageModelNetwork"),
    "q-heads": ("klrl_envs.networks.q_values", "QHeads"),
    "q-residual": ("klrl_envs.networks.q_values", "QResidual"),
    "raw-tokens": ("klrl_envs.networks.raw_tokens", "RawTokens"),
    "residual": ("klrl_envs.networks.residual", "ResidualNetwork"),
    "state-table": ("klrl_envs.networks.state_table", "StateTable"),
    "table": ("klrl_envs.networks.table", "Table"),
    "text-heads": ("klrl_envs.networks.text_heads", "TextHeads"),
    "word-heads": ("klrl_envs.networks.word_heads", "WordHeads"),
}
"""Name -> the module that has the network, imported where it is used, and its class."""


def save_policy(network: Network | Any, path: str | Path) -> None:
    """Write the part of a network that gives rows as a file that ``load_policy`` reads.

    Args:
        network: one of ``klrl_envs.networks``, or one that adds to it what a training needs.
        path: ends in .safetensors.

    Raises:
        ValueError: another ending.
        TypeError: no network that a file can name.
    """
    if Path(path).suffix != SUFFIXES[0]:
        raise ValueError(f"path must end in {SUFFIXES[0]}, got {str(path)!r}")
    kind = getattr(network, "kind", None)
    if kind not in NETWORKS:
        raise TypeError(f"network must be one of {', '.join(NETWORKS)}, got {type(network).__name__}")
    sizes, tensors = network.sizes(), network.tensors()
    demanded = network_class(kind).demanded(network.task, sizes)
    metadata = {"format": FORMAT, "network": kind, **{name: str(size) for name, size in sizes.items()}}
    write_tensors(Path(path), {name: tensors[name] for name in demanded}, metadata)


def load_policy(path: str | Path, task: Task) -> tuple[PolicyObject, bool]:
    """A policy from its file or folder, as ``evaluate`` takes it, and whether it reads the features id.

    Args:
        path: a .safetensors file of ``save_policy``, an .onnx file (see ``networks.onnx_policy``), or a
            folder of a causal model or an adapter (see ``networks.causal_folder``).
        task: to be evaluated on, as ``klrl_envs.evaluation_task`` makes it.

    Raises:
        ValueError: in one line, what is wrong with the file, or that it does not fit the task.
        ImportError: onnx or onnxruntime is not installed, for an .onnx file, or peft, for an adapter.
    """
    suffix = Path(path).suffix
    if suffix not in SUFFIXES and Path(path).is_dir():
        from klrl_envs.networks.causal_folder import load_folder

        return load_folder(path, task), False
    if suffix not in SUFFIXES:
        raise ValueError(f"path must end in one of {', '.join(SUFFIXES)}, got {str(path)!r}")
    data = read_regular(path)
    try:
        if suffix == ".onnx":
            from klrl_envs.networks.onnx_policy import OnnxPolicy

            policy = OnnxPolicy(data, task)
            return policy, policy.reads_features
        return network_of(data, task).for_evaluation(task)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


def network_of(data: bytes, task: Task) -> Network:
    """The network in a safetensors file's bytes.

    Raises:
        ValueError: see ``load_policy``.
        TypeError: a network of another kind of task.
    """
    header = read_header(data)
    kind, sizes = stated_network(header)
    network = network_class(kind)
    return network.filled(task, sizes, read_tensors(data, network.demanded(task, sizes)))


def stated_network(header: Header) -> tuple[str, dict[str, int]]:
    """The kind of network that a header names, and its sizes; ValueError where it names none."""
    metadata = dict(header.metadata)
    if metadata.pop("format", "") != FORMAT:
        seen = header.metadata.get("format")
        raise ValueError(f"its metadata must have the format {FORMAT!r}, not {seen and shown(seen)}")
    kind = metadata.pop("network", "")
    if kind not in NETWORKS:
        raise ValueError(f"its metadata must name a network of {', '.join(NETWORKS)}, not {shown(kind)}")
    largest = network_class(kind).largest
    if metadata.keys() != largest.keys():
        seen = shown(", ".join(sorted(metadata)))
        raise ValueError(f"the network {kind} has the sizes {', '.join(largest) or 'none'}, not {seen}")
    for name, text in metadata.items():
        if not re.fullmatch(r"0|[1-9][0-9]{0,8}", text) or int(text) > largest[name]:
            raise ValueError(f"{name} must be a whole number up to {largest[name]}, not {shown(text)}")
    return kind, {name: int(text) for name, text in metadata.items()}


def network_class(kind: str) -> type[Network]:
    """The class of a network by what files call it."""
    module, name = NETWORKS[kind]
    return cast(type[Network], getattr(importlib.import_module(module), name))
