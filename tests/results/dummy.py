"""An agent that trains nothing: a command that writes a result.json and nothing else."""

from pathlib import Path

import pytest

from klrl_envs.results.benchmark import Benchmark
from klrl_envs.results.plan import PlannedRun

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
    schema_version=2, agent=dict(name="dummy", url="https://example.org", license="MIT"),
    env_id=options.env_id, env_kwargs={} if options.mode == "deaf" else options.env_kwargs,
    kl_coef=0.5, task_sha256=options.sha, command=" ".join(sys.argv),
    seed=options.seed, score=score, score_interval=[score - 0.02, score + 0.02], objective=score,
    expected_reward=score + 0.5, kl=1.0,
    regret=1 - score, tokens=options.tokens * (2 if options.mode == "greedy" else 1), seconds=1.0,
    hardware=dict(cpu="test", cores=2, gpu=None, memory_gb=4), versions=dict(python="3", klrl_envs="0",
    gymnasium="1"), commit="0" * 40, date="2026-01-01",
    evaluation=dict(
        seed=7, fresh=True, episodes=64, prompts=1, exact=False, log_probs="checked", bound="exact",
        tail="resolved", errors=dict(objective=0.01, expected_reward=0.01, kl=0.01, regret=0.01, difference=0),
    ),
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


def runs_of(command: str, seeds: int = 3, env_id: str = "klrl/Toy-v0") -> list[PlannedRun]:
    return [PlannedRun("dummy", command, env_id, seed, 1000) for seed in range(seeds)]


def bench(tmp_path: Path, out: str = "out", sha: str = SHA) -> Benchmark:
    return Benchmark(
        out=tmp_path / out,
        entries=tmp_path / "entries",
        threads=1,
        shared_error=lambda env_id, score: 0.0,
        fingerprint=lambda env_id, settings: sha,
        check=lambda record: None,
        rules=lambda entry: None,
    )
