"""The policy that fits a task, new or as an agent left it."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from agents.networks.heads import TextPolicy
from agents.networks.policy import PolicyNetwork
from agents.networks.residual import ResidualPolicy
from klrl_envs import Task


def make_network(task: Task, *, critic: bool = True) -> PolicyNetwork:
    """The policy that fits a task, for an algorithm with a critic or without."""
    return TextPolicy(task, critic=critic) if task.exact is None else ResidualPolicy(task.exact)


def load_network(task: Task, folder: str | Path) -> PolicyNetwork:
    """The policy that ``agents.ppo`` or ``agents.reinforce`` left in its folder, as policy.safetensors."""
    weights = load_file(Path(folder) / "policy.safetensors")
    policy = make_network(task, critic=any(name.startswith("critic.") for name in weights))
    policy.load_state_dict(weights)
    return policy
