"""The benchmark runner, on a dummy agent: a command that writes a result.json and nothing else."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from klrl_envs.tasks.diagnostics.sweeps import SWEEPS

from benchmarks.run import Benchmark, choose, end_orphan, main, report, run_suite
from benchmarks.suites import SUITES, Row, Run, expand, load_suite
from klrl_envs.results.progress import Clock, duration
from klrl_envs.results.schema import load_entry, load_result, task_sha256

ROOT = Path(__file__).resolve().parents[2]
SHA = "a" * 64

DUMMY = """
import argparse, json, os, sys, time
parser = argparse.ArgumentParser()
for name in ("--env-id", "--out", "--sha", "--mode"):
    parser.add_argument(name)
parser.add_argument("--env-kwargs", type=json.loads, default={})
for name in ("--seed", "--tokens"):
    parser.add_argument(name, type=int)
options = parser.parse_args()
with open(os.environ["DUMMY_CALLS"], "a") as calls:
    calls.write(f"{options.env_id} {options.seed}\\n")
print("threads", os.environ["OMP_NUM_THREADS"])
if options.mode == "fail" and options.seed == 1:
    print("a reason to fail")
    sys.exit(3)
if options.mode == "silent":
    sys.exit(0)
if options.mode == "sleep":
    time.sleep(60)
score = 1.5 if options.mode == "boast" else 0.5 + 0.1 * options.seed
result = dict(
    schema_version=1, agent=dict(name="dummy", url="https://example.org", license="MIT"),
    env_id=options.env_id, env_kwargs={} if options.mode == "deaf" else options.env_kwargs,
    kl_coef=0.5, task_sha256=options.sha, command=" ".join(sys.argv),
    seed=options.seed, score=score, score_interval=[score - 0.02, score + 0.02], objective=score,
    expected_reward=score + 0.5, kl=1.0,
    regret=1 - score, tokens=options.tokens * (2 if options.mode == "greedy" else 1), seconds=1.0,
    hardware=dict(cpu="test", cores=2, gpu=None, memory_gb=4), versions=dict(python="3", klrl_envs="0",
    gymnasium="1"), commit="0" * 40, date="2026-01-01",
)
with open(os.path.join(options.out, "result.json"), "w") as file:
    json.dump(result, file)
if options.mode == "late":
    sys.exit(3)
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the dummy agent notes that it was started."""
    path = tmp_path / "calls.txt"
    path.touch()
    monkeypatch.setenv("DUMMY_CALLS", str(path))
    return path


@pytest.fixture
def dummy(tmp_path: Path, calls: Path) -> str:
    """The dummy agent's command."""
    script = tmp_path / "dummy.py"
    script.write_text(DUMMY)
    return f"python {script} --sha {SHA}"


def runs_of(command: str, seeds: int = 3, env_id: str = "klrl/Toy-v0") -> list[Run]:
    return [Run("dummy", command, env_id, seed, 1000) for seed in range(seeds)]


def bench(tmp_path: Path, out: str = "out", sha: str = SHA) -> Benchmark:
    return Benchmark(
        out=tmp_path / out,
        entries=tmp_path / "entries",
        threads=1,
        fingerprint=lambda env_id, settings: sha,
        check=lambda result: None,
        rules=lambda entry: None,
    )


def test_runs_become_an_entry(tmp_path: Path, dummy: str, calls: Path):
    assert run_suite(runs_of(dummy), bench(tmp_path), jobs=2) == []
    entry = load_entry(tmp_path / "entries" / "Toy-v0--dummy.json")
    assert [seed.seed for seed in entry.seeds] == [0, 1, 2]
    assert entry.score == pytest.approx(0.6)
    assert entry.score_interval is not None and entry.score_interval[0] < 0.6 < entry.score_interval[1]
    assert entry.command == (f"{dummy} --env-id klrl/Toy-v0 --tokens 1000 --seed {{seed}} --out {{out}}")
    assert "threads 1" in (tmp_path / "out" / "Toy-v0--dummy" / "seed-0" / "log.txt").read_text()


def test_finished_runs_are_not_done_again(tmp_path: Path, dummy: str, calls: Path):
    run_suite(runs_of(dummy, 2), bench(tmp_path))
    entry = tmp_path / "entries" / "Toy-v0--dummy.json"
    assert len(load_entry(entry).seeds) == 2  # a partial entry after each seed
    entry.unlink()
    run_suite(runs_of(dummy, 3), bench(tmp_path))
    assert calls.read_text().splitlines() == [f"klrl/Toy-v0 {seed}" for seed in (0, 1, 2)]
    assert len(load_entry(entry).seeds) == 3


def test_seeds_on_record_are_not_done_again(tmp_path: Path, dummy: str, calls: Path):
    run_suite(runs_of(dummy, 2), bench(tmp_path))
    text = (tmp_path / "entries" / "Toy-v0--dummy.json").read_text()
    run_suite(runs_of(dummy, 2), bench(tmp_path, out="elsewhere"))
    assert len(calls.read_text().splitlines()) == 2
    assert (tmp_path / "entries" / "Toy-v0--dummy.json").read_text() == text
    run_suite(runs_of(dummy, 3), bench(tmp_path, out="elsewhere"))
    assert len(calls.read_text().splitlines()) == 3
    assert [seed.seed for seed in load_entry(tmp_path / "entries" / "Toy-v0--dummy.json").seeds] == [0, 1, 2]


def test_settings_have_folders_of_their_own_and_make_no_entry(tmp_path: Path, dummy: str, calls: Path):
    settings = [{}, {"horizon": 4}, {"horizon": 16}, {"horizon": 16, "start": "a b", "target": [1, 2]}]
    runs = [
        Run("dummy", dummy, "klrl/Toy-v0", 0, 1000, json.dumps(changed, sort_keys=True))
        for changed in settings
    ]
    assert run_suite(runs, bench(tmp_path)) == []
    found = {path.parts[-3]: load_result(path) for path in (tmp_path / "out").rglob("result.json")}
    assert [result.env_kwargs for _, result in sorted(found.items())] == [
        settings[0],
        settings[2],
        settings[3],
        settings[1],
    ]
    assert {"Toy-v0--dummy", "Toy-v0--dummy--horizon=4", "Toy-v0--dummy--horizon=16"} < set(found)
    assert [path.name for path in (tmp_path / "entries").iterdir()] == ["Toy-v0--dummy.json"]
    assert load_entry(tmp_path / "entries" / "Toy-v0--dummy.json").env_kwargs == {}
    assert run_suite(runs, bench(tmp_path)) == []
    assert len(calls.read_text().splitlines()) == 4, "finished runs are not done again"
    stamp = tmp_path / "out" / "Toy-v0--dummy--horizon=4" / "seed-0" / "run.json"
    stamp.write_text(stamp.read_text().replace("4}", "5}"))
    run_suite(runs, bench(tmp_path))
    assert len(calls.read_text().splitlines()) == 5, "what was made with other settings is"


def test_a_result_of_other_settings_is_a_failure(tmp_path: Path, dummy: str):
    run = Run("dummy", f"{dummy} --mode deaf", "klrl/Toy-v0", 0, 1000, '{"horizon": 4}')
    (failure,) = run_suite([run], bench(tmp_path))
    assert failure.reason == "result.json has env_kwargs {}, not {'horizon': 4}"


def test_another_command_or_task_is_run_anew(tmp_path: Path, dummy: str, calls: Path):
    run_suite(runs_of(dummy, 1), bench(tmp_path))
    run_suite(runs_of(f"{dummy} --mode other", 1), bench(tmp_path))
    assert len(calls.read_text().splitlines()) == 2
    moved = "b" * 64
    run_suite(runs_of(dummy.replace(SHA, moved), 1), bench(tmp_path, sha=moved))
    assert len(calls.read_text().splitlines()) == 3


def test_a_torn_result_is_run_anew(tmp_path: Path, dummy: str, calls: Path):
    run_suite(runs_of(dummy, 1), bench(tmp_path))
    (tmp_path / "entries" / "Toy-v0--dummy.json").unlink()
    result = tmp_path / "out" / "Toy-v0--dummy" / "seed-0" / "result.json"
    result.write_text(result.read_text()[:100])
    assert run_suite(runs_of(dummy, 1), bench(tmp_path)) == []
    assert len(calls.read_text().splitlines()) == 2
    assert load_result(result).seed == 0


def test_a_failed_run_stops_no_other_and_is_named(tmp_path: Path, dummy: str, capsys):
    failures = run_suite(runs_of(f"{dummy} --mode fail"), bench(tmp_path))
    assert [(failure.run.seed, failure.reason) for failure in failures] == [(1, "ended with exit code 3")]
    assert [seed.seed for seed in load_entry(tmp_path / "entries" / "Toy-v0--dummy.json").seeds] == [0, 2]
    report(failures)
    said = capsys.readouterr().err
    assert "dummy on klrl/Toy-v0, seed 1" in said and "| a reason to fail" in said


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("silent", "no valid result"),
        ("greedy", "tokens 2,000, more than the 1,000"),
        ("boast", "above 1 beyond its interval"),
    ],
)
def test_a_wrong_result_is_a_failure(tmp_path: Path, dummy: str, mode: str, reason: str):
    (failure,) = run_suite(runs_of(f"{dummy} --mode {mode}", 1), bench(tmp_path))
    assert reason in failure.reason
    assert not (tmp_path / "entries").exists()


def test_a_run_that_fails_after_its_result_never_counts(tmp_path: Path, dummy: str):
    for _ in range(2):
        (failure,) = run_suite(runs_of(f"{dummy} --mode late", 1), bench(tmp_path))
        assert failure.reason == "ended with exit code 3"
    assert not (tmp_path / "entries").exists()


def test_a_command_that_cannot_be_read_stops_no_other(tmp_path: Path, dummy: str):
    broken = Run("broken", 'python "', "klrl/Toy-v0", 0, 1000)
    (failure,) = run_suite([broken, *runs_of(dummy, 1)], bench(tmp_path))
    assert failure.run == broken and "No closing quotation" in failure.reason
    assert (tmp_path / "entries" / "Toy-v0--dummy.json").exists()


def test_seeds_of_others_are_not_called_reproduced(tmp_path: Path, dummy: str, calls: Path):
    run_suite(runs_of(dummy, 1), bench(tmp_path))
    own = bench(tmp_path, out="elsewhere")
    own.tier = "reproduced"
    run_suite(runs_of(dummy, 1), own)
    assert len(calls.read_text().splitlines()) == 2


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_a_command_that_a_killed_benchmark_left_is_ended(tmp_path: Path):
    code = f"import time; print(flush=True); time.sleep(60)  # {tmp_path}"
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline()  # it runs
    (tmp_path / "pid").write_text(str(child.pid))
    end_orphan(tmp_path)
    assert child.wait(timeout=10) == -signal.SIGTERM
    (tmp_path / "pid").write_text(str(os.getpid()))
    end_orphan(tmp_path)  # a number that another process has now is left alone


def test_a_result_of_another_task_is_a_failure(tmp_path: Path, dummy: str):
    (failure,) = run_suite(runs_of(dummy, 1), bench(tmp_path, sha="c" * 64))
    assert "task_sha256" in failure.reason


def test_a_command_that_is_not_there_is_a_failure(tmp_path: Path, calls: Path):
    (failure,) = run_suite(runs_of("no-such-program", 1), bench(tmp_path))
    assert "could not be started" in failure.reason


def suite_file(tmp_path: Path, command: str, seeds: list[int]) -> Path:
    """A suite of one's own on a real environment."""
    path = tmp_path / "own.json"
    row = {"agent": "dummy", "command": command, "environments": ["klrl/GridNavigation-v0"], "seeds": seeds}
    path.write_text(json.dumps([row]))
    return path


def test_the_command_line_fails_with_exit_code_1(tmp_path: Path, dummy: str, capsys):
    # The dummy's kl_coef and task are not those of the environment: the leaderboard's rules refuse it.
    suite = suite_file(tmp_path, dummy, [0])
    options = ["--suite", str(suite), "--out", str(tmp_path / "out"), "--entries", str(tmp_path / "entries")]
    assert main(options) == 1
    assert "1 runs failed" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_a_stopped_benchmark_ends_its_commands(tmp_path: Path, dummy: str, calls: Path):
    suite = suite_file(tmp_path, f"{dummy} --mode sleep", [0])
    command = [sys.executable, "-m", "benchmarks.run", "--suite", str(suite), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*command, "--no-entries"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 120
    while not calls.read_text() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    assert calls.read_text(), "the dummy agent was never started"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143  # far less than the dummy's minute


REGISTRY = (
    SimpleNamespace(gym_id="klrl/Toy-v0", token_budget=100, tags=("exact", "grid")),
    SimpleNamespace(gym_id="klrl/Deep-v0", token_budget=200, tags=("neural", "text")),
)


def test_suites_are_expanded_from_the_registry():
    runs = expand([Row("a", "run a"), Row("b", "run b", "grid", (7,), 50)], REGISTRY)
    exact = [("a", "klrl/Toy-v0", seed, 100) for seed in range(5)]
    neural = [("a", "klrl/Deep-v0", seed, 200) for seed in range(3)]
    assert [(run.agent, run.env_id, run.seed, run.tokens) for run in runs] == [
        *exact,
        *neural,
        ("b", "klrl/Toy-v0", 7, 50),
    ]


def test_settings_are_checked_and_told_apart(tmp_path: Path):
    path = tmp_path / "suite.json"
    row = {"agent": "a", "command": "run a", "environments": "klrl/DiagnosticLength-v0", "seeds": [0]}
    rows = [{**row, "settings": {"kl_coef": 0.5, "horizon": tokens}} for tokens in (4, 8)]
    path.write_text(json.dumps(rows))
    runs = expand(load_suite(str(path)))
    assert [run.slug for run in runs] == ["horizon=4,kl_coef=0.5", "horizon=8,kl_coef=0.5"]
    assert shlex.split(runs[0].template)[4:6] == ["--env-kwargs", '{"horizon": 4, "kl_coef": 0.5}']
    assert str(runs[0]) == "a klrl/DiagnosticLength-v0 horizon=4,kl_coef=0.5 seed 0"
    path.write_text(json.dumps([rows[0], rows[0]]))
    with pytest.raises(ValueError, match="come twice"):
        expand(load_suite(str(path)))
    for settings, message in (
        ({"colour": 1}, "may be kl_coef, horizon, reference, not colour"),
        ({"prompts": "train"}, "not prompts"),
    ):
        path.write_text(json.dumps([{**row, "settings": settings}]))
        with pytest.raises(ValueError, match=message):
            expand(load_suite(str(path)))
    path.write_text(json.dumps([{**row, "settings": [4]}]))
    with pytest.raises(ValueError, match="settings of row 0 must be an object"):
        load_suite(str(path))


def test_the_diagnostics_suite_sweeps_every_diagnostic():
    from klrl_envs.registry import REGISTRY, make_task

    assert set(SWEEPS) == {row.gym_id for row in REGISTRY if "diagnostic" in row.tags}
    runs = expand(SUITES["diagnostics"])
    assert {run.agent for run in runs} == {"reference", "q_learning", "reinforce", "ppo", "sb3_ppo"}
    for env_id, settings in SWEEPS.items():
        for arguments in settings:
            make_task(env_id, **arguments)
        own = [run for run in runs if run.agent == "ppo" and run.env_id == env_id]
        assert [run.env_kwargs for run in own if run.seed == 0] == list(settings)
        assert len({run.slug for run in own}) == len(settings)


def test_a_diagnostic_is_run_by_its_settings(tmp_path: Path):
    """Real agents, in seconds: the settings reach them, and the result says how they did."""
    suite = tmp_path / "own.json"
    row = {"environments": ["klrl/DiagnosticLength-v0"], "seeds": [0], "settings": {"horizon": 4}}
    command = "python -m agents.{} --episodes 64 --device cpu"
    suite.write_text(
        json.dumps(
            [
                {"agent": name, "command": command.format(name), "tokens": 2000, **row}
                for name in ("reference", "reinforce")
            ]
        )
    )
    entries = tmp_path / "entries"
    options = ["--suite", str(suite), "--out", str(tmp_path / "out"), "--entries", str(entries)]
    assert main(options) == 0
    assert not entries.exists()
    for agent in ("reference", "reinforce"):
        folder = tmp_path / "out" / f"DiagnosticLength-v0--{agent}--horizon=4"
        found = load_result(folder / "seed-0" / "result.json")
        assert found.env_kwargs == {"horizon": 4} and found.score is not None
        assert found.diagnostics is not None and found.diagnostics.exact
        assert found.diagnostics.reverse_kl == pytest.approx(found.regret / found.kl_coef, rel=0.2)
        assert found.task_sha256 == task_sha256("klrl/DiagnosticLength-v0", '{"horizon": 4}')


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_fits_the_registry(name: str):
    assert expand(SUITES[name])


def test_the_core_suite_starts_agents_that_are_there():
    for row in SUITES["core"]:
        module = row.command.split()[2]
        assert (ROOT / Path(*module.split("."))).with_suffix(".py").exists(), module


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([Row("a", "run", "klrl/None-v0")], "unknown"),
        ([Row("a", "run", "colour")], "tag"),
        ([Row("a", "run", "grid"), Row("a", "run", "all")], "twice"),
    ],
)
def test_wrong_suites_are_named(rows: list[Row], message: str):
    with pytest.raises(ValueError, match=message):
        expand(rows, REGISTRY)


def test_unknown_suites_are_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"core, diagnostics, smoke or an existing \.json file, not 'cores'"):
        load_suite("cores")
    path = tmp_path / "suite.json"
    path.write_text('[{"agent": "a", "comand": "x"}]')
    with pytest.raises(ValueError, match=r"row 0 needs agent and command.*comand"):
        load_suite(str(path))


def test_only_chooses():
    runs = expand([Row("a", "run a"), Row("b", "run b")], REGISTRY)
    assert {run.agent for run in choose(runs, ["agent=b"])} == {"b"}
    assert len(choose(runs, ["env=Toy-v0", "seed=0,1"])) == 4
    assert choose(runs, ["env=klrl/Toy-v0"]) == choose(runs, ["env=Toy-v0"])
    with pytest.raises(ValueError, match=r"leaves no run; agent is one of \['a', 'b'\]"):
        choose(runs, ["agent=c"])
    with pytest.raises(ValueError, match="agent=NAME"):
        choose(runs, ["reward=1"])


def test_the_time_left_is_estimated():
    runs = runs_of("run", 3)
    clock = Clock(jobs=2)
    assert clock.left(runs, {}) is None
    clock.saw(runs[0], 100)
    assert clock.left(runs[1:], {}) == pytest.approx(100)
    assert clock.left(runs[2:], {runs[1]: time.monotonic() - 40}) == pytest.approx(80, abs=1)
    assert [duration(seconds) for seconds in (None, 12, 3700)] == ["unknown", "12 s", "1 h 02 min"]


def test_the_task_is_that_of_the_evaluation_prompts():
    from klrl_envs.registry import make_task

    assert task_sha256("klrl/GridNavigation-v0") == make_task("GridNavigation-v0").fingerprint
