"""Records of runs on diagnostics."""

import json
from pathlib import Path
from typing import Any

from klrl_envs import evaluate_exactly
from klrl_envs.registry import sweeps
from klrl_envs.results.capabilities import CAPABILITIES
from klrl_envs.results.capability import Finding
from klrl_envs.results.findings import findings_of
from klrl_envs.results.record import RunRecord
from klrl_envs.results.write import comparison_record
from tests.results.records import fields

LENGTH, GOLD, MODES = (f"klrl/Diagnostic{name}-v0" for name in ("Length", "Gold", "Modes"))
PLACES = {capability.env_id: index for index, capability in enumerate(CAPABILITIES)}


def diagnostic_fields(
    env_id: str, score: float | None, agent: str = "toy", seed: int = 0, **changes: Any
) -> dict[str, Any]:
    """A valid result.json of a diagnostic."""
    return fields(
        agent={"name": agent, "url": "https://example.org", "license": "MIT"},
        env_id=env_id,
        kl_coef=0.1,
        seed=seed,
        score=score,
        score_interval=None if score is None else [score - 0.1, score + 0.1],
        objective=1.0,
        expected_reward=1.125,
        **{"kl": 1.25, "regret": 0.05, "tokens": 20_000, **changes},
    )


def diagnostic(env_id: str, score: float | None, **changes: Any) -> RunRecord:
    return RunRecord.model_validate(diagnostic_fields(env_id, score, **changes))


def lengths(*scores: float, **changes: Any) -> list[RunRecord]:
    """Scores along the sweep of the horizon."""
    return [
        diagnostic(LENGTH, score, env_kwargs=settings, **changes)
        for settings, score in zip(sweeps()[LENGTH], scores)
    ]


def finding(env_id: str, runs: list[RunRecord]) -> Finding:
    """What the runs of the one agent say of the capability that an environment tests."""
    (found,) = findings_of(runs).values()
    return found[PLACES[env_id]]


def comparison(env_id: str, policy: str, **changes: Any) -> dict[str, Any]:
    """A record's comparison with pi*, of a policy that is known."""
    found = comparison_record(evaluate_exactly(policy, env_id).comparison)
    return {**found.model_dump(), **changes}


def write(folder: Path, *runs: RunRecord | dict[str, Any]) -> Path:
    """Runs as a benchmark leaves them."""
    for number, run in enumerate(runs):
        path = folder / f"run-{number}" / "seed-0" / "result.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(run) if isinstance(run, dict) else run.to_json())
    return folder
