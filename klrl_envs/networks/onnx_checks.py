"""What an ONNX model may be, so that it is a function and the whole of it is in its bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from klrl_envs.networks.tensor_file import shown

STANDARD = ("", "ai.onnx", "ai.onnx.ml")
"""The domains of operators that onnxruntime brings along."""
RANDOM = frozenset(
    {"Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
     "RandomUniformLike"}
)  # fmt: skip
MOST_MESSAGES = 1_000_000
"""Nodes, tensors, attributes and whatever else a model is made of."""
MOST_ENTRIES = 1 << 26
"""Of one tensor: what its shape may say."""


def parse_model(data: bytes) -> Any:
    """An ``onnx.ModelProto`` that has passed all checks.

    Raises:
        ValueError: the bytes are no ONNX model, or one that keeps data elsewhere, draws at random, or has
            operators, functions or trainings of its own.
        ImportError: onnx is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ImportError(
            "an .onnx policy needs onnx and onnxruntime: pip install 'klrl-envs[verify]'"
        ) from error
    loader: Any = onnx
    try:
        model = loader.load_model_from_string(data)
    except (DecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"is no ONNX model: {shown(str(error))}") from None
    if not model.HasField("graph") or not model.opset_import:
        raise ValueError("is no ONNX model: it has no graph")
    domains = {entry.domain for entry in model.opset_import}
    if not domains <= set(STANDARD):
        raise ValueError(
            f"has operators of the domain {shown(min(domains - set(STANDARD)))}; only ONNX's own run"
        )
    if model.functions or model.training_info:
        raise ValueError("has functions or a training of its own: export it with its functions inlined")
    for message in messages_of(model):
        kind = message.DESCRIPTOR.name
        if kind == "TensorProto":
            check_tensor(message)
        elif kind == "SparseTensorProto":
            check_size("a sparse tensor", message.dims)
        elif kind == "NodeProto":
            check_node(message)
    return model


def messages_of(message: Any) -> Iterator[Any]:
    """A protobuf message and all messages in it, wherever they stand: no place can be forgotten.

    Raises:
        ValueError: more than ``MOST_MESSAGES``.
    """
    waiting, seen = [message], 0
    while waiting:
        current = waiting.pop()
        yield current
        seen += 1
        for field, value in current.ListFields():
            if field.message_type is not None:
                found = [value] if hasattr(value, "ListFields") else value
                if seen + len(waiting) + len(found) > MOST_MESSAGES:
                    raise ValueError(f"has more than {MOST_MESSAGES:,} nodes, tensors and attributes")
                waiting += found


def check_tensor(tensor: Any) -> None:
    """Raise ValueError for a tensor whose data lies elsewhere, or that is too large."""
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise ValueError(f"keeps the tensor {shown(tensor.name)} in another file: save it all in one")
    check_size(f"tensor {shown(tensor.name)}", tensor.dims)


def check_size(what: str, shape: Iterable[int]) -> None:
    """Raise ValueError for a shape that is that of no policy's tensor."""
    sizes = list(shape)
    if min(sizes, default=0) < 0:
        raise ValueError(f"{what} has the size {min(sizes)}")
    entries = math.prod(sizes)
    if entries > MOST_ENTRIES:
        raise ValueError(f"{what} has {entries:.3g} entries, and at most {MOST_ENTRIES:,} are allowed")


def check_node(node: Any) -> None:
    """Raise ValueError for an operator of another domain, or one that draws at random."""
    if node.domain not in STANDARD:
        raise ValueError(f"has an operator of the domain {shown(node.domain)}; only ONNX's own run")
    if node.op_type in RANDOM:
        raise ValueError(f"has the operator {node.op_type}, which draws at random: a policy is a function")
