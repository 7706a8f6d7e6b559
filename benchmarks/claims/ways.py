"""Other ways to more reward than RL, as laws of the reward under pi0: what each has learnt in the limit
of data.

Each is a path of laws [1, U] from pi0. Of free logits the natural gradient of a likelihood, sum target
log pi, moves pi by target - pi, so that supervised fine-tuning which is stopped early is a mixture of pi0
and its target.
"""

from __future__ import annotations

import numpy as np

from benchmarks.studies.laws import OperatingPoint, tilt
from klrl_envs.optima.terminal_law import TerminalLaw
from klrl_envs.reference.arrays import FloatArray

STEPS = 4_000
RATE = 0.05


def mixtures(law: TerminalLaw, target: FloatArray, shares: FloatArray) -> list[FloatArray]:
    """Supervised fine-tuning towards a target law [1, U], stopped at shares of the way."""
    return [(1 - share) * law.probabilities + share * target for share in shares]


def kept(law: TerminalLaw, least: float) -> FloatArray:
    """The law [1, U] of pi0's texts that earn at least so much."""
    chosen = np.where(law.rewards >= least - 1e-12, law.probabilities, 0.0)
    return chosen / chosen.sum(axis=1, keepdims=True)


def reward_weighted(law: TerminalLaw, rounds: FloatArray) -> list[FloatArray]:
    """Own texts weighted by their reward and learnt, round after round: pi0 r^k / Z.

    Args:
        law: of a reward that is never negative.
        rounds: k, at least 0; may lie between whole numbers.
    """
    weights = [law.probabilities * law.rewards**k for k in rounds]
    return [weight / weight.sum(axis=1, keepdims=True) for weight in weights]


def win_rate(law: TerminalLaw) -> FloatArray:
    """How often a text of each reward beats one of pi0's [U]; a tie counts half."""
    chances = law.probabilities[0]
    return chances.cumsum() - chances / 2


def identity_preferences(law: TerminalLaw, coefficients: FloatArray) -> list[FloatArray]:
    """IPO on pi0's pairs, labelled by the larger reward (arXiv 2310.12036): pi0 tilted by the rate of wins.

    Its regression of log-ratio differences on wins, less a half, has E[log-ratio] = win rate / coefficient.
    """
    worth = TerminalLaw(law.start, win_rate(law), law.probabilities)
    return [tilt(worth, np.full(1, coefficient)) for coefficient in coefficients]


def preferred(law: TerminalLaw, temperature: float | None) -> FloatArray:
    """How likely a text of one reward is labelled better than one of another [U, U].

    Args:
        law: of the reward.
        temperature: of Bradley-Terry labels; None for the larger reward always, ties by a coin.
    """
    gaps = law.rewards[:, None] - law.rewards[None, :]
    return (1 + np.sign(gaps)) / 2 if temperature is None else 1 / (1 + np.exp(-gaps / temperature))


def preference_flow(
    law: TerminalLaw, temperature: float | None, *, steps: int = STEPS, rate: float = RATE
) -> list[FloatArray]:
    """DPO's population loss on pi0's pairs, followed by its natural gradient at pi0's texts from h = 0.

    With h = log pi - log pi0 (DPO's coefficient is 1: another one scales h) steps are
    h(x) <- h(x) + rate E_{x' ~ pi0}[P(x > x') - sigmoid(h(x) - h(x'))].
    """
    chances, labels = law.probabilities[0], preferred(law, temperature)
    h = np.zeros(law.rewards.size)
    found = [law.probabilities]
    for _ in range(steps):
        h = h + rate * ((labels - 1 / (1 + np.exp(h[None, :] - h[:, None]))) @ chances)
        weights = chances * np.exp(h - h.max())
        found.append((weights / weights.sum())[None])
    return found


def towards_one_text(
    law: TerminalLaw, log_probability: float, reward: float, shares: FloatArray
) -> list[OperatingPoint]:
    """Supervised fine-tuning towards a single text, stopped at shares of the way.

    Args:
        law: of the reward.
        log_probability: of the text under pi0, nats.
        reward: of the text.
        shares: of the way, 0 to 1.
    """
    chance, points = np.exp(log_probability), []
    for share in shares:
        own = share + (1 - share) * chance
        rest = (1 - share) * (1 - chance)
        others = rest * np.log1p(-share) if share < 1 else 0.0
        paid = (1 - share) * law.reference_value + share * reward
        points.append(
            OperatingPoint(float(paid), float(own * (np.log(own) - log_probability) + others), np.nan)
        )
    return points
