"""`klrl benchmark`: an agent of one's own, given as a command, on a suite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from klrl_envs.cli.options import ImportOption, JsonOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from klrl_envs.results.engine import Engine
    from klrl_envs.results.plan import PlannedRun
    from klrl_envs.results.suites import Suite

EPILOG = """Examples:

[bold]klrl benchmark --agent mine --command "python mine.py"[/]

[bold]klrl benchmark --agent mine --command "python mine.py" --suite core --dry-run[/]

[bold]klrl benchmark --agent mine --command "python mine.py" --suite core --only env=Keywords-v0,Haiku-v0[/]

[bold]klrl benchmark --agent mine --command "python -m mine --lr 0.1" --suite diagnostics --jobs 4[/]

Then [bold]klrl check runs/mine[/] and [bold]klrl report runs/mine[/]."""

SUITE_HELP = (
    "quick: minutes, and no final entry; core: every environment, all seeds, the whole budget; diagnostics: "
    "the sweeps that klrl report reads; or a JSON file of experiments, which names agents and commands."
)


def benchmark(
    agent: Annotated[str | None, typer.Option(help="Its name, which its results say too.")] = None,
    command: Annotated[
        str | None, typer.Option(help='What starts it, such as "python mine.py"; "python" is this one.')
    ] = None,
    suite: Annotated[str, typer.Option(metavar="core|diagnostics|quick|FILE", help=SUITE_HELP)] = "quick",
    out: Annotated[Path | None, typer.Option(help="Where runs write; runs/AGENT by default.")] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Runs at once; 1 by default, on a cluster all that fit.", min=1)
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of a run; by default OMP_NUM_THREADS, or the cores by the jobs.", min=1),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="env=, seed= or agent=, with commas; may be repeated."),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Other seeds than the suite's, such as 0,1,2.")] = None,
    modules: ImportOption = None,
    engine: Annotated[
        str,
        typer.Option(metavar="local|ray", help="Processes here, or a Ray cluster: benchmarks/CLUSTER.md."),
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the cluster; RAY_ADDRESS by default, or one of this machine.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands only.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run an agent of your own, in any language, over a suite, and write its results and entries.

    To the command are added --env-id ID --tokens N --seed S --out DIR, and
    --env-kwargs JSON where a suite changes the environment. It trains, writes
    at most N tokens, and leaves DIR/result.json, which klrl_envs.write_result
    makes. It starts in the folder where you are, with your environment variables
    (PYTHONPATH among them) as they are, but for numbers of threads, unbuffered
    output, and KLRL_LEDGER, where its tokens are counted; the word python is the
    interpreter that runs klrl.

    Runs that are done are not done again: stop it and start it at will. Entries
    of the leaderboard go to OUT/entries. Where a run failed the exit code is 1.
    """
    from klrl_envs.results.engine import Engine, engine_of

    experiments, folder = suite_of(agent, command, suite)
    runs = planned(experiments, only or [], seeds)
    raise typer.Exit(
        start(
            runs,
            folder if out is None else out,
            engine=Engine() if dry_run else engine_of(engine, address),
            jobs=jobs,
            threads=threads,
            dry_run=dry_run,
            console=Console(),
            as_json=as_json,
        )
    )


def suite_of(agent: str | None, command: str | None, suite: str) -> tuple[Suite, Path]:
    """The experiments that are asked for, and the folder that their runs write to by default.

    Raises:
        ValueError: an agent and a command that are missing, beside a file that names its own, or unusable.
    """
    from klrl_envs.results.suites import SUITES_OF_AN_AGENT, load_suite

    if suite not in SUITES_OF_AN_AGENT:
        if not suite.endswith(".json"):
            raise ValueError(
                f"--suite must be {', '.join(SUITES_OF_AN_AGENT)} or a .json file, got {suite!r}"
            )
        if agent is not None or command is not None:
            raise ValueError(f"--agent and --command go with a suite's name; {suite} names its own")
        return load_suite(suite, {}), Path("runs") / Path(suite).stem
    if not agent or not command:
        missing = "--agent" if not agent else "--command"
        raise ValueError(f"{missing} is missing: --suite {suite} runs --command as the agent --agent")
    check_agent(agent, command)
    return SUITES_OF_AN_AGENT[suite](agent, command), Path("runs") / agent


def check_agent(agent: str, command: str) -> None:
    """Raise ValueError where no run could succeed: a name that no result may have, or no such program."""
    from shutil import which

    from pydantic import TypeAdapter, ValidationError

    from klrl_envs.results.processes import words_of
    from klrl_envs.results.record import Name

    try:
        TypeAdapter[str](Name).validate_python(agent)
    except ValidationError:
        raise ValueError(
            f"--agent must be letters, digits, '.', '_' and '-', a letter or digit first, got {agent!r}"
        ) from None
    program = words_of(command, {})[0]
    if which(program) is None:
        raise ValueError(f"--command starts with {program!r}, which is no program here")


def planned(experiments: Suite, only: Sequence[str], seeds: str | None) -> list[PlannedRun]:
    """The runs of experiments, with other seeds where they are given, that meet all conditions.

    Raises:
        ValueError: seeds that are no whole numbers, or a condition that leaves nothing.
    """
    from dataclasses import replace

    from klrl_envs.results.plan import choose, expand

    if seeds is not None:
        if not all(part.isdecimal() for part in seeds.split(",")):
            raise ValueError(f"--seeds must be whole numbers with commas, such as 0,1,2, got {seeds!r}")
        numbers = tuple(dict.fromkeys(int(part) for part in seeds.split(",")))
        experiments = tuple(replace(each, seeds=numbers) for each in experiments)
    return choose(expand(experiments), only)


def start(
    runs: Sequence[PlannedRun],
    out: Path,
    *,
    engine: Engine,
    jobs: int | None,
    threads: int | None,
    dry_run: bool,
    console: Console,
    as_json: bool,
) -> int:
    """Run, or print, what was planned, and say what the leaderboard would not take; the exit code."""
    from klrl_envs.results.benchmark import Benchmark
    from klrl_envs.results.outcome import refusals
    from klrl_envs.results.provenance import commit
    from klrl_envs.results.session import print_commands, run_session

    folder = out.resolve()
    at_once, threads_of_run = engine.shares(jobs, threads)
    benchmark = Benchmark(
        out=folder,
        entries=folder / "entries",
        threads=threads_of_run,
        processes=engine.processes,
        trusting=False,  # the runs lie beside the entries, which are made of them alone
        rules=lambda entry: None,  # what only the leaderboard asks for, such as a commit, is told below
    )
    if dry_run:
        return print_commands(runs, benchmark)
    # what is not the result goes where it spoils no JSON
    beside = Console(stderr=True) if as_json else console
    now = commit(Path.cwd())
    if now == "unknown" or now.endswith("-dirty"):
        state = "no commit here" if now == "unknown" else "changes here that are not committed"
        text = f"there are {state}: results are fine for yourself, and the leaderboard takes none of them"
        beside.print(text.replace("there are no", "there is no"), markup=False, soft_wrap=True)
    code = run_session(runs, benchmark, jobs=at_once, console=console, as_json=as_json)
    written = sorted({str(path) for run in runs if (path := benchmark.entry(run)) and path.exists()})
    if written:
        beside.print(f"entries: {out / 'entries'}", markup=False, highlight=False, soft_wrap=True)
    for problem, names in refusals(runs, benchmark).items():
        text = f"the leaderboard would not take {', '.join(names)}: {problem}"
        beside.print(text, markup=False, highlight=False, soft_wrap=True)
    return code
