"""Records of runs and entries that are valid, with changes."""

from typing import Any

from klrl_envs.results.entry import Entry, merge
from klrl_envs.results.record import RunRecord

COMMAND = "python -m toy --env-id klrl/GridNavigation-v0 --seed {seed} --out {out}"

COMPARISON = {
    "exact": True,
    "reverse_kl": 0.5,
    "forward_kl": None,
    "entropy": 9.0,
    "optimal_entropy": 8.0,
    "metrics": {"gold": 0.4},
    "optimal_metrics": {"gold": 0.5},
}

EVALUATION = {
    "seed": 5123456789,
    "fresh": True,
    "episodes": 4096,
    "prompts": 1,
    "exact": False,
    "log_probs": "checked",
    "bound": "exact",
    "tail": "resolved",
    "errors": {"objective": 0.5, "expected_reward": 0.5, "kl": 0.01, "regret": 0.5, "difference": 0.5},
}


def fields(**changes: Any) -> dict[str, Any]:
    """A valid result.json of GridNavigation-v0, with changes."""
    return {
        "schema_version": 2,
        "agent": {"name": "toy", "url": "https://example.org/toy", "license": "MIT"},
        "env_id": "klrl/GridNavigation-v0",
        "env_kwargs": {},
        "kl_coef": 8.0,
        "task_sha256": "a" * 64,
        "command": "python -m toy",
        "seed": 0,
        "score": 0.5,
        "score_interval": [0.45, 0.55],
        "objective": 50.0,
        "expected_reward": 66.0,
        "kl": 2.0,
        "regret": 31.0,
        "tokens": 1000,
        "seconds": 12.5,
        "budget": "declared",
        "evaluation": EVALUATION,
        "tokens_to_half": None,
        "tokens_to_nine_tenths": None,
        "hardware": {"cpu": "a|cpu", "cores": 2, "gpu": None, "memory_gb": 16.0},
        "versions": {"python": "3.11.7", "klrl_envs": "0.1.0", "torch": None, "gymnasium": "1.2.2"},
        "commit": "0123456789" * 4,
        "date": "2026-01-01",
        **changes,
    }


def record(**changes: Any) -> RunRecord:
    return RunRecord.model_validate(fields(**changes))


def entry(**changes: Any) -> Entry:
    """An entry of three seeds with mean score 0.5."""
    seeds = [record(seed=seed, score=score, **changes) for seed, score in enumerate((0.46, 0.5, 0.54))]
    return merge(seeds, command=COMMAND, tier="submitted", score_interval=(0.4, 0.6))
