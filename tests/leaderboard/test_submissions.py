"""Whatever lies in the place of an entry or a record ends in one clear line, and is never taken for one."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from klrl_envs.results.document import LARGEST_FILE
from klrl_envs.results.entry import Entry, entry_path
from klrl_envs.results.guard import check_entry, check_record
from klrl_envs.results.record import RunRecord
from leaderboard.build import build
from tests.results.guarded import OLDER
from tests.results.records import fields

SUBMISSIONS = 1000
WRONG: tuple[Any, ...] = (
    None, True, False, "", "0.5", "\ud800", "a\nb", [], [[]], {}, {"a": 1}, -1, 10**30, -(10**4000), 1e308, -1e308, 1e99,
    float("nan"), float("inf"), "../../etc/passwd", "a" * 10_000,
)  # fmt: skip
NAMES = ("../x", "..", "a/b", "/etc/passwd", "a\x00b", ".hidden", "", "a b", "x" * 300, "a\\b", "ü")
TEXTS = (
    b"", b" ", b"\x00", b"\xff\xfe", b"\x80" * 100, b"null", b"[]", b"{}", b"1", b'"x"', b"NaN", b"{",
    b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000, b"9" * 100_000, b"1e400",
    b'{"seeds": 1e400}', b"\xef\xbb\xbf{}", os.urandom(4096), b"\x1f\x8b\x08\x00", b"PK\x03\x04",
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inside for place in places(part, (*path, key)))][
        0 if path else 1 :
    ]


def put(value: Any, place: tuple[Any, ...], new: Any) -> None:
    for key in place[:-1]:
        value = value[key]
    value[place[-1]] = new


FREE = {"url", "license", "observes", "trains", "tuned", "command", "commit", "gpu", "cpu", "python", "torch"}
"""Texts that may be anything, or nearly."""
FREE |= {"klrl_envs", "gymnasium", "stable_baselines3", "memory_gb", "seconds", "hardware", "versions"}


def altered(rng: random.Random, whole: dict[str, Any]) -> bytes:
    """A real submission with one value replaced by one of another kind."""
    data = copy.deepcopy(whole)
    put(data, rng.choice([each for each in places(data) if each[-1] not in FREE]), rng.choice(WRONG))
    return b"" if data == whole else json.dumps(data).encode()


def lacking(rng: random.Random, whole: dict[str, Any]) -> bytes:
    """One with a field of another name."""
    data = copy.deepcopy(whole)
    name = rng.choice(list(data))
    data[rng.choice(["x", name + " ", name.upper(), "\ud800", "a\nb"])] = data.pop(name)
    return json.dumps(data).encode()


def cut(rng: random.Random, whole: dict[str, Any]) -> bytes:
    """One that ends too early."""
    text = json.dumps(whole).encode()
    return text[: rng.randrange(len(text) - 1)]


def flipped(rng: random.Random, whole: dict[str, Any]) -> bytes:
    """One with bytes that are no text."""
    text = bytearray(json.dumps(whole).encode())
    for _ in range(rng.randint(1, 5)):
        text[rng.randrange(len(text))] = rng.randrange(128, 256)
    return bytes(text)


def doubled(rng: random.Random, whole: dict[str, Any]) -> bytes:
    """One that says a thing twice."""
    name = rng.choice(list(whole))
    return (json.dumps(whole)[:-1] + f", {json.dumps(name)}: {json.dumps(whole[name])}}}").encode()


def named(rng: random.Random, whole: dict[str, Any]) -> bytes:
    """One whose name leads elsewhere."""
    name = rng.choice(NAMES)
    if rng.random() < 0.5:
        return json.dumps({**whole, "env_id": f"klrl/{name}"}).encode()
    return json.dumps({**whole, "agent": {**whole["agent"], "name": name}}).encode()


def odd(rng: random.Random, whole: dict[str, Any]) -> bytes:
    """One of the texts that break readers."""
    return rng.choice(TEXTS)


KINDS: tuple[Callable[[random.Random, dict[str, Any]], bytes], ...] = (
    altered, altered, altered, lacking, cut, flipped, doubled, named, odd,
)  # fmt: skip


def told_of(load: Callable[[Path], object], path: Path) -> str:
    """The one line that a file ends in."""
    with pytest.raises(ValueError) as caught:
        load(path)
    told = str(caught.value)
    assert told and told.isprintable() and len(told) < 3_000, told
    return told


def entry_of(path: Path) -> None:
    check_entry(Entry.load(path))


def record_of(path: Path) -> None:
    check_record(RunRecord.load(path))


def test_a_thousand_submissions_are_refused(tmp_path: Path):
    rng = random.Random(0)
    for number in range(SUBMISSIONS):
        whole = rng.choice(OLDER[:3])
        load, path = entry_of, entry_path(whole["env_id"], whole["agent"]["name"], tmp_path)
        if number % 4 == 0:  # a record in the place of an entry's
            whole, load, path = fields(), record_of, tmp_path / "result.json"
        text = rng.choice(KINDS)(rng, whole)
        path.write_bytes(text)
        told_of(load, path)


def test_what_is_no_plain_file_is_refused(tmp_path: Path):
    whole = OLDER[0]
    path = entry_path(whole["env_id"], whole["agent"]["name"], tmp_path)
    real = tmp_path / "real"
    real.write_text(json.dumps(whole), encoding="utf-8")
    makers: tuple[Callable[[], None], ...] = (
        lambda: path.symlink_to(real), lambda: path.symlink_to("/dev/zero"), lambda: path.symlink_to(path),
        lambda: path.symlink_to(tmp_path / "nowhere"), lambda: os.mkfifo(path),
    )  # fmt: skip
    for make in makers:
        make()
        assert "must be a plain file, not a link, a folder, a pipe or a device" in told_of(entry_of, path)
        path.unlink()
    path.mkdir()
    assert "must be a plain file" in told_of(entry_of, path)
    path.rmdir()
    assert "No such file" in told_of(entry_of, path)
    path.write_text(json.dumps(whole) + " " * LARGEST_FILE, encoding="utf-8")
    assert "must have at most 10,000,000 bytes" in told_of(entry_of, path)


def test_each_damage_has_its_reason(tmp_path: Path):
    path = tmp_path / "result.json"
    for text, reason in (
        (b"[" * 100_000, "brackets are nested too deeply"),
        (b'{"a": 1, "a": 2}', "the key 'a' comes twice"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -1e400}', "-1e400 is larger than a number can be"),
        (b"\xff", "utf-8"),
        (b"", "Invalid JSON"),
        (json.dumps(fields(score="0.5")).encode(), "score: Input should be a valid number"),
        (json.dumps(fields(tokens=True, seed=1.5)).encode(), "seed: Input should be a valid integer"),
        (json.dumps({**fields(), "a\nb": 1}).encode(), "a\\nb: Extra inputs are not permitted"),
    ):
        path.write_bytes(text)
        assert reason in told_of(record_of, path)


def test_a_folder_of_them_is_told_file_by_file(tmp_path: Path):
    folder = tmp_path / "entries"
    folder.mkdir()
    for number, text in enumerate(TEXTS):
        (folder / f"{number}.json").write_bytes(text)
    (folder / "folder.json").mkdir()
    with pytest.raises(ValueError) as caught:
        build(tmp_path, tmp_path / "README.md")
    assert len(str(caught.value).splitlines()) == len(TEXTS) + 1
