"""Our suites as data; ``klrl_envs.results.suites`` says what an experiment is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from klrl_envs.registry import REGISTRY
from klrl_envs.results.suites import (
    QUICK_ENVIRONMENTS,
    QUICK_TOKENS,
    Experiment,
    Suite,
    over_sweeps,
)
from klrl_envs.tasks.row import Row

RESULTS_ONLY = ("smoke", "quick", "diagnostics")
"""Suites that write results, and no leaderboard entries."""

TABLES = tuple(
    f"klrl/{name}-v0"
    for name in (
        "GridNavigation", "Keywords", "NaiveBayesSentiment", "Haiku", "Recall", "Diversity", "Brackets",
    )
)  # fmt: skip
"""Tasks whose rewards are of state and token, and whose states are those of every prompt."""

MAIN = tuple(row.gym_id for row in REGISTRY if "diagnostic" not in row.tags)

WITHOUT_LUCK = tuple(row.gym_id for row in REGISTRY if "exact" in row.tags and row.task_id != "Dialogue-v0")
"""Exact environments in which the next state follows from the token."""

NEURAL = tuple(row.gym_id for row in REGISTRY if "neural" in row.tags)

EXACT_TEXTS = tuple(row.gym_id for row in REGISTRY if {"exact", "text"} <= set(row.tags))
"""What an agent that is shown the raw tokens alone is asked to write."""

RANDOM = ("klrl/GridNavigation-v0", "klrl/Dialogue-v0", "klrl/DiagnosticNoise-v0")
"""Where more than prompt and tokens decides the reward, so that no text is the best of several."""

SAMPLED = tuple(row.gym_id for row in REGISTRY if "exact" in row.tags and row.gym_id not in RANDOM)
"""Exact environments of which a whole text may be chosen."""

QUICK = ("reinforce", "ppo", "klq", "trajectory_balance", "grpo-corrected")
"""Learners of different kinds, which minutes are enough to tell apart."""


def within(suite: Suite, env_ids: Sequence[str]) -> Suite:
    """What of a suite runs on some environments, there alone."""
    chosen = [
        tuple(row.gym_id for row in REGISTRY if row.gym_id in env_ids and _is_named(row, each.environments))
        for each in suite
    ]
    return tuple(replace(each, environments=place) for each, place in zip(suite, chosen) if place)


def _is_named(row: Row, named: str | tuple[str, ...]) -> bool:
    """Whether an experiment's environments, ids or a tag or "all", hold one."""
    return row.gym_id in named if isinstance(named, tuple) else named == "all" or named in row.tags


# What the leaderboard shows: every baseline on every task; the tabular ones where they fit.
EVERYWHERE: Suite = (
    Experiment("reference", "python -m agents.reference"),
    Experiment("uniform", "python -m agents.uniform"),
    Experiment("greedy", "python -m agents.greedy"),
    Experiment("best_of_n", "python -m agents.best_of_n", SAMPLED),
    # each text of it is the best of n: fewer of them, so that n need not be small
    Experiment("best_of_n", "python -m agents.best_of_n --episodes 1024", "neural"),
    Experiment("posterior", "python -m agents.posterior", "exact"),
    # three texts a prompt: each takes a thousand draws on average
    Experiment("posterior", "python -m agents.posterior --episodes 192", "neural"),
    Experiment("q_learning", "python -m agents.q_learning", TABLES),
    Experiment("sarsa", "python -m agents.sarsa", TABLES),
    Experiment("bayesian_policy", "python -m agents.bayesian_policy", TABLES),
    Experiment("reinforce", "python -m agents.reinforce"),
    # the others see the automaton's state; this one has to find it in the text
    Experiment(
        "reinforce-tokens",
        "python -m agents.reinforce --observe tokens --name reinforce-tokens",
        EXACT_TEXTS,
    ),
    Experiment("ppo", "python -m agents.ppo"),
    Experiment("klq", "python -m agents.klq"),
    Experiment("path_consistency", "python -m agents.path_consistency", WITHOUT_LUCK + NEURAL),
    Experiment("dqn", "python -m agents.dqn"),
    Experiment("q_sharp", "python -m agents.q_sharp", WITHOUT_LUCK + NEURAL),
    # as the field runs it, and with the KL in the reward and nothing divided
    Experiment("grpo", "python -m agents.grpo"),
    Experiment("grpo-corrected", "python -m agents.grpo --loss corrected --name grpo-corrected"),
    Experiment("trajectory_balance", "python -m agents.trajectory_balance"),
    # heads on the frozen reference above; its own weights below, all of them or low-rank factors on them
    Experiment("reinforce-all", "python -m agents.reinforce --train all --name reinforce-all", "neural"),
    Experiment("ppo-all", "python -m agents.ppo --train all --name ppo-all", "neural"),
    Experiment("ppo-lora", "python -m agents.ppo --train lora --name ppo-lora", "neural", (0,)),
    Experiment("sb3_ppo", "python -m agents.sb3_ppo"),
    Experiment("sb3_a2c", "python -m agents.sb3_a2c"),
    # towards pi* by the forward KL, by preferences, by imitation
    Experiment("dpg", "python -m agents.dpg"),
    Experiment("smc", "python -m agents.smc"),
    Experiment("dpo", "python -m agents.dpo"),
    Experiment("dpo-offline", "python -m agents.dpo --no-online --name dpo-offline"),
    Experiment("expert_iteration", "python -m agents.expert_iteration"),
    Experiment("raft", "python -m agents.expert_iteration --no-penalised --name raft"),
    # shown texts of pi*, and no reward
    Experiment("adversarial", "python -m agents.adversarial", ("klrl/Keywords-v0", "klrl/Sentiment-v0")),
    Experiment("model_based", "python -m agents.model_based", "neural"),
    Experiment(
        "model_based-all", "python -m agents.model_based --train all --name model_based-all", "neural"
    ),
)


CORE = within(EVERYWHERE, MAIN)


def commands_of(suite: Suite) -> dict[str, str]:
    """The command of each agent of a suite."""
    return {each.agent: each.command for each in suite}


SUITES: dict[str, Suite] = {
    "core": CORE,
    # Hours apart from the exact ones: what of the core needs a language model.
    "neural": within(CORE, NEURAL),
    # Some three minutes of one core: does an agent learn at all, and which kind learns fastest?
    "quick": tuple(
        Experiment(agent, commands_of(CORE)[agent], QUICK_ENVIRONMENTS, (0,), QUICK_TOKENS) for agent in QUICK
    ),
    # What each baseline can and cannot do, one property at a time: `klrl report` reads it.
    "diagnostics": (
        *over_sweeps("reference", "python -m agents.reference"),
        *over_sweeps("q_learning", "python -m agents.q_learning"),
        *over_sweeps("sarsa", "python -m agents.sarsa"),
        *over_sweeps("bayesian_policy", "python -m agents.bayesian_policy"),
        *over_sweeps("reinforce", "python -m agents.reinforce"),
        *over_sweeps("ppo", "python -m agents.ppo"),
        *over_sweeps("klq", "python -m agents.klq"),
        *over_sweeps("path_consistency", "python -m agents.path_consistency"),
        *over_sweeps("dqn", "python -m agents.dqn"),
        *over_sweeps("q_sharp", "python -m agents.q_sharp"),
        *over_sweeps("grpo", "python -m agents.grpo"),
        *over_sweeps("grpo-corrected", "python -m agents.grpo --loss corrected --name grpo-corrected"),
        *(
            experiment
            for loss in ("dr_grpo", "dapo", "gspo", "cispo")
            for experiment in over_sweeps(loss, f"python -m agents.grpo --loss {loss} --name {loss}")
        ),
        *over_sweeps("trajectory_balance", "python -m agents.trajectory_balance"),
        *over_sweeps("sb3_ppo", "python -m agents.sb3_ppo"),
        *over_sweeps("sb3_a2c", "python -m agents.sb3_a2c"),
        *over_sweeps("dpg", "python -m agents.dpg"),
        *over_sweeps("smc", "python -m agents.smc"),
        *over_sweeps("dpo", "python -m agents.dpo"),
        *over_sweeps("expert_iteration", "python -m agents.expert_iteration"),
    ),
    # Minutes: does every command start, write what it must, and get read? Its numbers mean nothing.
    "smoke": (
        Experiment("reference", "python -m agents.reference", "exact", (0,), 2_000),
        Experiment("posterior", "python -m agents.posterior", "exact", (0,), 2_000),
        Experiment("uniform", "python -m agents.uniform", "exact", (0,), 2_000),
        Experiment("greedy", "python -m agents.greedy", "exact", (0,), 2_000),
        Experiment("best_of_n", "python -m agents.best_of_n --n 2", SAMPLED, (0,), 2_000),
        Experiment("q_learning", "python -m agents.q_learning", "grid", (0,), 20_000),
        Experiment("sarsa", "python -m agents.sarsa", "grid", (0,), 20_000),
        Experiment("bayesian_policy", "python -m agents.bayesian_policy", "grid", (0,), 20_000),
        Experiment("reinforce", "python -m agents.reinforce", "exact", (0,), 20_000),
        Experiment("ppo", "python -m agents.ppo", "exact", (0,), 20_000),
        Experiment("klq", "python -m agents.klq", "exact", (0,), 20_000),
        Experiment("path_consistency", "python -m agents.path_consistency", WITHOUT_LUCK, (0,), 20_000),
        Experiment("dqn", "python -m agents.dqn", "exact", (0,), 20_000),
        Experiment("q_sharp", "python -m agents.q_sharp", WITHOUT_LUCK, (0,), 20_000),
        Experiment("grpo", "python -m agents.grpo", "exact", (0,), 20_000),
        Experiment("trajectory_balance", "python -m agents.trajectory_balance", "exact", (0,), 20_000),
        Experiment("sb3_ppo", "python -m agents.sb3_ppo", "exact", (0,), 20_000),
        Experiment("sb3_a2c", "python -m agents.sb3_a2c", "exact", (0,), 20_000),
        Experiment("dpg", "python -m agents.dpg", "exact", (0,), 20_000),
        Experiment("smc", "python -m agents.smc", "exact", (0,), 20_000),
        Experiment("dpo", "python -m agents.dpo", "exact", (0,), 20_000),
        Experiment("expert_iteration", "python -m agents.expert_iteration", "exact", (0,), 20_000),
    ),
}
