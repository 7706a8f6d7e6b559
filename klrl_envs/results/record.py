"""The record of a run: `result.json`, one seed of one agent on one environment, complete in itself.

Agents write it (``write_result``), the runner checks it, the leaderboard merges it into entries and the
report reads it: this is the one definition. `schema.json` says the same for other languages.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, model_validator

from klrl_envs.results.chance import ROUNDING, allowed_errors
from klrl_envs.results.document import Document, Strict

SCHEMA_VERSION = 2
FILE = "result.json"
SCORE_SLACK = 1e-6
"""Rounding: the optimum scores 1, and no interval may lie wholly above it."""
OLDER_SLACK = 0.05
"""Of the scale: what chance may do to numbers without stated errors. Honest ones lay within 0.02."""
UNSEEN_SLACK = 0.25
"""Of the scale: what rare events that a sample lacks may do, where the range of the reward is not known."""
TINY = 1e-300
"""Keeps infinitely many errors of size 0 from being no number."""
LONGEST_NAME = 100
MOST = 2**63 - 1
"""Of a whole number."""
LARGEST = 1e100
"""Of a number: sums and products of such ones are still finite."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=LONGEST_NAME)]
EnvId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+/[A-Za-z0-9_-]+-v[0-9]+$", max_length=LONGEST_NAME)]
Count = Annotated[int, Field(ge=0, le=MOST)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Date = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
NonEmpty = Annotated[str, Field(min_length=1)]
Finite = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Bounds = tuple[Finite, Finite]
"""(lower, upper) of a 95 % interval."""


NOT_SAID = "not said"

Tier = Literal["older", "submitted", "verified", "reproduced"]
"""Who saw an entry's numbers, from the least trust to the most; leaderboard/RULES.md says what each asks."""


class Agent(Strict):
    """Who ran: a unique name, where its code is (a git url, or a path of this repository), its licence.

    Url and licence may be left out of a record; the leaderboard asks for both.
    A "learner" learns from what it writes; a "bound" knows what learners must find out (the optimum, the
    reward's weights), or learns nothing, and stands beside them. `observes` and `trains` say in a few words
    what it is shown and which weights move; `tuned` is "untuned" for an agent whose settings were not chosen
    on the suite, else how they were and what that cost in tokens.
    """

    name: Name
    url: Annotated[str, Field(pattern=r"^(https?://[^\s()<>]+|[A-Za-z0-9_-][A-Za-z0-9_./-]*)$")] | None = None
    license: NonEmpty = NOT_SAID
    kind: Literal["learner", "bound"] = "learner"
    observes: NonEmpty = NOT_SAID
    trains: NonEmpty = NOT_SAID
    tuned: NonEmpty = NOT_SAID


class Hardware(Strict):
    """What it ran on. `gpu` is None on a CPU; memory in gigabytes."""

    cpu: NonEmpty
    cores: Annotated[int, Field(ge=1, le=MOST)]
    gpu: str | None
    memory_gb: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None

    def __str__(self) -> str:
        """The short form of the table."""
        memory = "" if self.memory_gb is None else f", {self.memory_gb:.0f} GB"
        return f"{self.gpu or self.cpu}, {self.cores} cores{memory}"


class Versions(Strict):
    """The versions that a rerun needs; what an agent does not use is None."""

    python: str
    klrl_envs: str
    torch: str | None = None
    gymnasium: str
    stable_baselines3: str | None = None

    def __str__(self) -> str:
        """The short form of the table."""
        return ", ".join(f"{name} {value}" for name, value in self.model_dump(exclude_none=True).items())


class Setup(Document):
    """Who ran on what: the agent, the environment with its arguments, the task's fingerprint, the command."""

    schema_version: Literal[1, 2]
    agent: Agent
    env_id: EnvId
    env_kwargs: dict[str, Any]
    kl_coef: Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
    task_sha256: Sha256
    command: NonEmpty


class Errors(Strict):
    """Standard errors of an evaluation's estimates, 0 where they are exact; in their units.

    `difference` is that of expected_reward - kl_coef kl - objective, which are estimated each in its best
    way: it says how far apart they may lie.
    """

    objective: NonNegative
    expected_reward: NonNegative
    kl: NonNegative
    regret: NonNegative
    difference: NonNegative


class EvaluationRecord(Strict):
    """How a seed was evaluated, so that its numbers can be checked and the evaluation done again.

    `fresh` says that its seed was drawn, as ``evaluate`` does, after the policy was fixed. `log_probs` are
    "self-reported" where only the policy's word ties them to the texts that it wrote; `bound` is "lower" or
    "upper" where it knows no more than a bound of them. `exact`: computed over all states, and compared with
    the episodes. `tail` is "unresolved" where too few rare events were seen for an interval from their
    spread, so that it comes from the declared bounds of the reward.
    """

    seed: Count
    fresh: bool
    episodes: Annotated[int, Field(ge=2, le=MOST)]
    prompts: Annotated[int, Field(ge=1, le=MOST)]
    exact: bool
    log_probs: Literal["checked", "self-reported"]
    bound: Literal["exact", "lower", "upper"]
    tail: Literal["resolved", "unresolved"]
    errors: Errors

    @property
    def degrees_of_freedom(self) -> int:
        """Of the errors: their variance is that within prompts. At least 1."""
        return max(1, self.episodes - self.prompts)


class Measured(Document):
    """What one seed measured, at the kl_coef of the environment.

    `score` is None where J* = J(pi0). `objective`, `expected_reward` and `regret` are in units of reward,
    `kl` in nats, `seconds` of wall time for training and evaluation. `regret` may fall below 0 by sampling
    error. `budget` says whether the library counted the tokens or the agent declared them. `evaluation` is
    None in records of schema version 1. `tokens_to_half` and `tokens_to_nine_tenths` are those after which
    the learning curve first reached a score of .5 and of .9; None where it did not, or where there is none.
    """

    seed: Count
    score: Finite | None
    score_interval: Bounds | None
    objective: Finite
    expected_reward: Finite
    kl: Finite
    regret: Finite
    tokens: Count
    seconds: NonNegative
    budget: Literal["counted", "declared"] = "declared"
    evaluation: EvaluationRecord | None = None
    tokens_to_half: Count | None = None
    tokens_to_nine_tenths: Count | None = None

    @model_validator(mode="after")
    def _check_score(self) -> Measured:
        check_score(self.score, self.score_interval, self.bound)
        return self

    @property
    def bound(self) -> str:
        """Whether the objective is "exact", or a "lower" or "upper" bound."""
        return "exact" if self.evaluation is None else self.evaluation.bound


class ComparisonRecord(Strict):
    """A ``Comparison`` with pi* as plain numbers, on an exact environment; nats, of whole texts.

    `exact` says whether they were computed or sampled; `reverse_kl` is KL(pi || pi*); `forward_kl` is
    KL(pi* || pi), None where it is infinite; `metrics` and `optimal_metrics` are means of the task's metrics
    under pi and under pi*.
    """

    exact: bool
    reverse_kl: Finite
    forward_kl: Finite | None
    entropy: Finite
    optimal_entropy: Finite
    metrics: dict[str, Finite]
    optimal_metrics: dict[str, Finite]


# The fields of the last base come first: who ran, what it measured, where.
class RunRecord(Measured, Setup):
    """One seed of one agent on one environment.

    `comparison` may be left out, and is not kept in entries; older files call it `diagnostics`.
    """

    hardware: Hardware
    versions: Versions
    commit: NonEmpty
    date: Date
    comparison: ComparisonRecord | None = Field(
        default=None, validation_alias=AliasChoices("comparison", "diagnostics")
    )

    @model_validator(mode="after")
    def _check_objective(self) -> RunRecord:
        check_objective(self, self.kl_coef)
        return self


def check_score(score: float | None, bounds: Bounds | None, bound: str = "exact") -> None:
    """Raise ValueError unless the interval is ordered, holds the score, and does not lie above 1.

    Args:
        score: of a seed, or the mean of several; None where there is none.
        bounds: its interval.
        bound: "upper" where the score is no more than an upper bound, which may lie above 1.
    """
    if (score is None) != (bounds is None):
        raise ValueError("score and score_interval are both numbers or both None")
    if score is None or bounds is None:
        return
    lower, upper = bounds
    if not lower - SCORE_SLACK <= score <= upper + SCORE_SLACK:
        raise ValueError(f"score_interval must be ordered and hold the score {score}, not [{lower}, {upper}]")
    if lower > 1 + SCORE_SLACK and bound != "upper":
        raise ValueError(
            f"score {score} [{lower}, {upper}] is above 1 beyond its interval: no policy beats the optimum, "
            "so the log-probabilities, the KL or the rewards of this run are wrong"
        )


def scale_of(measured: Measured, kl_coef: float) -> float:
    """The size of what a seed measured, in units of reward: that of its parts, J* among them."""
    optimum = measured.objective + measured.regret
    return max(abs(measured.expected_reward), abs(kl_coef * measured.kl), abs(measured.regret), abs(optimum))


def check_objective(
    measured: Measured, kl_coef: float, *, same_estimate: bool = False, unseen: float | None = None
) -> None:
    """Raise ValueError unless objective = expected_reward - kl_coef kl within their own errors.

    The three may be estimated each in its best way, so they agree within sampling error only: that of the
    standard errors which the record states (see ``allowed_errors``), and of the rare events that a sample may
    lack. Records of schema version 1 state none, and ``OLDER_SLACK`` is allowed.

    Args:
        measured: by one seed.
        kl_coef: of the environment.
        same_estimate: the objective was computed as this difference, so that nothing but rounding is allowed.
        unseen: what rare events may do, in units of reward; None where the task is not known.
    """
    expected = measured.expected_reward - kl_coef * measured.kl
    scale = scale_of(measured, kl_coef)
    evaluation = measured.evaluation
    allowed = ROUNDING * scale + 1e-9
    if evaluation is None:
        allowed += 0.0 if same_estimate else OLDER_SLACK * scale
    elif not (same_estimate or evaluation.exact):
        allowed += UNSEEN_SLACK * scale if unseen is None else unseen
        allowed += allowed_errors(evaluation.degrees_of_freedom) * (evaluation.errors.difference + TINY)
    if abs(measured.objective - expected) > allowed:
        raise ValueError(
            f"objective {measured.objective} is far from expected_reward - kl_coef kl = {expected} "
            f"(seed {measured.seed}, kl_coef {kl_coef}, kl {measured.kl} nats; {allowed:.3g} is allowed)"
        )
