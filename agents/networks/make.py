"""The policy that fits a task."""

from __future__ import annotations

from agents.networks.heads import TextPolicy
from agents.networks.policy import PolicyNetwork
from agents.networks.residual import ResidualPolicy
from klrl_envs import Task


def make_network(task: Task, *, critic: bool = True) -> PolicyNetwork:
    """The policy that fits a task, for an algorithm with a critic or without."""
    return TextPolicy(task, critic=critic) if task.exact is None else ResidualPolicy(task.exact)
