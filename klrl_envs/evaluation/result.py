"""What a policy is worth on an environment: the result of an evaluation."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from klrl_envs.evaluation.comparison import Comparison, warn_of_old_name
from klrl_envs.evaluation.estimators import Interval
from klrl_envs.policies import LogProbKind
from klrl_envs.showing import Bounded, as_html, as_text, bounded_frame, new_axes, told

LogProbSource = Literal["checked", "self-reported"]
Tail = Literal["resolved", "unresolved"]


@dataclass(frozen=True)
class StandardErrors:
    """Of an evaluation's estimates, in their units; 0 where they are exact.

    ``difference`` is that of expected_reward - kl_coef kl - objective: the three may be estimated each in its
    best way, and it says how far apart they may lie.
    """

    objective: float
    expected_reward: float
    kl: float
    regret: float
    difference: float


@dataclass(frozen=True)
class Evaluation:
    """What a policy is worth on an environment.

    Attributes:
        env_id: with its namespace, or "exact_task".
        kl_coef: in units of reward per nat.
        objective: J(pi) = E[r] - kl_coef KL(pi || pi0). On exact environments it is J* - regret.
        expected_reward: E[r].
        kl: KL(pi || pi0), nats per episode.
        score: (J - J0) / (J* - J0), where J0 is the reference's and J* the optimum's objective; at most 1
            but for noise, unbounded below; None where J* = J0. The interval holds three errors: that of the
            agent's episodes (their variance within prompts), that of J0 and that of J*.
        regret: J* - J(pi) = kl_coef KL(pi || pi*).
        optimum: J* with its interval.
        reference_value: J0.
        errors: the standard errors of J, E[r], KL and regret, without those of J* and J0.
        exact: computed over all states, without sampling, and compared with the episodes.
        tail: "unresolved" where too few rare events were seen for an interval from their spread, so that it
            comes from the declared bounds of the reward.
        log_probs: "checked" where the policy's rows were what was sampled from, "self-reported" where only
            its word ties the log-probs to the texts that it wrote: such a score ranks nowhere.
        bound: "exact", or "lower" / "upper" where the policy knows only a bound of its log-probs, so
            that objective and score are bounds too.
        method: the estimators that were used, in words.
        metrics: means of the task's metrics, and its summaries of all episodes.
        episodes, prompts, tokens: episodes sampled, the prompts that they share equally, tokens written.
        seconds: of sampling.
        seed: of sampling.
        fresh: whether the seed was drawn, not chosen, after the policy was fixed.
        task_sha256: fingerprint of all that moves J* but kl_coef.
        comparison: how the policy differs from pi*, on exact environments; else None.
    """

    env_id: str
    kl_coef: float
    objective: Interval
    expected_reward: Interval
    kl: Interval
    score: Interval | None
    regret: Interval
    optimum: Interval
    reference_value: float
    errors: StandardErrors
    exact: bool
    tail: Tail
    log_probs: LogProbSource
    bound: LogProbKind
    method: str
    metrics: dict[str, float]
    episodes: int
    prompts: int
    tokens: int
    seconds: float
    seed: int
    fresh: bool
    task_sha256: str
    comparison: Comparison | None = None

    @property
    def score_estimate(self) -> float | None:
        """The score without its interval; None where there is none."""
        return None if self.score is None else self.score.estimate

    @property
    def diagnostics(self) -> Comparison | None:
        """The old name of ``comparison``; warns DeprecationWarning."""
        warn_of_old_name()
        return self.comparison

    def numbers(self) -> dict[str, Bounded | None]:
        """Score, objective, reward, KL in nats and regret, each with its 95 % interval; no score is None."""
        named = {
            "score": self.score,
            "objective J": self.objective,
            "expected reward": self.expected_reward,
            "KL (nats)": self.kl,
            "regret": self.regret,
        }
        found: dict[str, Bounded | None] = {
            name: None if each is None else (each.estimate, each.lower, each.upper)
            for name, each in named.items()
        }
        kl = self.kl  # of pi0 itself it is what rounding left, on either side of 0
        found["KL (nats)"] = max(kl.estimate, 0.0), max(kl.lower, 0.0), max(kl.upper, 0.0)
        return found

    @property
    def title(self) -> str:
        """Of which environment at which price, and from how much."""
        return f"{self.env_id} at kl_coef {self.kl_coef:g}, {self.episodes:,} episodes"

    def __str__(self) -> str:
        return as_text(self.title, told(self.numbers()))

    def _repr_html_(self) -> str:
        return as_html(self.title, told(self.numbers()))

    def to_frame(self) -> Any:
        """``numbers`` as a pandas DataFrame with columns estimate, lower and upper."""
        return bounded_frame(self.numbers())

    def plot(self, axes: Any = None) -> Any:
        """The policy on the plane of KL and reward, on axes of matplotlib, which are returned.

        Beside it stands pi0, and the line of all points that are worth J*, above which no policy lies.
        """
        axes = new_axes(axes)
        best, most = self.optimum.estimate, max(2.0 * self.kl.estimate, 1.0)
        axes.plot([0.0, most], [best, best + self.kl_coef * most], "--", label="worth J*")
        axes.plot([0.0], [self.reference_value], "o", label="pi0")
        kl, reward = self.kl, self.expected_reward
        axes.errorbar(
            [kl.estimate], [reward.estimate],
            xerr=[[kl.estimate - kl.lower], [kl.upper - kl.estimate]],
            yerr=[[reward.estimate - reward.lower], [reward.upper - reward.estimate]],
            fmt="s", capsize=3, label="this policy",
        )  # fmt: skip
        axes.set(xlabel="KL(pi || pi0), nats", ylabel="expected reward", title=self.env_id)
        axes.legend()
        return axes

    def to_json(self) -> str:
        """All of it as a JSON object; an interval is {"estimate", "lower", "upper"}, nulls where infinite."""
        return json.dumps(finite(asdict(self)), indent=2, allow_nan=False)


def finite(value: Any) -> Any:
    """The same nested dicts with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in cast(dict[str, Any], value).items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
