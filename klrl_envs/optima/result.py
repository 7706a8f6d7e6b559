"""What an optimum is to the rest of the library, whether it was solved exactly or certified by sampling."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.showing import Bounded, as_html, as_text, bounded_frame, new_axes, told

if TYPE_CHECKING:
    from klrl_envs.optima.certificate import Certificate
    from klrl_envs.optima.dynamic_programme import Solution


CONFIDENCE = 0.95
NORMAL = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
"""Half the width of a normal law's 95 % interval, in standard errors."""


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

    def numbers(self) -> dict[str, Bounded | None]:
        """J*, J(pi0), E*[r] and KL* in nats, each with its 95 % interval."""
        reference, error = self.reference_value, NORMAL * self.reference_value_stderr
        return {
            "J*": (self.value, self.lower, self.upper),
            "J(pi0)": (reference, reference - error, reference + error),
            "E*[r]": (self.expected_reward, *self.expected_reward_interval),
            "KL* (nats)": (self.kl, *self.kl_interval),
        }

    @property
    def title(self) -> str:
        """Of which environment at which price."""
        return f"optimum of {self.env_id} at kl_coef {self.kl_coef:g}"

    def __str__(self) -> str:
        return as_text(self.title, {**told(self.numbers()), "method": self.method})

    def _repr_html_(self) -> str:
        return as_html(self.title, {**told(self.numbers()), "method": self.method})

    def to_frame(self) -> Any:
        """``numbers`` as a pandas DataFrame with columns estimate, lower and upper."""
        return bounded_frame(self.numbers())

    def plot(self, axes: Any = None) -> Any:
        """The frontier of reward against KL, with pi0 and pi*, on axes of matplotlib, which are returned."""
        axes = new_axes(axes)
        first = -12 if self.exact else -4  # further out samples of pi0 know too little
        points = self.frontier(self.kl_coef * 2.0 ** (step / 4) for step in range(first, 21))
        axes.plot([each.kl for each in points], [each.expected_reward for each in points], label="frontier")
        axes.plot([0.0], [self.reference_value], "o", label="pi0")
        axes.plot([self.kl], [self.expected_reward], "*", markersize=12, label=f"pi* at {self.kl_coef:g}")
        axes.set(xlabel="KL(pi || pi0), nats", ylabel="expected reward", title=self.env_id)
        axes.legend()
        return axes

    def to_json(self) -> str:
        """All but policy and certificate, as a JSON object of plain numbers and strings."""
        plain = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in ("policy", "certificate")
        }
        return json.dumps(plain, indent=2, allow_nan=False)
