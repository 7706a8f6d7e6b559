"""The search as data: eight settings of each agent, of which the first is what it ships with."""

from __future__ import annotations

from dataclasses import dataclass

from klrl_envs.results.suites import Experiment, Suite

SETTINGS = 8
SEED = 100
"""Other than those that are scored."""
TOKENS = 200_000
EPISODES = 1024
"""Texts of an evaluation, a quarter of the board's: it would take longer than the training."""
TEXTS = ("klrl/Keywords-v0", "klrl/Topic-v0", "klrl/Recall-v0")
"""Three exact tasks: one of a reward for parts, one of long returns, one of memory."""
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

    def common(self, number: int) -> tuple[str, ...]:
        """The flags that every setting has."""
        return f"--name {self.name(number)}", f"--episodes {EPISODES}"

    def suite(self) -> Suite:
        """The runs of all settings."""
        return tuple(
            Experiment(
                self.name(number),
                " ".join(filter(None, (f"python -m agents.{self.agent}", flags, *self.common(number)))),
                self.environments,
                (SEED,),
                TOKENS,
            )
            for number, flags in enumerate(self.settings)
        )


def by_rate(rates: tuple[str, str], *others: str) -> tuple[str, ...]:
    """No flag, a lower and a higher learning rate, and other flags."""
    return ("", *(f"--learning-rate {rate}" for rate in rates), *others)


OF_TEXTS = (
    Search(
        "ppo",
        by_rate(("1e-3", "1e-2"), "--batch 32", "--batch 128", "--gae-lambda 1", "--epochs 1", "--epochs 4"),
    ),
    Search(
        "reinforce",
        by_rate(
            ("2e-3", "2e-2"),
            "--batch 16 --group 16",
            "--batch 64 --group 64",
            "--baseline batch",
            "--average-from 1",
            "--clip-norm 10",
        ),
    ),
    Search(
        "grpo",
        by_rate(
            ("2e-3", "1e-2"),
            "--batch 32",
            "--batch 128",
            "--group 8",
            "--group 16",
            "--epochs 2",
        ),
    ),
    Search(
        "trajectory_balance",
        by_rate(
            ("2e-3", "1e-2"),
            "--replays 1",
            "--replays 7",
            "--draw reward",
            "--baseline learned",
            "--kept 64",
        ),
    ),
    Search(
        "klq",
        by_rate(
            ("3e-3", "1.5e-2"),
            "--begun 0",
            "--cut-passes 0",
            "--epochs 2",
            "--return-lambda 1",
            "--batch 64 --minibatch 64",
        ),
    ),
    Search(
        "path_consistency",
        by_rate(
            ("5e-3", "3e-2"),
            "--adam-epsilon 1e-8",
            "--begun 0",
            "--cut 0",
            "--replayed 8",
            "--steps 16",
        ),
    ),
    Search(
        "dqn",
        by_rate(
            ("3e-3", "3e-2"),
            "--adam-epsilon 1e-3",
            "--begun 0",
            "--sharpness 0",
            "--cut 0",
            "--updates 8",
        ),
    ),
    Search(
        "q_sharp",
        by_rate(
            ("5e-4", "8e-3"), "--updates 8", "--atoms 5", "--atoms 17", "--kept 64", "--reference-share 0.02"
        ),
    ),
    Search(
        "dpg",
        by_rate(
            ("1e-3", "7e-3"),
            "--batch 32 --group 32",
            "--batch 128 --group 128",
            "--memory 256",
            "--memory 4096",
            "--average-from 1",
        ),
    ),
    Search(
        "smc",
        by_rate(
            ("2e-3", "1e-2"),
            "--batch 64 --group 64",
            "--twist-lambda 1",
            "--twist-lambda 0.8",
            "--policy-steps 1",
            "--policy-steps 4",
        ),
    ),
    Search(
        "dpo",
        by_rate(
            ("2e-3", "8e-3"),
            "--temperature 0.5",
            "--temperature 2",
            "--loss ipo",
            "--epochs 4",
            "--batch 64 --minibatch 64",
        ),
    ),
    Search(
        "expert_iteration",
        by_rate(
            ("1e-3", "7e-3"),
            "--imitate weighted --group 64",
            "--group 2",
            "--group 8",
            "--epochs 2",
            "--writer reference",
        ),
    ),
    Search(
        "sb3_ppo",
        by_rate(("5e-4", "5e-3"), "--lanes 64", "--lanes 128", "--epochs 2", "--epochs 8", "--gae-lambda 1"),
    ),
    Search(
        "sb3_a2c",
        by_rate(
            ("2e-3", "1.5e-2"),
            "--lanes 16",
            "--lanes 128",
            "--steps 4",
            "--steps 24",
            "--gae-lambda 1",
        ),
    ),
)
WALKS = ("", "--explore uniform", "--explore boltzmann", "--lanes 8")
OF_TABLES = (
    Search(
        "q_learning",
        (*WALKS, "--explore reference", "--exploration 10", "--replays 0", "--replays 16"),
        TABLES,
    ),
    Search(
        "sarsa", (*WALKS, "--explore ucb", "--exploration-end 0.01", "--replays 1", "--replays 4"), TABLES
    ),
    Search(
        "bayesian_policy",
        (
            "",
            "--lanes 8",
            "--prior 1",
            "--noise 0.1",
            "--act mean",
            "--act mean --explore uniform",
            "--act mean --explore boltzmann",
            "--explore ucb --exploration 1",
        ),
        TABLES,
    ),
)
SEARCHES: dict[str, Search] = {each.agent: each for each in (*OF_TEXTS, *OF_TABLES)}
