"""The search as data: eight settings of each agent, of which the first is what it ships with."""

from __future__ import annotations

from dataclasses import dataclass

from klrl_envs.results.suites import Experiment, Suite

SETTINGS = 8
SEED = 100
"""Other than those that are scored."""
TOKENS = 200_000
TEXTS = ("klrl/Keywords-v0", "klrl/Haiku-v0", "klrl/Recall-v0")
"""Three exact tasks: one of a reward for parts, one of all or nothing, one of memory."""
TABLES = ("klrl/GridNavigation-v0", "klrl/DiagnosticModes-v0", "klrl/DiagnosticGold-v0")
"""For agents whose states fit a table."""


@dataclass(frozen=True)
class Search:
    """The settings of an agent that are compared.

    Attributes:
        agent: its module.
        settings: the flags of each; the first, none, is what it ships with.
        environments: three, on which they are compared.
    """

    agent: str
    settings: tuple[str, ...]
    environments: tuple[str, ...] = TEXTS

    def __post_init__(self) -> None:
        if len(self.settings) != SETTINGS or len(set(self.settings)) != SETTINGS or self.settings[0]:
            raise ValueError(
                f"settings of {self.agent} must be {SETTINGS} different ones, the first of no flag"
            )

    def name(self, number: int) -> str:
        """The name of a setting in results."""
        return f"{self.agent}-{number}"

    def suite(self) -> Suite:
        """The runs of all settings."""
        return tuple(
            Experiment(
                self.name(number),
                " ".join(
                    filter(None, (f"python -m agents.{self.agent}", flags, f"--name {self.name(number)}"))
                ),
                self.environments,
                (SEED,),
                TOKENS,
            )
            for number, flags in enumerate(self.settings)
        )


def by_rate(rates: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    """No flag, some learning rates, and other flags."""
    return ("", *(f"--learning-rate {rate}" for rate in rates), *others)


SEARCHES: dict[str, Search] = {
    each.agent: each
    for each in (
        Search(
            "ppo",
            by_rate(
                ("1e-3", "1e-2"),
                ("--batch 32", "--batch 128", "--gae-lambda 1", "--epochs 1", "--epochs 4"),
            ),
        ),
        Search(
            "reinforce",
            by_rate(
                ("2e-3", "2e-2"),
                (
                    "--batch 16 --group 16", "--batch 64 --group 64",
                    "--batch 64 --group 64 --learning-rate 2e-2",
                    "--average-from 1", "--clip-norm 10",
                ),
            ),
        ),
        Search(
            "sb3_ppo",
            by_rate(
                ("5e-4", "5e-3"), ("--lanes 64", "--lanes 128", "--epochs 2", "--epochs 8", "--gae-lambda 1")
            ),
        ),
        Search(
            "q_learning",
            (
                "", "--exploration 0.5", "--exploration 0.99", "--exploration-end 0.1",
                "--exploration-end 0.9",
                "--learning-rate-decay 0.3", "--learning-rate-decay 0.7", "--lanes 8",
            ),
            TABLES,
        ),
    )
}  # fmt: skip
