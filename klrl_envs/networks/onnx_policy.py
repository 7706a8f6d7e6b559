"""An ONNX model as a policy: rows of log-probs from observations, by onnxruntime on the CPU.

The model has one input, observations, and one output, rows [B, V]. An input of int64 [B, L] is the
observation of the plain id, one of float32 [B, F] that of the features id. Rows are log-probs, or logits
where the model's ``metadata_props`` say {"klrl-output": "logits"}.

What the model may hold is in ``onnx_checks``. It may still loop for ever or ask for much memory: who runs a
stranger's does so in a process with limits, as ``leaderboard.verify`` does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from klrl_envs.envs.observation import observer_of
from klrl_envs.networks.onnx_checks import parse_model
from klrl_envs.networks.tensor_file import shown
from klrl_envs.tasks.base import Task

OUTPUT = "klrl-output"
OUTPUTS = ("log_probs", "logits")


class OnnxPolicy:
    """A model from its bytes, never from a path, so that it can name no other file.

    Args:
        data: the model.
        task: to be evaluated on.

    Attributes:
        reads_features: whether it is evaluated on the features id.

    Raises:
        ValueError: no such model; see ``onnx_checks`` and above.
        ImportError: onnx or onnxruntime is not installed.
    """

    def __init__(self, data: bytes, task: Task) -> None:
        model = parse_model(data)
        self._size = task.vocab_size
        self._output = stated_output(model)
        self._session = start_session(data)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValueError(f"must have one input and one output, not {len(inputs)} and {len(outputs)}")
        self._input = inputs[0].name
        kinds = {"tensor(int64)": False, "tensor(float)": True}
        if inputs[0].type not in kinds:
            raise ValueError(f"its input must be one of {', '.join(kinds)}, not {inputs[0].type}")
        self.reads_features = kinds[inputs[0].type]
        (length,) = observer_of(task, features=self.reads_features).space.shape
        check_shape("its input", inputs[0].shape, length)
        check_shape("its output", outputs[0].shape, task.vocab_size)
        if outputs[0].type not in ("tensor(float)", "tensor(double)"):
            raise ValueError(f"its output must be tensor(float) or tensor(double), not {outputs[0].type}")

    def log_probs(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Rows [B, V] of observations [B, ...]; ValueError where the model fails."""
        try:
            (rows,) = self._session.run(None, {self._input: np.ascontiguousarray(observations)})
        except Exception as error:  # the runtime has no common class for what a model can do wrong
            raise ValueError(f"the ONNX model failed: {shown(str(error), 200)}") from None
        wanted = (len(observations), self._size)
        if rows.shape != wanted:
            raise ValueError(f"the ONNX model must give rows {list(wanted)}, not {list(rows.shape)}")
        if self._output == "log_probs":
            return rows
        with np.errstate(invalid="ignore"):  # of infinite logits; who reads the rows refuses NaN
            rows = rows - rows.max(axis=1, keepdims=True)
            return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


def stated_output(model: Any) -> str:
    """What the rows are, by the model's metadata."""
    stated = {entry.key: entry.value for entry in model.metadata_props}
    output = stated.get(OUTPUT, OUTPUTS[0])
    if output not in OUTPUTS:
        raise ValueError(f"its {OUTPUT} must be one of {', '.join(OUTPUTS)}, not {shown(output)}")
    return output


def start_session(data: bytes) -> Any:
    """onnxruntime's session of a model, on one thread of the CPU."""
    try:
        import onnxruntime  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise ImportError("an .onnx policy needs onnxruntime: pip install 'klrl-envs[verify]'") from error
    runtime: Any = onnxruntime
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # the bytes that were checked as ONNX are read as ONNX, whatever else they look like
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # see ``OnnxPolicy.log_probs``
        raise ValueError(f"onnxruntime does not take the model: {shown(str(error), 200)}") from None


def check_shape(what: str, shape: list[Any], last: int) -> None:
    """Raise ValueError unless a stated shape may be [B, last]; names stand for any size."""
    if len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != last):
        raise ValueError(f"{what} must be [B, {last}] on this task, not {shape}")
    if isinstance(shape[0], int):
        raise ValueError(f"{what} must take any number of rows, and takes {shape[0]}: name its first axis")
