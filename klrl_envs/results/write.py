"""Write `result.json` from an ``Evaluation``: what an agent does at its end."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from klrl_envs import ledger
from klrl_envs.results.curve import EPISODES, learning_curve
from klrl_envs.results.document import faults
from klrl_envs.results.ledger import budget_of
from klrl_envs.results.provenance import command_line, commit, hardware, versions
from klrl_envs.results.record import (
    FILE,
    SCHEMA_VERSION,
    Agent,
    ComparisonRecord,
    Errors,
    EvaluationRecord,
    RunRecord,
)

if TYPE_CHECKING:
    from klrl_envs.evaluation.comparison import Comparison
    from klrl_envs.evaluation.result import Evaluation
    from klrl_envs.ledger import Mark


def agent_of(agent: Agent | Mapping[str, Any] | str) -> Agent:
    """Who ran, of what ``write_result`` takes.

    Raises:
        ValueError: in one line, what is wrong with it.
    """
    try:
        return Agent(name=agent) if isinstance(agent, str) else Agent.model_validate(agent)
    except ValidationError as error:
        raise ValueError(f"agent: {faults(error)}") from None


def write_result(
    evaluation: Evaluation,
    out: str | Path,
    *,
    agent: Agent | Mapping[str, Any] | str,
    command: str | None = None,
    tokens: int | None = None,
    seconds: float | None = None,
    since: Mark | None = None,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
    device: str = "auto",
    checkout: str | Path = ".",
    code: Sequence[str] = (".",),
) -> RunRecord:
    """Write `result.json`, whole or not at all, with machine, versions, commit and date; return the record.

    Args:
        evaluation: of the trained policy.
        out: the folder; made where it is not there.
        agent: `name` (unique), `url` (of its git repository), `license` and what else ``Agent`` has; or its
            name alone, which is enough for all but the leaderboard.
        command: what does this run again; this process's own command line where None.
        tokens: written in training, and in any search or selection; None for what the ledger has counted,
            which the record calls "counted": in all processes of the run under ``KLRL_LEDGER``, as the
            benchmark sets it, and else in this process alone.
        seconds: of wall time, training and evaluation; None for those since the run began.
        since: when the run began, a ``klrl_envs.ledger.mark()``; the process's beginning where None.
        seed: of the training.
        env_kwargs: the environment's arguments that were changed, as they were given to ``evaluate``.
        device: "cpu" where an accelerator of the machine was not used.
        checkout: a folder of the repository that has the agent's code.
        code: the paths in it which that code is; a change there since the commit is told.

    Raises:
        ValueError: numbers that no run could measure together, fewer tokens than the ledger has counted, no
            id, arguments that JSON does not hold, an agent that is none (make an ``Agent`` before training).
    """
    if "/" not in evaluation.env_id:
        raise ValueError("only registered environments have records: give yours an id by klrl_envs.register")
    spent, budget = budget_of(tokens, since)
    if seconds is None:
        seconds = time.monotonic() - (ledger.book().began if since is None else since).moment
    record = RunRecord(
        **measured(evaluation),
        agent=agent_of(agent),
        env_kwargs=as_json(env_kwargs or {}),
        command=command_line() if command is None else command,
        seed=seed,
        tokens=spent,
        seconds=round(seconds, 3),
        budget=budget,
        **milestones(Path(out), evaluation.env_id, env_kwargs or {}),
        hardware=hardware(device),
        versions=versions(),
        commit=commit(Path(checkout), code),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
    )
    record.save(Path(out) / FILE)
    return record


def milestones(out: Path, env_id: str, env_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens after which the learning curve in a run's folder first reached .5 and .9, if it has one."""
    path = out / EPISODES
    if not path.is_file() or path.stat().st_size == 0:
        return {}
    curve = learning_curve(path, env_id=env_id, agent="", **env_kwargs)
    return {"tokens_to_half": curve.tokens_to(0.5), "tokens_to_nine_tenths": curve.tokens_to(0.9)}


def measured(evaluation: Evaluation) -> dict[str, Any]:
    """The fields of a record that an evaluation gives."""
    score = evaluation.score
    return {
        "schema_version": SCHEMA_VERSION,
        "env_id": evaluation.env_id,
        "kl_coef": evaluation.kl_coef,
        "task_sha256": evaluation.task_sha256,
        "score": None if score is None else score.estimate,
        "score_interval": None if score is None else (score.lower, score.upper),
        "objective": evaluation.objective.estimate,
        "expected_reward": evaluation.expected_reward.estimate,
        "kl": evaluation.kl.estimate,
        "regret": evaluation.regret.estimate,
        "evaluation": evaluation_record(evaluation),
        "comparison": None if evaluation.comparison is None else comparison_record(evaluation.comparison),
    }


def evaluation_record(evaluation: Evaluation) -> EvaluationRecord:
    """How a policy was evaluated, as plain numbers."""
    return EvaluationRecord(
        seed=evaluation.seed,
        fresh=evaluation.fresh,
        episodes=evaluation.episodes,
        prompts=evaluation.prompts,
        exact=evaluation.exact,
        log_probs=evaluation.log_probs,
        bound=evaluation.bound,
        tail=evaluation.tail,
        errors=Errors(**asdict(evaluation.errors)),
    )


def as_json(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as a file will give them back; ValueError where JSON has no form for one."""
    try:
        return json.loads(json.dumps(dict(arguments), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"env_kwargs must be what JSON can hold, got {dict(arguments)!r}: {error}") from None


def comparison_record(comparison: Comparison) -> ComparisonRecord:
    """A ``Comparison`` as plain numbers: the estimates."""
    forward_kl = comparison.forward_kl.estimate
    return ComparisonRecord(
        exact=comparison.exact,
        reverse_kl=comparison.reverse_kl.estimate,
        forward_kl=forward_kl if math.isfinite(forward_kl) else None,
        entropy=comparison.entropy.estimate,
        optimal_entropy=comparison.optimal_entropy.estimate,
        metrics={name: value.estimate for name, value in comparison.metrics.items()},
        optimal_metrics={name: value.estimate for name, value in comparison.optimal_metrics.items()},
    )
