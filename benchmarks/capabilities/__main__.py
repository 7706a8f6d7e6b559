"""The runs of the suite "diagnostics" on one page: what every baseline can and cannot do.

    python -m benchmarks.capabilities --jobs 2          # one seed of all that is not on record; hours
    python -m benchmarks.capabilities runs/diagnostics  # take the records of runs that were made elsewhere
    python -m benchmarks.capabilities --draw            # the page alone

An agent's records are kept as it ends. Page and figure are those of `klrl report`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.suites import SUITES
from klrl_envs.results.benchmark import COMMAND_SLACK, Benchmark
from klrl_envs.results.capability import Findings
from klrl_envs.results.document import write_atomically
from klrl_envs.results.findings import findings_of
from klrl_envs.results.outcome import finished
from klrl_envs.results.plan import PlannedRun, expand
from klrl_envs.results.points import Identity, identity, read_records
from klrl_envs.results.record import RunRecord
from klrl_envs.results.report_matrix import draw_matrix
from klrl_envs.results.report_page import capabilities_part
from klrl_envs.results.rules import task_sha256
from klrl_envs.results.session import STOPPED, run_session
from klrl_envs.showing import NO_MATPLOTLIB, has_matplotlib

FOLDER = Path(__file__).parent
KEPT = "records"
SEED = 0
OUT = re.compile(r"--out \S+")
"""Where a run wrote, which is of its machine."""
HEAD = """# What every baseline can and cannot do

Made by `python -m benchmarks.capabilities`: {runs} of the {planned} runs of the suite "diagnostics" with
seed {seed}, {agents} agents, {tokens:,} tokens, {minutes:.0f} minutes of one core, at {commits}.
`klrl report` makes the same numbers of your own agent's results.
"""


def of_record(record: RunRecord) -> Identity:
    """Which run a record is of."""
    return identity(record.agent.name, record.env_id, record.env_kwargs, record.seed)


def of_plan(run: PlannedRun) -> Identity:
    """Which run is planned."""
    return identity(run.agent, run.env_id, run.env_kwargs, run.seed)


def planned() -> list[PlannedRun]:
    """The runs that the page is of, agent by agent."""
    return [run for run in expand(SUITES["diagnostics"]) if run.seed == SEED]


def take(folder: Path) -> list[RunRecord]:
    """The records under a folder that are of the suite, of its budget and of the tasks as they are now.

    Raises:
        ValueError: as ``read_records``, or there are none.
    """
    budgets = {of_plan(run): run.tokens * COMMAND_SLACK for run in planned()}
    every = read_records(folder)
    found = [
        each
        for each in every
        if each.tokens <= budgets.get(of_record(each), -1)
        and each.task_sha256 == task_sha256(each.env_id, json.dumps(each.env_kwargs, sort_keys=True))
    ]
    if not found:
        raise ValueError(f'no record of {len(every)} in {str(folder)!r} is of the suite "diagnostics"')
    if len(found) < len(every):
        print(f"passed over {len(every) - len(found)} records that are not of the suite as it is now")
    return found


def keep(records: Iterable[RunRecord], folder: Path) -> None:
    """Keep records, a file for each agent, beside those that are kept or in place of them."""
    (folder / KEPT).mkdir(parents=True, exist_ok=True)
    found = {of_record(each): each for each in (*kept(folder), *records)}
    ordered = [found[name] for name in sorted(found)]
    for name, group in groupby(ordered, key=lambda each: each.agent.name):
        plain = [each.plain() for each in group]
        for data in plain:
            data["command"] = OUT.sub("--out {out}", data["command"])
        lines = ",\n".join(json.dumps(data) for data in plain)
        write_atomically(folder / KEPT / f"{name}.json", f"[\n{lines}\n]\n")


def kept(folder: Path) -> list[RunRecord]:
    """The records that are kept."""
    paths = sorted((folder / KEPT).glob("*.json"))
    return [RunRecord.model_validate(data) for path in paths for data in json.loads(path.read_text("utf-8"))]


def page(records: Sequence[RunRecord], findings: Findings) -> str:
    """The page of records and what was found in them, as Markdown."""
    head = HEAD.format(
        runs=len(records),
        planned=len(planned()),
        seed=SEED,
        agents=len(findings),
        tokens=sum(each.tokens for each in records),
        minutes=sum(each.seconds for each in records) / 60,
        commits=", ".join(f"`{commit[:12]}`" for commit in sorted({each.commit for each in records})),
    )
    return "\n".join([head, *capabilities_part(findings, records)]) + "\n"


def run_missing(benchmark: Benchmark, folder: Path, jobs: int) -> int:
    """Run what is not on record, and keep each agent's records as it ends; the worst exit code."""
    there = {(*of_record(record), record.task_sha256) for record in kept(folder)}
    worst = 0
    for _, group in groupby(planned(), key=lambda run: run.agent):
        missing = [
            run
            for run in group
            if (*of_plan(run), benchmark.fingerprint(run.env_id, run.settings)) not in there
        ]
        if missing:
            code = run_session(missing, benchmark, jobs=jobs)
            keep(finished(missing, benchmark), folder)
            worst = max(worst, code)
            if code == STOPPED:
                break
    return worst


def main(words: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.capabilities",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="?", type=Path, help="a folder of runs whose records are taken")
    parser.add_argument("--draw", action="store_true", help="the page of what is on record, and no run")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, of one thread each")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/diagnostics"), help="where runs write that are made"
    )
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder of the page and the records")
    options = parser.parse_args(words)
    if not has_matplotlib():
        parser.error(NO_MATPLOTLIB)
    worst = 0
    if options.runs is not None:
        try:
            keep(take(options.runs), options.out)
        except ValueError as error:
            parser.error(str(error))
    elif not options.draw:
        benchmark = Benchmark(out=options.work.resolve(), entries=None, threads=1)
        worst = run_missing(benchmark, options.out, options.jobs)
    records = kept(options.out)
    if not records:
        parser.error(f"no records are kept in {options.out / KEPT}")
    findings = findings_of(records)
    draw_matrix(findings, options.out)
    write_atomically(options.out / "README.md", page(records, findings))
    print(f"written to {options.out}")
    return worst


if __name__ == "__main__":
    sys.exit(main())
