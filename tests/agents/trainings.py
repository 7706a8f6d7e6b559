"""Trainings of seconds that can be killed: an agent, how its arguments' class begins, and its arguments."""

from __future__ import annotations

from typing import Any

TRAININGS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ppo on an exact task": ("ppo", "PPO", {"env_id": "klrl/DiagnosticNoise-v0", "tokens": 4_000}),
    "reinforce on an exact task": (
        "reinforce", "Reinforce", {"env_id": "klrl/GridNavigation-v0", "tokens": 4_000}
    ),
    "klq on an exact task": ("klq", "KLQ", {"env_id": "klrl/DiagnosticNoise-v0", "tokens": 4_000}),
    "path consistency, with what it keeps": (
        "path_consistency", "PathConsistency", {"env_id": "klrl/DiagnosticNoise-v0", "tokens": 4_000}
    ),
    "path consistency with heads": (
        "path_consistency",
        "PathConsistency",
        {"env_id": "klrl/Sentiment-v0", "tokens": 1_500, "batch": 16},
    ),
    "grpo on an exact task": (
        "grpo", "GRPO", {"env_id": "klrl/DiagnosticPromptScale-v0", "tokens": 4_000, "epochs": 2}
    ),
    "reinforce beside greedy texts": (
        "reinforce",
        "Reinforce",
        {"env_id": "klrl/Dialogue-v0", "tokens": 6_000, "baseline": "remax", "group": 8},
    ),
    "trajectory balance with replay": (
        "trajectory_balance",
        "TrajectoryBalance",
        {"env_id": "klrl/DiagnosticPromptScale-v0", "tokens": 3_000, "group": 4, "baseline": "learned"},
    ),
    "trajectory balance with heads": (
        "trajectory_balance",
        "TrajectoryBalance",
        {
            "env_id": "klrl/Sentiment-v0", "tokens": 3_000, "batch": 16, "group": 4, "draw": "reward",
        },
    ),
    "ppo with heads": (
        "ppo",
        "PPO",
        {"env_id": "klrl/Sentiment-v0", "tokens": 1_500, "batch": 16, "minibatch": 16},
    ),
    "ppo with all weights": (
        "ppo",
        "PPO",
        {"env_id": "klrl/Sentiment-v0", "tokens": 1_500, "batch": 16, "minibatch": 8, "train": "all"},
    ),
    "reinforce with factors": (
        "reinforce",
        "Reinforce",
        {"env_id": "klrl/Sentiment-v0", "tokens": 1_500, "batch": 16, "train": "lora", "rank": 2},
    ),
    "dpg with prompts": (
        "dpg", "DPG", {"env_id": "klrl/DiagnosticPromptScale-v0", "tokens": 3_000, "batch": 32, "group": 8}
    ),
    "smc with heads": ("smc", "SMC", {"env_id": "klrl/Sentiment-v0", "tokens": 1_500, "batch": 16}),
    "dpo offline": (
        "dpo", "DPO", {"env_id": "klrl/DiagnosticGold-v0", "tokens": 4_000, "online": False}
    ),
    "expert iteration": (
        "expert_iteration", "Expert", {"env_id": "klrl/DiagnosticGold-v0", "tokens": 8_000}
    ),
}  # fmt: skip
