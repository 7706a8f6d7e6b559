"""The checks of reliability: each holds on what is sound and fails on what is broken; the page is theirs."""

from __future__ import annotations

import copy
import importlib
import mmap
import os
import random
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from benchmarks.reliability import (
    __main__ as command,
)
from benchmarks.reliability import (
    copies,
    determinism,
    disk_full,
    killed_certify,
    killed_runner,
    killed_training,
    kills,
    memory,
    page,
    small_agent,
    start_methods,
    versions,
    writers,
)
from benchmarks.reliability.record import CHECKS, FOLDER, RECORDS, ROOT, Finding, Record
from klrl_envs.ledger import VARIABLE

KEYWORDS = "klrl/Keywords-v0"
linux = pytest.mark.skipif(not memory.STATM.exists(), reason="needs /proc")


class Broken(gym.Wrapper[Any, Any, Any, Any]):
    """Pays by chance, by its process, and from a memory that all copies share."""

    shared: list[float] = []  # noqa: RUF012

    def __init__(self, how: str) -> None:
        super().__init__(copies.made(KEYWORDS, None))
        self.how = how

    def step(self, action: Any) -> Any:
        observation, _, *rest = self.env.step(action)
        self.shared.append(1.0)
        paid = {"chance": random.SystemRandom().random(), "process": os.getpid(), "shared": len(self.shared)}
        return observation, paid[self.how], *rest


def test_play_by_chance_is_seen() -> None:
    def digests(env: Any) -> dict[int, str]:
        return {seed: determinism.digest_of_play(env, seed, 50) for seed in (0, 1)}

    env = gym.make(KEYWORDS)
    sound = [digests(env), digests(env)]
    assert determinism.compared("play", sound).holds
    broken = Broken("chance")
    assert not determinism.compared("play", [digests(broken), digests(broken)]).holds
    assert not determinism.compared("play", [{0: "a", 1: "a"}] * 2).holds, "nothing was compared"


def test_processes_hash_by_the_seed_that_they_are_given() -> None:
    words = [sys.executable, "-c", "print(hash('a'))"]
    assert determinism.told(words, 1) == determinism.told(words, 1) != determinism.told(words, 2)
    with pytest.raises(RuntimeError, match="no good"):
        determinism.told([sys.executable, "-c", "raise SystemExit('no good')"], 1)


def test_another_end_of_a_training_is_seen(tmp_path: Path) -> None:
    for name in ("one", "other"):
        ended(tmp_path / name)
    digest = determinism.digest_of_training
    assert digest(tmp_path / "one" / "out") == digest(tmp_path / "other" / "out")
    save_file({"weight": np.ones(3)}, tmp_path / "other" / "out" / "policy.safetensors")
    assert digest(tmp_path / "one" / "out") != digest(tmp_path / "other" / "out")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_that_pays_otherwise_is_seen(method: str) -> None:
    assert start_methods.differences(partial(start_methods.made, KEYWORDS), method, 2, 10) == 0
    assert start_methods.differences(partial(Broken, "process"), method, 2, 10) == 10


def test_a_copy_that_shares_is_seen() -> None:
    for copier in (copies.from_pickle, copy.deepcopy):
        assert copies.apart(copies.made(KEYWORDS, None), copier, 30) == 0
        assert copies.apart(copies.made(KEYWORDS, 3), copier, 30) == 0
        broken = Broken("shared")
        broken.reset(seed=0)
        assert copies.apart(broken, copier, 30) > 0
    subjects = [(copies.made(KEYWORDS, None), 5)]
    one, other = (copies.played(copies.made(KEYWORDS, None), [1, 2, count]) for count in (3, 4))
    assert copies.difference(one, other) > 0 and copies.difference(one, one[:-1]) == float("inf")
    assert copies.through_files(subjects) == [0.0]


@linux
def test_a_leak_is_seen() -> None:
    kept: list[mmap.mmap] = []

    def leaking() -> None:
        """A page of its own: what was freed before cannot serve for it."""
        kept.append(mmap.mmap(-1, 1 << 16))
        kept[-1].write(b"x" * len(kept[-1]))

    assert memory.judged("sound", memory.growth(memory.stepper(KEYWORDS, 0), 300, 100)).holds
    leak = memory.growth(leaking, 500, 10)
    assert leak > 5 * memory.MEGABYTE and not memory.judged("leak", leak).holds
    (found,) = memory.measure([(KEYWORDS, 2, 200)])
    assert found.holds and "2 lanes" in found.what


@pytest.mark.slow
def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    found = [
        writers.ledger(tmp_path, 2),
        writers.results(tmp_path / "together", 2, 2, apart=False),
        writers.results(tmp_path / "apart", 3, 2, apart=True),
        writers.board(tmp_path, 2),
    ]
    assert [each.holds for each in found] == [True] * 4, found
    # a seed that is lost, a run that was begun twice, a torn file
    together = tmp_path / "together"
    holds = lambda: writers.of_results(together, "results", 2).holds  # noqa: E731
    assert holds() and not writers.of_results(together, "results", 3).holds
    (together / "entries" / "torn.json").write_text('{"a": ')
    assert not holds()
    (together / "entries" / "torn.json").unlink()
    with (together / "calls.jsonl").open("a") as file:
        file.write('{"seed": 0}\n')
    assert not holds()
    # a page of another board, an entry that is lost
    board = partial(writers.of_board, tmp_path / "board", tmp_path / "alone")
    assert board(2).holds and not board(3).holds
    (tmp_path / "alone" / "TABLE.md").write_text("another")
    assert not board(2).holds


def test_a_ledger_that_lost_or_tore_a_line_is_seen(tmp_path: Path) -> None:
    line = '{"task": "a", "split": "none", "purpose": "training", "tokens": %d, "texts": 1}\n'
    path = tmp_path / "ledger.jsonl"
    path.write_text(line % 5 + line % 7)
    assert writers.of_ledger(path, [5, 7]).holds
    assert not writers.of_ledger(path, [5, 8]).holds
    path.write_text(line % 5 + (line % 7)[:20])
    assert not writers.of_ledger(path, [5, 7]).holds
    with pytest.raises(RuntimeError, match="no good"):
        writers.at_once([[sys.executable, "-c", "raise SystemExit('no good')"]])


COUNTS = """
import os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
path = folder / "count"
while (done := int(path.read_text()) if path.exists() else 0) < 40:
    time.sleep(0.01)
    if sys.argv[2] == "torn":
        path.write_text("")
        time.sleep(0.02)
    (folder / "new").write_text(str(done + 1))
    os.replace(folder / "new", path)
"""


def counting(how: str) -> kills.Subject:
    """Counts to 40 in a file that is whole or, most of the time, torn."""
    return kills.Subject(
        lambda folder: [sys.executable, "-c", COUNTS, str(folder), how],
        lambda folder: (folder / "count").exists() and (folder / "count").read_text() == "40",
    )


def test_it_is_killed_so_often_and_goes_on(tmp_path: Path) -> None:
    whole, lives = kills.killed(counting("whole"), tmp_path, 5, seed=0)
    assert lives and {(life / "count").read_text() for life in (whole, *lives)} == {"40"}
    with pytest.raises(RuntimeError, match="it does not go on in"):
        kills.killed(counting("torn"), tmp_path / "torn", 20, seed=0)


def ended(folder: Path, tokens: int = 100) -> Path:
    """What a training leaves, in small."""
    out = folder / "out"
    out.mkdir(parents=True)
    seed = writers.Entry.load(writers.ENTRIES / "GridNavigation-v0--reinforce.json").records()[0]
    seed.model_copy(update={"tokens": tokens}).save(out / "result.json")
    save_file({"weight": np.zeros(3)}, out / "policy.safetensors")
    (out / "episodes.jsonl").write_text("{}\n")
    line = '{"task": "a", "split": "none", "purpose": "training", "tokens": %d, "texts": 1}\n'
    (folder / "ledger.jsonl").write_text(line % 100)
    return folder


def test_a_training_that_ends_otherwise_or_counts_too_low_is_seen(tmp_path: Path) -> None:
    whole = ended(tmp_path / "whole")

    def holds(life: Path, *, shared: bool) -> list[bool | None]:
        return [each.holds for each in killed_training.judged(whole, [life], 1, shared=shared)]

    low, high = ended(tmp_path / "low", 99), ended(tmp_path / "high", 101)
    assert holds(whole, shared=True) == holds(high, shared=False) == [True, True]
    assert holds(low, shared=False) == holds(high, shared=True) == [True, False]
    (high / "out" / "episodes.jsonl").write_text("{}\n{}\n")
    assert holds(high, shared=False) == [False, True]


def test_another_certificate_is_seen(tmp_path: Path) -> None:
    for name, data in {"whole": b"a", "life": b"a", "other": b"b", "left": b"a"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / killed_certify.NAME).write_bytes(data)
    (tmp_path / "left" / "certificate.partial").write_bytes(b"")
    found = {
        name: killed_certify.judged(tmp_path / "whole", [tmp_path / name], 1)[0].holds
        for name in ("life", "other", "left")
    }
    assert found == {"life": True, "other": False, "left": False}


@pytest.mark.slow
@linux
def test_a_benchmark_that_loses_or_leaves_something_is_seen(tmp_path: Path) -> None:
    subject = killed_runner.subject(seeds=1)
    assert not subject.finished(tmp_path / "whole")
    subject.to_its_end(tmp_path / "whole")
    assert subject.finished(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "life")
    holds = lambda: killed_runner.judged(tmp_path / "whole", [tmp_path / "life"], 1)[0].holds  # noqa: E731
    assert holds()
    (seed,) = (tmp_path / "life" / "out").glob("*/seed-0")
    environment = {**os.environ, VARIABLE: str(seed / "ledger.jsonl")}
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=environment)
    assert not holds(), "a process was left"
    left.kill()
    left.wait()
    assert holds()
    ledger = seed / "ledger.jsonl"
    text = ledger.read_text()
    ledger.write_text(text.replace(f"{small_agent.SUITE_TOKENS:>16d}", f"{10**6:>16d}"))
    assert text != ledger.read_text() and not holds(), "the record states too few"
    ledger.write_text(text)
    (entry,) = (tmp_path / "life" / "entries").glob("*.json")
    entry.write_text(re.sub(r'"kl": 0\.0', '"kl": 1e-9', entry.read_text()))
    assert not holds(), "another number"


def test_what_is_torn_on_a_full_disk_is_seen(tmp_path: Path) -> None:
    whole = {
        "result.json": b"{}", "progress.jsonl": b"{}\n", "ledger.jsonl": b"",
        "log.txt": b"half a li", "empty.jsonl": b"",
    }  # fmt: skip
    broken = {
        "half.json": b"{", "half.jsonl": b'{}\n{"a', "no-end.jsonl": b"{}", "half.safetensors": b"\x08\x00",
        ".result.json.1.tmp": b"{}", "checkpoint.partial": b"", "ledger-1.jsonl": b'{"task',
    }  # fmt: skip
    for name, data in {**whole, **broken}.items():
        (tmp_path / name).write_bytes(data)
    assert set(disk_full.torn(tmp_path)) == set(broken)


def test_a_full_disk_is_judged_by_all_that_came_of_it() -> None:
    good, fine = disk_full.Outcome(True, True, (), True), disk_full.Outcome(False, False, (), True)
    assert disk_full.judged("it", [good, fine]).holds
    assert not disk_full.judged("it", [fine]).holds, "the disk was never full"
    for bad in (
        disk_full.Outcome(True, False, (), True),
        disk_full.Outcome(True, True, ("half.json",), True),
        disk_full.Outcome(True, True, (), False),
    ):
        assert not disk_full.judged("it", [good, bad]).holds


@pytest.mark.slow
@pytest.mark.skipif(disk_full.namespace() is None, reason="needs a mount namespace")
def test_a_certificate_on_a_full_disk(tmp_path: Path) -> None:
    (found,) = disk_full.measure(["a certificate"], [0.0])
    assert found.holds and found.seen.startswith("1 failed, 1 of them said why; torn: none; 1 went on")


def test_versions_are_those_that_are_declared() -> None:
    oldest, newest = versions.settings()
    jobs: Any = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))["jobs"]
    assert jobs["suite"]["strategy"]["matrix"]["python"] == [oldest.python, newest.python]
    setup = next(step for step in jobs["versions"]["steps"] if "setup-python" in step.get("uses", ""))
    assert {oldest.python, newest.python} == set(setup["with"]["python-version"].split())
    assert (oldest.resolution, newest.resolution) == ("lowest-direct", "highest")


def test_what_cannot_be_installed_or_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = versions.Setting("3.0", "highest", "newest")
    failed = versions.judged(setting, sys.executable, "python3.0", tmp_path / "no.whl", tmp_path)
    assert failed.holds is False and "venv" in failed.seen
    monkeypatch.setattr(versions, "built", lambda uv, folder: folder / "no.whl")
    monkeypatch.setattr(shutil, "which", lambda name: sys.executable if name == "uv" else None)
    (found,) = versions.measure([setting])
    assert found.holds is None and found.seen == "not run: there is no python3.0 on the PATH"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (found,) = versions.measure([setting])
    assert found.holds is None and found.seen == "not run: uv is not installed"


def test_the_command_keeps_records_and_fails_where_something_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find(holds: bool | None) -> None:
        found = Finding(what="it", seen="1", limit="2", holds=holds)
        monkeypatch.setattr(memory, "measure", lambda: [found])

    for holds, code in ((True, 0), (None, 0), (False, 1)):
        find(holds)
        assert command.main(["--only", "memory", "--out", str(tmp_path)]) == code
        assert Record.load(tmp_path / "records" / "memory.json").holds == (code == 0)
    assert "memory: FAILS: it: 1 (limit: 2)" in capsys.readouterr().out
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "0 of 1 findings hold, 1 fail" in text and "| it | 1 | 2 | **fails** |" in text
    assert text.count("Not run yet.") == len(CHECKS) - 1
    assert command.main(["--draw", "--out", str(tmp_path)]) == 0


def test_every_check_has_a_record_and_the_page_is_of_them() -> None:
    records = page.read_records(RECORDS)
    assert list(records) == list(CHECKS)
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == page.page(records)
    for name, record in records.items():
        assert record.name == name and record.holds, name
        assert hasattr(importlib.import_module(f"benchmarks.reliability.{name}"), "measure")
