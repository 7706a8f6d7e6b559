"""The policy that fits a task, new or as an agent left it."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from agents.networks.heads import TextPolicy
from agents.networks.policy import PolicyNetwork
from agents.networks.raw_tokens import RawTokensPolicy
from agents.networks.residual import ResidualPolicy
from klrl_envs import Task

OBSERVED = ("state", "tokens")


def make_network(task: Task, *, critic: bool = True, observe: str = "state") -> PolicyNetwork:
    """The policy that fits a task, for an algorithm with a critic or without.

    Args:
        task: what is played.
        critic: whether there is one.
        observe: "state" for all that helps (of an exact task the automaton's state, of a neural one pi0's
            hidden state and sums over the text), "tokens" for the raw tokens alone.

    Raises:
        ValueError: another ``observe``, or "tokens" of a task that shows none.
    """
    if observe not in OBSERVED:
        raise ValueError(f"observe must be one of {OBSERVED}, got {observe!r}")
    if observe == "tokens":
        return RawTokensPolicy(task, critic=critic)
    return TextPolicy(task, critic=critic) if task.exact is None else ResidualPolicy(task.exact)


def load_network(task: Task, folder: str | Path) -> PolicyNetwork:
    """The policy that ``agents.ppo`` or ``agents.reinforce`` left in its folder, as policy.safetensors."""
    weights = load_file(Path(folder) / "policy.safetensors")
    critic = any(name.startswith("critic.") for name in weights)
    recurrent = any(name.startswith("actor.unit.") for name in weights)
    policy = make_network(task, critic=critic, observe="tokens" if recurrent else "state")
    policy.load_state_dict(weights)
    return policy
