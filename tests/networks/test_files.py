"""Policies as files: what was saved is loaded, and what is malformed or malicious is refused in one line."""

from __future__ import annotations

import json
import os
import pickle
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load, save

import klrl_envs
from klrl_envs.networks.bounded import MOST_BYTES
from klrl_envs.networks.state_table import StateTable
from klrl_envs.networks.tensor_file import write_tensors
from tests.networks.policies import GRID, KINDS, file_bytes, grid_network, network_of_kind

META = {"format": "klrl-policy-1", "network": "residual", "width": "8"}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "policy.safetensors"
    klrl_envs.save_policy(grid_network(), path)
    return path.read_bytes()


def refused(path: Path, message: str) -> None:
    """The file is refused in one short line that names it."""
    with pytest.raises(ValueError, match=message) as caught:
        klrl_envs.load_policy(path, klrl_envs.evaluation_task(GRID))
    said = str(caught.value)
    assert said.startswith(str(path)) or "path must end in" in said
    assert "\n" not in said and len(said) < 600


@pytest.mark.parametrize("name", KINDS)
def test_what_was_saved_is_loaded(name: str, tmp_path: Path) -> None:
    network, env_id = network_of_kind(name), KINDS[name]
    klrl_envs.save_policy(network, tmp_path / "policy.safetensors")
    task = klrl_envs.evaluation_task(env_id)
    before = torch.random.get_rng_state()
    policy, features = klrl_envs.load_policy(tmp_path / "policy.safetensors", task)
    assert (torch.random.get_rng_state() == before).all(), "loading draws nothing"
    shown = env_id.replace("-v0", "Features-v0") if features else env_id
    episodes = 64 if "Sentiment" in env_id else 256
    again = klrl_envs.evaluate(policy, shown, episodes=episodes, seed=3)
    first, _ = network.for_evaluation(task)
    expected = klrl_envs.evaluate(first, shown, episodes=episodes, seed=3)
    assert again.objective == expected.objective and again.kl == expected.kl
    assert again.kl.estimate > 0.01, "it is not the reference"


@pytest.mark.parametrize("kind", ["table", "state-table"])
def test_torch_and_onnx_are_not_imported_for_a_table(kind: str, tmp_path: Path) -> None:
    klrl_envs.save_policy(network_of_kind(kind), tmp_path / "policy.safetensors")
    code = (
        "import sys, klrl_envs\n"
        f"task = klrl_envs.evaluation_task({KINDS[kind]!r})\n"
        f"klrl_envs.load_policy({str(tmp_path / 'policy.safetensors')!r}, task)\n"
        "assert not {'torch', 'onnx', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_table_of_states_fits_its_own_states_alone() -> None:
    grid = klrl_envs.evaluation_task(GRID)
    with pytest.raises(ValueError, match="knows nothing of other states"):
        StateTable(grid).for_evaluation(klrl_envs.evaluation_task("klrl/Recall-v0"))
    with pytest.raises(ValueError, match="is too large for Dialogue-v0"):
        StateTable(klrl_envs.make_task("Dialogue-v0"))
    table = StateTable(grid)
    table.values[0, 0, 0] = np.finfo(np.float32).max
    rows = table.state_log_probs(*np.zeros((3, 1), dtype=np.int64))
    assert np.isfinite(rows[0, 0]) and not np.isnan(rows).any()


def test_a_network_of_another_task_or_that_no_file_names_is_refused(tmp_path: Path) -> None:
    klrl_envs.save_policy(grid_network(), tmp_path / "policy.safetensors")
    for env_id, message in (
        ("klrl/Keywords-v0", r"tensor actor\.\S+ must be F32 \[.*\], not"),
        ("klrl/Sentiment-v0", "a residual network needs an exact environment"),
    ):
        with pytest.raises(ValueError, match=message):
            klrl_envs.load_policy(tmp_path / "policy.safetensors", klrl_envs.evaluation_task(env_id))
    with pytest.raises(TypeError, match="network must be one of hidden-state"):
        klrl_envs.save_policy(torch.nn.Linear(1, 1), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"path must end in \.safetensors"):
        klrl_envs.save_policy(grid_network(), tmp_path / "policy.pt")


def entries(good: bytes) -> dict[str, Any]:
    return json.loads(good[8 : 8 + int.from_bytes(good[:8], "little")])


def changed(good: bytes, name: str, **fields: Any) -> bytes:
    """The file with other fields of one tensor's entry."""
    header = entries(good)
    header[name].update(fields)
    return file_bytes(header, good[8 + int.from_bytes(good[:8], "little") :])


def body(good: bytes) -> bytes:
    return good[8 + int.from_bytes(good[:8], "little") :]


def renamed(good: bytes, **metadata: str) -> bytes:
    header = entries(good)
    header["__metadata__"] = {**META, **metadata}
    return file_bytes(header, body(good))


def with_values(good: bytes, value: float) -> bytes:
    tensors = {name: tensor.copy() for name, tensor in load(good).items()}
    tensors["actor.0.weight"][0, 0] = value
    return save(tensors, metadata=META)


BIAS = "actor.0.bias"
MALICIOUS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda good: b"", "is no safetensors file"),
    "short": (lambda good: good[:5], "is no safetensors file"),
    "header of huge length": (lambda good: file_bytes({}, length=2**63), "its header would have 9,223"),
    "header beyond the file": (lambda good: file_bytes({}, length=1000), "its header would have 1,000"),
    "header of megabytes": (lambda good: file_bytes(b" " * (1 << 21)), "its header would have 2,097,152"),
    "header that is no JSON": (lambda good: file_bytes(b"{nonsense"), "its header is no JSON"),
    "header that is no UTF-8": (lambda good: file_bytes(b"\xff\xfe{}"), "its header is no JSON"),
    "deep nesting": (lambda good: file_bytes(b'{"a":' + b"[" * 60_000), "its header is no JSON"),
    "many digits": (lambda good: file_bytes(b'{"a":' + b"9" * 60_000 + b"}"), "its header is no JSON"),
    "header with NaN": (lambda good: file_bytes(b'{"a": NaN}'), "NaN is no JSON"),
    "header that is a list": (lambda good: file_bytes([]), "no JSON object"),
    "duplicate names": (
        lambda good: file_bytes(
            json.dumps(entries(good))[:-1].encode() + b', "actor.0.bias": {}}', body(good)
        ),
        "the name 'actor.0.bias' stands twice",
    ),
    "duplicate metadata": (
        lambda good: file_bytes(b'{"__metadata__": {}, "__metadata__": {}}'),
        "the name '__metadata__' stands twice",
    ),
    "metadata that is a list": (lambda good: file_bytes({"__metadata__": [1]}), "no JSON object"),
    "metadata with a number": (lambda good: file_bytes({"__metadata__": {"width": 8}}), "is no string"),
    "no format": (lambda good: save(load(good)), "must have the format 'klrl-policy-1', not None"),
    "another format": (lambda good: renamed(good, format="pt"), "the format 'klrl-policy-1', not 'pt'"),
    "another network": (lambda good: renamed(good, network="../../evil"), "must name a network of hidden"),
    "another size": (lambda good: renamed(good, depth="3"), "has the sizes width, not"),
    "vast size": (lambda good: renamed(good, width="9" * 30), "width must be a whole number up to 4096"),
    "size too large": (lambda good: renamed(good, width="4097"), "width must be a whole number up to 4096"),
    "negative size": (lambda good: renamed(good, width="-1"), "width must be a whole number up to 4096"),
    "size in other digits": (lambda good: renamed(good, width="٨"), "width must be a whole number"),
    "size that is not the file's": (lambda good: renamed(good, width="4096"), "must be F32"),
    "shape of 1e18": (lambda good: changed(good, BIAS, shape=[10**18]), r"must be F32 \[8\], not"),
    "shape that overflows": (lambda good: changed(good, BIAS, shape=[2**62] * 4), "must be F32"),
    "negative shape": (lambda good: changed(good, BIAS, shape=[-8]), "lists of whole numbers"),
    "shape of many axes": (lambda good: changed(good, BIAS, shape=[1] * 5000), "lists of whole numbers"),
    "shape of truth": (lambda good: changed(good, BIAS, shape=[True]), "lists of whole numbers"),
    "shape of fractions": (lambda good: changed(good, BIAS, shape=[8.0]), "lists of whole numbers"),
    "another type": (lambda good: changed(good, BIAS, dtype="F64"), "must be F32"),
    "type that is none": (lambda good: changed(good, BIAS, dtype="object"), "must have a dtype"),
    "offsets outside": (lambda good: changed(good, BIAS, data_offsets=[1 << 50, 33 << 50]), "no safetensors"),
    "offsets reversed": (lambda good: changed(good, BIAS, data_offsets=[32, 0]), "no safetensors"),
    "offsets of one": (lambda good: changed(good, BIAS, data_offsets=[0]), "lists of whole numbers"),
    "more fields": (lambda good: changed(good, BIAS, code="import os"), "and nothing else"),
    "overlapping tensors": (
        lambda good: changed(good, BIAS, data_offsets=entries(good)["actor.2.bias"]["data_offsets"]),
        "no safetensors",
    ),
    "bytes left over": (lambda good: good + b"\0" * 64, "no safetensors"),
    "bytes missing": (lambda good: good[:-4], "no safetensors"),
    "a tensor less": (
        lambda good: save({BIAS: np.zeros(8, np.float32)}, metadata=META), "lacks the tensor 'actor.0.weight'"
    ),
    "path traversal in names": (
        lambda good: save({**load(good), "../../etc/passwd": np.zeros(1)}, metadata=META),
        r"has the tensor '\.\./\.\./etc/passwd'",
    ),
    "NaN": (lambda good: with_values(good, np.nan), "actor.0.weight must be finite, and holds nan"),
    "infinity": (lambda good: with_values(good, -np.inf), "actor.0.weight must be finite, and holds -inf"),
    "pickle": (lambda good: pickle.dumps(print), "is no safetensors file"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALICIOUS)
def test_malformed_and_malicious_files_are_refused(name: str, good: bytes, tmp_path: Path) -> None:
    make, message = MALICIOUS[name]
    path = tmp_path / "policy.safetensors"
    path.write_bytes(make(good))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path, message)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    assert grown < 64 * 1024, f"refusing it took {grown} KiB"


def test_weights_that_overflow_are_refused_when_they_are_used(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    tensors = {name: np.full_like(tensor, 3e38) for name, tensor in load(good).items()}
    path.write_bytes(save(tensors, metadata=META))
    policy, _ = klrl_envs.load_policy(path, klrl_envs.evaluation_task(GRID))
    with pytest.raises(ValueError, match="the policy"):
        klrl_envs.evaluate(policy, "klrl/GridNavigationFeatures-v0", episodes=8)


def test_what_is_no_regular_file_is_refused(good: bytes, tmp_path: Path) -> None:
    real = tmp_path / "real.safetensors"
    real.write_bytes(good)
    link, pipe, folder = (tmp_path / f"{name}.safetensors" for name in ("link", "pipe", "folder"))
    link.symlink_to(real)
    os.mkfifo(pipe)
    folder.mkdir()
    refused(link, "links are not followed")
    refused(pipe, "is no regular file")
    refused(folder, "is no regular file")
    refused(tmp_path / "missing.safetensors", "No such file")
    refused(tmp_path / "policy.pt", "path must end in one of .safetensors, .onnx")
    vast = tmp_path / "vast.safetensors"
    with vast.open("wb") as stream:
        stream.truncate(MOST_BYTES + 1)  # of zeros that take no place
    refused(vast, "and at most 268,435,456 are read")


def test_an_archive_is_refused(tmp_path: Path) -> None:
    for suffix in ("safetensors", "onnx"):
        path = tmp_path / f"policy.{suffix}"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(print))
        refused(path, "is no safetensors file" if suffix == "safetensors" else "is no ONNX model")


def test_equal_contents_are_equal_files(tmp_path: Path) -> None:
    tensors = {"weight": np.arange(6.0, dtype=np.float32).reshape(2, 3), "bias": np.zeros(3, np.float32)}
    metadata = {name: name for name in "abcdefgh"}
    for number in range(5):
        write_tensors(tmp_path / str(number), tensors, metadata)
    assert len({(tmp_path / str(number)).read_bytes() for number in range(5)}) == 1
    with safe_open(tmp_path / "0", "numpy") as file:
        assert file.metadata() == metadata
        np.testing.assert_array_equal(file.get_tensor("weight"), tensors["weight"])
