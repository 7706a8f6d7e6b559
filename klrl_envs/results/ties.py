"""What ties the numbers of one seed to each other and to its task: each check yields what contradicts.

A number may differ from what it must be by rounding, and by chance where it was sampled: by as many of its
standard errors as ``allowed_errors`` says, and by the rare events that a sample may lack. The errors are tied
themselves, so that none is loosened by a large error: to each other (a standard error is a seminorm, so the
triangle inequality holds), to the range of the reward, and to what they are errors of.

Seeds without an ``evaluation`` (schema version 1) state no errors: what chance may do to them is
``OLDER_SLACK`` of their scale, and their score's interval stands for the error of the regret.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from klrl_envs.evaluation.assess import score_interval
from klrl_envs.evaluation.estimators import Mean
from klrl_envs.optima.certificate import NORMAL
from klrl_envs.results.chance import ENOUGH, ROUNDING, SIGMAS, UNSEEN, allowed_errors
from klrl_envs.results.frontier import Limits
from klrl_envs.results.record import (
    OLDER_SLACK,
    TINY,
    Bounds,
    Errors,
    EvaluationRecord,
    Measured,
    check_objective,
    scale_of,
)

CONTROL = 1.5
"""By which a fitted control variate may enlarge an error that it was to lessen."""

WITH_FEW = 1000.0
"""Times its KL that an error may be, where few texts have any KL and a control variate fits them ill."""

KL_ROUNDING = 1e-4
"""Nats, of a network's float32 rows."""

OLDER_STUDENT = 2.1
"""Half of a seed's 95 % interval in standard errors, at most, from some twenty episodes on."""


@dataclass(frozen=True)
class Ties:
    """A seed's numbers beside what the task allows.

    Attributes:
        measured: the numbers.
        kl_coef: of the environment.
        limits: of the task.
    """

    measured: Measured
    kl_coef: float
    limits: Limits

    def contradictions(self) -> Iterator[str]:
        """Yield what contradicts, each naming the number, its value and what was expected."""
        yield from self._of_the_score()
        try:
            check_objective(self.measured, self.kl_coef, same_estimate=self.same_estimate, unseen=self.unseen)
        except ValueError as error:
            yield str(error)
        if self.measured.evaluation is None:
            yield from self._of_an_older_interval()
        else:
            yield from self._of_the_evaluation(self.measured.evaluation)
            yield from self._of_the_errors(self.measured.evaluation)
            yield from self._of_the_interval(self.measured.evaluation)
        yield from self._of_the_task()
        if self.measured.bound != "upper":
            yield from self._of_the_frontier()

    @property
    def rounding(self) -> float:
        """In units of reward."""
        best = self.limits.optimum
        size = max(scale_of(self.measured, self.kl_coef), abs(best.value), abs(best.reference_value))
        return ROUNDING * size + 1e-9

    @property
    def same_estimate(self) -> bool:
        """Whether the objective was computed as expected_reward - kl_coef kl, and not from the regret."""
        self_reported = self.measured.evaluation is not None and not self.by_rows
        return not self.limits.optimum.exact or self_reported

    @property
    def unseen(self) -> float:
        """What rare events that the episodes lack may do to a mean reward; 0 where that is not known."""
        evaluation = self.measured.evaluation
        return 0.0 if evaluation is None else UNSEEN * self.limits.spread / evaluation.episodes

    @property
    def by_rows(self) -> bool:
        """Whether the KL is a mean of numbers that cannot be negative: the exact KL at every state."""
        return self.measured.evaluation is not None and self.measured.evaluation.log_probs == "checked"

    @cached_property
    def errors(self) -> Errors:
        """The standard errors that are stated, or what stands for them in older records."""
        seed, gap = self.measured, self.limits.optimum.gap
        if seed.evaluation is not None:
            return seed.evaluation.errors
        own = OLDER_SLACK / SIGMAS * scale_of(seed, self.kl_coef)
        half = 0.0
        if seed.score_interval is not None and gap is not None:
            half = abs(seed.score_interval[1] - seed.score_interval[0]) / 2 * gap / NORMAL
        kl = OLDER_SLACK / SIGMAS * abs(seed.kl)
        return Errors(objective=half, expected_reward=own, kl=kl, regret=half, difference=own)

    def chance(self, error: float, *, unseen: bool = True) -> float:
        """What chance may do to a number.

        Args:
            error: its standard error.
            unseen: whether rare rewards may be missing in it, which no error from a sample tells.
        """
        evaluation = self.measured.evaluation
        if evaluation is None:
            return SIGMAS * error
        if evaluation.exact:
            return 0.0
        rare = self.unseen if unseen else 0.0
        return allowed_errors(evaluation.degrees_of_freedom) * (error + TINY) + rare

    def _of_the_score(self) -> Iterator[str]:
        """The score and the objective follow from the regret."""
        seed, best = self.measured, self.limits.optimum
        if abs(seed.objective - (best.value - seed.regret)) > self.rounding:
            yield (
                f"objective must be J* - regret = {best.value} - {seed.regret} = {best.value - seed.regret}, "
                f"not {seed.objective}"
            )
        if best.gap is None:
            if seed.score is not None:
                yield f"score must be None where J* = J0 = {best.value}, not {seed.score}"
            return
        expected = 1 - seed.regret / best.gap
        if seed.score is None or abs(seed.score - expected) > self.rounding / best.gap:
            yield (
                f"score must be 1 - regret / (J* - J0) = 1 - {seed.regret} / {best.gap} = {expected}, "
                f"not {seed.score}"
            )

    def _of_the_evaluation(self, evaluation: EvaluationRecord) -> Iterator[str]:
        """The evaluation is of the task's prompts, each equally often, and exact where that can be."""
        if evaluation.prompts != self.limits.prompts:
            expected = self.limits.prompts
            yield f"evaluation.prompts must be the {expected} of the task, not {evaluation.prompts}"
        elif evaluation.episodes % evaluation.prompts or evaluation.episodes < 2 * evaluation.prompts:
            yield (
                f"evaluation.episodes must be a multiple of the {evaluation.prompts} prompts, two of each or "
                f"more, not {evaluation.episodes}"
            )
        if evaluation.exact and not self.limits.optimum.exact:
            yield "evaluation.exact must be false where the optimum is sampled, not true"
        if evaluation.exact and evaluation.log_probs != "checked":
            yield f"evaluation.log_probs must be 'checked' where exact, not {evaluation.log_probs!r}"
        if evaluation.log_probs == "checked" and evaluation.bound != "exact":
            yield f"evaluation.bound must be 'exact' where log-probs are checked, not {evaluation.bound!r}"

    def _of_the_errors(self, evaluation: EvaluationRecord) -> Iterator[str]:
        """No standard error is larger than the others, the reward's range and its own number allow."""
        errors = evaluation.errors
        for name, (largest, why) in self._largest_errors(evaluation).items():
            seen = getattr(errors, name)
            unit = self.kl_coef if name == "kl" else 1.0
            if seen > largest * (1 + ROUNDING) + self.rounding / unit:
                yield f"errors.{name} must be at most {largest:.6g}, {why}, not {seen:.6g}"
        if abs(errors.regret - errors.objective) > ROUNDING * errors.objective + 1e-12:
            yield f"errors.regret must be errors.objective = {errors.objective}, not {errors.regret}"

    def _largest_errors(self, evaluation: EvaluationRecord) -> dict[str, tuple[float, str]]:
        """How large each standard error may be, and why, by its name."""
        errors, seed, beta = evaluation.errors, self.measured, self.kl_coef
        names = ("objective", "expected_reward", "kl", "difference")
        if evaluation.exact:
            return dict.fromkeys(names, (0.0, "where evaluation.exact"))
        total = errors.objective + errors.expected_reward + beta * errors.kl + errors.difference
        others = "by the sum of the others in units of reward"
        most = {name: (total - getattr(errors, name), others) for name in names}
        most["kl"] = (total / beta - errors.kl, others)
        of_the_range = CONTROL * self.limits.spread / 2 / math.sqrt(evaluation.degrees_of_freedom)
        enough = evaluation.degrees_of_freedom >= ENOUGH
        resolved = enough and self.by_rows and evaluation.tail == "resolved"
        caps = [("expected_reward", of_the_range, "by the range of the reward")] if enough else []
        if not self.same_estimate:
            # a martingale: a step moves it by no more than the range of what is still to come
            steps = math.sqrt(self.limits.horizon)
            caps += [("difference", steps * of_the_range, "by the range of the reward")] if enough else []
            if resolved:
                # the standard error of numbers that are not negative is at most their mean
                caps.append(("objective", CONTROL * max(seed.regret, 0.0), "as the regret is no more"))
        else:
            caps.append(("difference", 0.0, "where the objective is a difference"))
        if resolved:
            caps.append(("kl", WITH_FEW * abs(seed.kl), "as the kl is no more"))
        for name, largest, why in caps:
            most[name] = min(most[name], (largest, why))
        return most

    def _of_the_interval(self, evaluation: EvaluationRecord) -> Iterator[str]:
        """The score's interval follows from the regret, its error and the optimum's."""
        seed, expected = self.measured, self.expected_interval(evaluation)
        if expected is None or seed.score is None or seed.score_interval is None:
            return
        slack = ROUNDING * max(1.0, expected[1] - expected[0], abs(seed.score))
        below, above = expected[0] - seed.score_interval[0], seed.score_interval[1] - expected[1]
        wrong = min(below, above) < -slack
        if evaluation.tail == "resolved":
            wrong = wrong or max(below, above) > slack
        if wrong:
            at_least = "" if evaluation.tail == "resolved" else "hold "
            yield (
                f"score_interval must {at_least or 'be '}{list(expected)}, as follows from regret and "
                f"errors.regret, not {list(seed.score_interval)}"
            )

    def expected_interval(self, evaluation: EvaluationRecord) -> Bounds | None:
        """The interval that ``evaluate`` gives such a regret; None where there is no score."""
        regret = Mean(self.measured.regret, evaluation.errors.regret, float(evaluation.degrees_of_freedom))
        found = score_interval(regret, self.limits.optimum)
        return None if found is None else (found.lower, found.upper)

    def _of_an_older_interval(self) -> Iterator[str]:
        """Without stated errors: symmetric, and no wider than the error of a regret can be."""
        seed, best = self.measured, self.limits.optimum
        if seed.score is None or seed.score_interval is None or best.gap is None:
            return
        lower, upper = seed.score_interval
        slack = ROUNDING * max(1.0, abs(seed.score))
        if abs((lower + upper) / 2 - seed.score) > slack:
            yield f"score_interval must have the score {seed.score} in its middle, not {[lower, upper]}"
        widest = OLDER_STUDENT * abs(seed.regret) / best.gap
        if best.exact and (upper - lower) / 2 > widest + slack:
            yield f"score_interval must be at most {widest:.6g} wide on either side, not {[lower, upper]}"

    def _of_the_task(self) -> Iterator[str]:
        """The reward is in its range; KL and regret are not negative."""
        seed, best = self.measured, self.limits.optimum
        low, high = self.limits.reward_range
        slack = self.chance(self.errors.expected_reward) + self.rounding
        if not low - slack <= seed.expected_reward <= high + slack:
            yield (
                f"expected_reward must lie in [{low}, {high}], the range of the reward, "
                f"not {seed.expected_reward}"
            )
        if seed.bound == "upper":
            return
        if seed.kl < -KL_ROUNDING - self.chance(self.errors.kl, unseen=False):
            yield f"kl must be at least 0 beyond its error, not {seed.kl} nats"
        least = -self.rounding - SIGMAS * best.value_stderr
        if not (best.exact and (self.by_rows or seed.evaluation is None)):
            least -= self.chance(self.errors.regret)
        if seed.regret < least:
            yield (
                f"regret must be at least 0 beyond its error, as no policy beats J* = {best.value}, "
                f"not {seed.regret}"
            )

    def _of_the_frontier(self) -> Iterator[str]:
        """No policy is above the frontier, or farther from J0 than its KL lets it."""
        seed, best = self.measured, self.limits.optimum
        for edge in self.limits.edges:
            reached = seed.expected_reward - edge.kl_coef * seed.kl
            own = self.chance(self.errors.expected_reward + edge.kl_coef * self.errors.kl)
            slack = own + SIGMAS * edge.error + self.rounding
            if reached > edge.value + slack:
                yield (
                    f"expected_reward {seed.expected_reward} at kl {seed.kl} nats is above the frontier: "
                    f"less {edge.kl_coef:g} kl it is {reached:.6g}, and no policy is above {edge.value:.6g} "
                    f"({slack:.3g} is allowed)"
                )
                break
        # Pinsker's inequality: means of a reward in [a, b] differ by at most (b - a) sqrt(KL / 2)
        kl = max(seed.kl, 0.0) + KL_ROUNDING + self.chance(self.errors.kl, unseen=False)
        slack = (
            self.chance(self.errors.expected_reward) + SIGMAS * best.reference_value_stderr + self.rounding
        )
        farthest = self.limits.spread * math.sqrt(kl / 2) + slack
        if abs(seed.expected_reward - best.reference_value) > farthest:
            yield (
                f"expected_reward {seed.expected_reward} is farther than {farthest:.3g} from the reference's "
                f"{best.reference_value:.6g}, which kl {seed.kl} nats does not allow"
            )
