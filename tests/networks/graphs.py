"""ONNX models, made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from klrl_envs.networks.residual import TIME_WAVES, ResidualNetwork

OPSET = 17


def model_of(
    nodes: list[Any],
    initializers: dict[str, np.ndarray] | None = None,
    *,
    inputs: int = TensorProto.FLOAT,
    length: int | str = "F",
    tokens: int | str = "V",
    metadata: dict[str, str] | None = None,
    domains: tuple[str, ...] = ("",),
) -> onnx.ModelProto:
    """A model from ``observations`` [B, length] to ``rows`` [B, tokens]."""
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("observations", inputs, ["B", length])],
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["B", tokens])],
        [numpy_helper.from_array(array, name) for name, array in (initializers or {}).items()],
    )
    opsets = [helper.make_opsetid(domain, OPSET if domain == "" else 1) for domain in domains]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, metadata or {})
    return model


def part(source: str, start: int, end: int, result: str) -> tuple[Any, dict[str, np.ndarray]]:
    """The columns from start to end, and the initializers that name them."""
    names = {
        f"{result}.{name}": np.array([value]) for name, value in (("from", start), ("to", end), ("axis", 1))
    }
    return helper.make_node("Slice", [source, *names], [result]), names


def residual_model(network: ResidualNetwork, *, logits: bool = False) -> onnx.ModelProto:
    """The graph of a ``ResidualNetwork`` that starts at the reference."""
    assert not network.starts_elsewhere
    weights = {name: tensor.detach().numpy() for name, tensor in network.actor.state_dict().items()}
    first, size = network.features + 1, network.task.vocab_size
    weights["waves"] = (np.arange(1, TIME_WAVES + 1, dtype=np.float32) * np.float32(np.pi))[None]
    nodes = []
    for name, start, end in (("state", 0, first), ("left", first - 1, first), ("pi0", first, first + size)):
        node, named = part("observations", start, end, name)
        nodes.append(node)
        weights |= named
    nodes += [
        helper.make_node("MatMul", ["left", "waves"], ["phases"]),
        helper.make_node("Cos", ["phases"], ["cosines"]),
        helper.make_node("Concat", ["state", "cosines"], ["hidden.0"], axis=1),
    ]
    for layer in (0, 2, 4):
        linear = [f"hidden.{layer}", f"{layer}.weight", f"{layer}.bias"]
        nodes.append(helper.make_node("Gemm", linear, [f"linear.{layer}"], transB=1))
        if layer < 4:
            nodes.append(helper.make_node("Tanh", [f"linear.{layer}"], [f"hidden.{layer + 2}"]))
    nodes.append(helper.make_node("Add", ["linear.4", "pi0"], ["rows" if logits else "logits"]))
    if not logits:
        nodes.append(helper.make_node("LogSoftmax", ["logits"], ["rows"], axis=-1))
    metadata = {"klrl-output": "logits"} if logits else {}
    return model_of(nodes, weights, length=first + size, tokens=size, metadata=metadata)


def endless_model(size: int) -> onnx.ModelProto:
    """A model that loops 2^62 times before it answers with rows of ``size`` tokens."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go_on"], ["going_on"]),
         helper.make_node("Sin", ["total"], ["next_total"])],
        "body",
        [helper.make_tensor_value_info("step", TensorProto.INT64, []),
         helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
         helper.make_tensor_value_info("total", TensorProto.FLOAT, ["B", "F"])],
        [helper.make_tensor_value_info("going_on", TensorProto.BOOL, []),
         helper.make_tensor_value_info("next_total", TensorProto.FLOAT, ["B", "F"])],
    )  # fmt: skip
    first, named = part("summed", 0, size, "kept")
    nodes = [
        helper.make_node("Loop", ["steps", "", "observations"], ["summed"], body=body),
        first,
        helper.make_node("LogSoftmax", ["kept"], ["rows"], axis=-1),
    ]
    return model_of(nodes, {"steps": np.array(1 << 62), **named})


def greedy_model(size: int) -> onnx.ModelProto:
    """A model that asks for 2^44 floats."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["vast"]),
        helper.make_node("ReduceMax", ["vast"], ["peak"], keepdims=0),
        helper.make_node("Add", ["observations", "peak"], ["moved"]),
    ]
    first, named = part("moved", 0, size, "kept")
    nodes += [first, helper.make_node("LogSoftmax", ["kept"], ["rows"], axis=-1)]
    return model_of(nodes, {"shape": np.array([1 << 22, 1 << 22]), **named})
