"""Budgets: records take the ledger's number, and the runner compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klrl_envs
from klrl_envs.ledger import Account, Book, Counts, Tally, mark
from klrl_envs.results.benchmark import Failure
from klrl_envs.results.ledger import LEDGER, check_ledger
from klrl_envs.results.plan import PlannedRun
from klrl_envs.results.record import RunRecord
from klrl_envs.results.rules import task_sha256
from tests.results.dummy import bench
from tests.results.records import record

MINE = {"name": "mine", "url": "https://example.org/mine", "license": "MIT"}
MODES = "klrl/DiagnosticModes-v0"

AGENT = f"""
import sys
import numpy as np
import klrl_envs

options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
task = klrl_envs.make_task("{MODES}")
def write(lanes):
    engine = klrl_envs.Engine(task, lanes)
    engine.seed_lanes(np.random.default_rng(0))
    engine.reset(np.arange(lanes))
    engine.step(np.zeros(lanes, dtype=np.int64))
write(60)
tokens = {{"lie": 50, "more": 500}}.get(options.get("--mode"))
hidden = klrl_envs.ledger.mark() if options.get("--mode") == "since" else None
write(40)
evaluation = klrl_envs.evaluate("reference", "{MODES}", episodes=64)
if options.get("--mode") == "lie":
    hidden = klrl_envs.ledger.mark()
klrl_envs.write_result(
    evaluation, options["--out"], agent={MINE!r}, command="mine", tokens=tokens, since=hidden,
)
if options.get("--mode") == "late":
    write(1)
if options.get("--mode") == "evaluation":
    tokens = klrl_envs.as_reward_fn("klrl/Arithmetic-v0", prompts="evaluation")
    prompt = tokens.task.text(tokens.task.padded_prompts[0])
    tokens([prompt], [""])
"""


def outcome(tmp_path: Path, mode: str) -> RunRecord | Failure:
    """What the runner makes of an agent that writes 100 tokens."""
    script = tmp_path / "agent.py"
    script.write_text(AGENT)
    run = PlannedRun("mine", f"python {script} --mode {mode}", MODES, 0, 1000)
    made = bench(tmp_path, sha=task_sha256(MODES))
    found = made.execute(run)
    assert isinstance(found, Failure) == (made.finished(run) is None), "on resuming the same is found"
    return found


def test_a_record_has_the_tokens_that_the_ledger_counted(tmp_path: Path):
    found = outcome(tmp_path, "honest")
    assert isinstance(found, RunRecord), found
    assert (found.tokens, found.budget) == (100, "counted") and 0 < found.seconds < 100
    assert (tmp_path / "out" / "DiagnosticModes-v0--mine" / "seed-0" / LEDGER).exists()
    more = outcome(tmp_path, "more")
    assert isinstance(more, RunRecord) and (more.tokens, more.budget) == (500, "declared")


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("lie", "tokens 50, and the ledger counts 100"),
        ("since", "tokens 40, and the ledger counts 100"),
        ("late", "tokens 100, and the ledger counts 101"),
        ("evaluation", "1 texts of evaluation prompts were rewarded outside klrl_envs.evaluate"),
    ],
)
def test_who_writes_more_than_the_record_says_fails(tmp_path: Path, mode: str, reason: str):
    found = outcome(tmp_path, mode)
    assert isinstance(found, Failure) and reason in found.reason


def test_what_the_ledger_has_to_say_of_a_record():
    account = Account("GridNavigation-v0", "none", "training")
    check_ledger(record(tokens=1000), Counts({account: Tally(900, 1)}))
    check_ledger(record(tokens=1000), Counts())
    check_ledger(record(tokens=900, budget="counted"), Counts({account: Tally(900, 1)}))
    for tokens, budget in ((899, "declared"), (901, "counted")):
        with pytest.raises(ValueError, match=f"tokens {tokens}, and the ledger counts 900"):
            check_ledger(record(tokens=tokens, budget=budget), Counts({account: Tally(900, 1)}))


def written(out: Path, **changes: Any) -> RunRecord:
    evaluation = klrl_envs.evaluate("reference", MODES, episodes=64)
    return klrl_envs.write_result(evaluation, out, agent=MINE, command="mine", checkout=out, **changes)


def test_declared_tokens_are_not_fewer_than_the_ledger_counts(tmp_path: Path):
    since = mark()
    engine = klrl_envs.Engine(klrl_envs.make_task(MODES), 70)
    engine.seed_lanes(np.random.default_rng(0))
    engine.reset(np.arange(70))
    engine.step(np.zeros(70, dtype=np.int64))
    with pytest.raises(ValueError, match="at least the 70 that the ledger has counted, got 69"):
        written(tmp_path, since=since, tokens=69)
    assert written(tmp_path, since=since, tokens=70).budget == "declared"
    found = written(tmp_path, since=since)
    assert (found.tokens, found.budget) == (70, "declared"), "without a file only this process was counted"
    assert written(tmp_path, since=mark()).tokens == 0


def test_rewards_for_evaluation_prompts_are_told_at_once(tmp_path: Path):
    since = mark()
    task = klrl_envs.make_task("klrl/Arithmetic-v0", prompts="evaluation")
    task.text_rewards([task.text(task.padded_prompts[0])], [""])
    with pytest.warns(UserWarning, match="1 texts of evaluation prompts were rewarded outside"):
        written(tmp_path, since=since)


def test_a_ledger_counts_for_the_book_that_has_it(tmp_path: Path):
    """A second book of the same file is another process: nothing is summed twice."""
    book = Book(str(tmp_path / LEDGER))
    book.count("a", "none", 3, 1)
    assert book.counts() == klrl_envs.ledger.read_ledger(tmp_path / LEDGER)
