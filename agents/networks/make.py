"""The policy that fits a task."""

from __future__ import annotations

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
