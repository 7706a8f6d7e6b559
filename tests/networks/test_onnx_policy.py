"""ONNX models as policies: the rows of the network that they were made of, and no model that does more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klrl_envs
from tests.networks.policies import GRID, grid_network

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from tests.networks.graphs import model_of, residual_model  # noqa: E402

SIZE = 4
"""Tokens of GridNavigation-v0."""
DOUBLE = TensorProto.DOUBLE


def save(model: Any, folder: Path) -> Path:
    path = folder / "policy.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("logits", [False, True])
def test_a_model_gives_the_rows_of_its_network(logits: bool, tmp_path: Path) -> None:
    network = grid_network()
    task = klrl_envs.evaluation_task(GRID)
    policy, features = klrl_envs.load_policy(save(residual_model(network, logits=logits), tmp_path), task)
    assert features
    arguments: dict[str, Any] = {"episodes": 256, "seed": 3}
    found = klrl_envs.evaluate(policy, "klrl/GridNavigationFeatures-v0", **arguments)
    first, _ = network.for_evaluation(task)
    expected = klrl_envs.evaluate(first, "klrl/GridNavigationFeatures-v0", **arguments)
    assert found.score_estimate == pytest.approx(expected.score_estimate, abs=1e-6)
    assert found.kl.estimate == pytest.approx(expected.kl.estimate, abs=1e-6) and found.kl.estimate > 0.01


def test_a_model_may_read_the_plain_id(tmp_path: Path) -> None:
    """Rows by position and last token alone: a table of logits that is looked up."""
    task = klrl_envs.evaluation_task("klrl/Keywords-v0")
    rows = np.random.default_rng(0).normal(0, 0.1, (task.vocab_size + 1, task.vocab_size)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["observations", "zero"], ["first"], axis=1),
        helper.make_node("Gather", ["table", "first"], ["rows"], axis=0),
    ]
    model = model_of(
        nodes, {"table": rows, "zero": np.array(0)}, inputs=TensorProto.INT64, length=task.max_length,
        tokens=task.vocab_size, metadata={"klrl-output": "logits"},
    )  # fmt: skip
    policy, features = klrl_envs.load_policy(save(model, tmp_path), task)
    assert not features
    found = klrl_envs.evaluate(policy, "klrl/Keywords-v0", episodes=32)
    assert found.log_probs == "checked" and found.kl.estimate > 0


def simple(*nodes: Any, initializers: dict[str, np.ndarray] | None = None, **options: Any) -> Any:
    """A model that is a log-softmax of the last columns, after these nodes."""
    named = {"from": np.array([-SIZE]), "to": np.array([1 << 40]), "axis": np.array([1])}
    last = [
        helper.make_node("Slice", ["observations", "from", "to", "axis"], ["kept"]),
        helper.make_node("LogSoftmax", ["kept"], ["rows"], axis=-1),
    ]
    return model_of([*nodes, *last], {**named, **(initializers or {})}, **options)


def external(where: str = "graph") -> Any:
    """A model that keeps a tensor in /etc/passwd: in its graph, in a node's attribute, or in a branch."""
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "stolen")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../etc/passwd"
    if where == "graph":
        model = simple()
        model.graph.initializer.append(tensor)
        return model
    constant = helper.make_node("Constant", [], ["stolen"])
    attribute = constant.attribute.add()
    attribute.name, attribute.type = "value", onnx.AttributeProto.TENSOR
    attribute.t.CopyFrom(tensor)
    if where == "attribute":
        return simple(constant)
    output = helper.make_tensor_value_info("stolen", TensorProto.FLOAT, [4])
    branch = helper.make_graph([constant] if where == "branch" else [], "branch", [], [output])
    if where == "initializer of a branch":
        branch.initializer.append(tensor)
    node = helper.make_node("If", ["yes"], ["chosen"], then_branch=branch, else_branch=branch)
    return simple(node, initializers={"yes": np.array(True)})


def evil(domain: str) -> Any:
    """A node that onnxruntime does not have."""
    return helper.make_node("Evil", ["observations"], ["x"], domain=domain)


def with_dims(*dims: int) -> Any:
    model = simple()
    tensor = model.graph.initializer.add()
    tensor.name, tensor.data_type = "vast", TensorProto.FLOAT
    tensor.dims.extend(dims)
    return model


def with_function() -> Any:
    model = simple()
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(
        helper.make_function(
            "own", "Mine", ["x"], ["y"], [helper.make_node("Identity", ["x"], ["y"])], opsets
        )
    )
    return model


def two_outputs() -> Any:
    model = simple()
    model.graph.output.append(helper.make_tensor_value_info("kept", TensorProto.FLOAT, ["B", "V"]))
    return model


def many_nodes() -> Any:
    """Of two bytes each."""
    return onnx.ModelProto.FromString(
        simple().SerializeToString() + b"\x3a\x80\x89\x7a" + b"\x0a\x00" * 1_000_000
    )


def fixed_batch() -> Any:
    model = simple()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    return model


MALICIOUS: dict[str, tuple[Callable[[], Any], str]] = {
    "external data": (external, "keeps the tensor 'stolen' in another file"),
    "external data in an attribute": (lambda: external("attribute"), "in another file"),
    "external data in a branch": (lambda: external("branch"), "in another file"),
    "external data of a branch": (lambda: external("initializer of a branch"), "in another file"),
    "a custom operator": (
        lambda: simple(evil("evil"), domains=("", "evil")),
        "of the domain 'evil'",
    ),
    "a custom operator whose domain is not declared": (
        lambda: simple(evil("evil")),
        "has an operator of the domain 'evil'",
    ),
    "an operator of the runtime's own": (
        lambda: simple(domains=("", "com.microsoft")), "of the domain 'com.microsoft'"
    ),
    "a function of its own": (with_function, "has functions or a training"),
    "random numbers": (
        lambda: simple(helper.make_node("RandomNormalLike", ["observations"], ["noise"])),
        "RandomNormalLike, which draws at random",
    ),
    "a shape of 1e18": (lambda: with_dims(10**9, 10**9), r"tensor 'vast' has 1e\+18 entries"),
    "a negative shape": (lambda: with_dims(-1), "tensor 'vast' has the size -1"),
    "two outputs": (two_outputs, "one input and one output, not 1 and 2"),
    "a million nodes": (many_nodes, "has more than 1,000,000 nodes"),
    "a fixed batch": (fixed_batch, "must take any number of rows, and takes 1"),
    "another length": (lambda: simple(length=7), r"its input must be \[B, \d+\] on this task"),
    "other tokens": (lambda: simple(tokens=7), r"its output must be \[B, 4\]|does not take the model"),
    "input of another type": (
        lambda: model_of([helper.make_node("Cast", ["observations"], ["rows"], to=1)], inputs=DOUBLE),
        r"its input must be one of tensor\(int64\), tensor\(float\)",
    ),
    "another output": (lambda: simple(metadata={"klrl-output": "odds"}), "must be one of log_probs, logits"),
    "no such operator": (
        lambda: simple(evil("")),
        "onnxruntime does not take the model",
    ),
    "no graph": (onnx.ModelProto, "it has no graph"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALICIOUS)
def test_malformed_and_malicious_models_are_refused(name: str, tmp_path: Path) -> None:
    make, message = MALICIOUS[name]
    path = save(make(), tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        klrl_envs.load_policy(path, klrl_envs.evaluation_task(GRID))
    said = str(caught.value)
    assert said.startswith(str(path)) and "\n" not in said and len(said) < 600


@pytest.mark.parametrize("data", [b"", b"\x08", b"\xff" * 64, b"\x0a" * 200_000, b"{" * 1000])
def test_bytes_that_are_no_model_are_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="is no ONNX model"):
        klrl_envs.load_policy(path, klrl_envs.evaluation_task(GRID))


def test_a_model_that_looks_like_the_runtimes_own_format_is_read_as_onnx(tmp_path: Path) -> None:
    """ORTM at bytes 4 to 8 would make onnxruntime read what was not checked."""
    producer = b"\x12\x06xxORTM"[:8]
    path = tmp_path / "policy.onnx"
    path.write_bytes(producer + simple().SerializeToString())
    assert path.read_bytes()[4:8] == b"ORTM"
    policy, features = klrl_envs.load_policy(path, klrl_envs.evaluation_task(GRID))
    assert features and policy is not None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_no_distribution_are_refused(value: float, tmp_path: Path) -> None:
    named = {"from": np.array([-SIZE]), "to": np.array([1 << 40]), "axis": np.array([1])}
    named["bad"] = np.array([value, 0, 0, 0], np.float32)
    nodes = [helper.make_node("Slice", ["observations", "from", "to", "axis"], ["kept"]),
             helper.make_node("Add", ["kept", "bad"], ["rows"])]  # fmt: skip
    for metadata in ({}, {"klrl-output": "logits"}):
        path = save(model_of(nodes, named, metadata=metadata), tmp_path)
        policy, _ = klrl_envs.load_policy(path, klrl_envs.evaluation_task(GRID))
        with pytest.raises(ValueError, match="the policy"):
            klrl_envs.evaluate(policy, "klrl/GridNavigationFeatures-v0", episodes=8)


def test_a_model_that_fails_or_gives_other_rows_is_refused(tmp_path: Path) -> None:
    few = {"from": np.array([0]), "to": np.array([2]), "axis": np.array([1])}
    short = model_of([helper.make_node("Slice", ["observations", *few], ["rows"])], few)
    table = {"table": np.zeros((5, SIZE), np.float32), "beyond": np.array([100]), "column": np.array(0)}
    nodes = [
        helper.make_node("Gather", ["observations", "column"], ["first"], axis=1),
        helper.make_node("Cast", ["first"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Add", ["whole", "beyond"], ["index"]),
        helper.make_node("Gather", ["table", "index"], ["rows"], axis=0),
    ]
    broken = model_of(nodes, table)
    task = klrl_envs.evaluation_task(GRID)
    for model, message in (
        (short, r"must give rows \[\d+, 4\], not \[\d+, 2\]"),
        (broken, "the ONNX model failed"),
    ):
        policy, _ = klrl_envs.load_policy(save(model, tmp_path), task)
        with pytest.raises(ValueError, match=message):
            klrl_envs.evaluate(policy, "klrl/GridNavigationFeatures-v0", episodes=8)
