"""What an optimum is to the rest of the library, whether it was solved exactly or certified by sampling."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from klrl_envs.reference.arrays import FloatArray

if TYPE_CHECKING:
    from klrl_envs.optima.certificate import Certificate
    from klrl_envs.optima.dynamic_programme import Solution


@dataclass(frozen=True)
class FrontierPoint:
    """A point of the reward-KL frontier: what pi* at one kl_coef reaches.

    Attributes:
        kl_coef: beta, the slope d expected_reward / d kl at this point.
        expected_reward: E*[r].
        kl: KL(pi* || pi0), nats.
        value: J* = expected_reward - kl_coef kl.
        effective_samples: that it rests on, harmonic mean over prompts; None where exact.
    """

    kl_coef: float
    expected_reward: float
    kl: float
    value: float
    effective_samples: float | None = None


@dataclass(frozen=True)
class Optimum:
    """The best that any policy can do on a task: J* = max E[r] - kl_coef KL(pi || pi0), and its policy.

    Attributes:
        env_id: the environment.
        kl_coef: beta, in units of reward per nat.
        value: J*.
        value_stderr: its standard error; 0 where exact. Where the rigorous bounds take the place of the
            interval, that of a normal law with this interval.
        lower, upper: bounds of J* at 95 % confidence; equal to value where exact.
        exact: solved by dynamic programming; otherwise certified by sampling.
        reference_value: J(pi0) = E_0[r].
        reference_value_stderr: its standard error; 0 where exact.
        expected_reward, kl: E*[r] and KL(pi* || pi0) in nats.
        expected_reward_stderr, kl_stderr: their standard errors; 0 where exact. With too few effective
            samples, as for the value.
        expected_reward_interval, kl_interval: (lower, upper) at 95 %, points where exact; with too few
            effective samples from bounds that hold for any law of the reward in its range.
        rigorous_lower, rigorous_upper: bounds that hold at 95 % for any sample size and any law of the
            reward in its declared range; equal to value where exact.
        effective_samples: harmonic mean over prompts of the effective sample size at this kl_coef;
            None where exact.
        method: how it was found, in a sentence.
        policy: the `Solution` (its `log_probs` are the rows of pi*); None unless exact.
        certificate: the `Certificate`; None where exact.
    """

    env_id: str
    kl_coef: float
    value: float
    value_stderr: float
    lower: float
    upper: float
    exact: bool
    reference_value: float
    reference_value_stderr: float
    expected_reward: float
    expected_reward_stderr: float
    expected_reward_interval: tuple[float, float]
    kl: float
    kl_stderr: float
    kl_interval: tuple[float, float]
    rigorous_lower: float
    rigorous_upper: float
    effective_samples: float | None
    method: str
    policy: Solution | None = field(default=None, repr=False, compare=False)
    certificate: Certificate | None = field(default=None, repr=False, compare=False)

    @property
    def gap(self) -> float | None:
        """J* - J(pi0), what a score is measured in; None where it is nothing but rounding."""
        gap = self.value - self.reference_value
        return gap if gap > 1e-12 * max(1.0, abs(self.value)) else None

    @property
    def point(self) -> FrontierPoint:
        """This optimum as a point of the frontier."""
        return FrontierPoint(self.kl_coef, self.expected_reward, self.kl, self.value, self.effective_samples)

    @property
    def log_partition(self) -> FloatArray | None:
        """log Z of each evaluation prompt at kl_coef, float64[P]; None where exact."""
        return None if self.certificate is None else self.certificate.log_partition(self.kl_coef)

    def frontier(self, kl_coefs: Iterable[float]) -> list[FrontierPoint]:
        """What pi* reaches at each of kl_coefs: the frontier that no policy lies above.

        Raises:
            ValueError: a kl_coef that is not a finite number above 0.
        """
        source = self.policy or self.certificate
        if source is None:
            raise ValueError("this Optimum has neither policy nor certificate: ask klrl_envs.optimum for it")
        return source.frontier(kl_coefs)

    def to_json(self) -> str:
        """All but policy and certificate, as a JSON object of plain numbers and strings."""
        plain = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in ("policy", "certificate")
        }
        return json.dumps(plain, indent=2, allow_nan=False)
