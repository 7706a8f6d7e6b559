"""The policy that fits a task."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from agents.networks.causal_model import CausalPolicy
from agents.networks.heads import TextPolicy
from agents.networks.language_model import NanoPolicy
from agents.networks.policy import PolicyNetwork
from agents.networks.raw_tokens import RawTokensPolicy
from agents.networks.residual import ResidualPolicy
from klrl_envs import Task
from klrl_envs.networks.language_model import has_nano

OBSERVED = ("state", "tokens")
TRAINED = ("heads", "all", "lora")


@dataclass(frozen=True)
class Trained:
    """Which weights an algorithm moves.

    Attributes:
        train: "heads" on pi0, "all" weights of a language model that starts as pi0, or "lora", factors on it.
        rank, alpha: of the factors.
        checkpoint_layers: computes a layer's activations again for its gradient, in place of keeping them.
    """

    train: str = "heads"
    rank: int = 8
    alpha: int = 16
    checkpoint_layers: bool = False


def trained_by(args: Any) -> Trained:
    """What the arguments of an agent say of it."""
    return Trained(**{item.name: getattr(args, item.name) for item in fields(Trained)})


def make_network(
    task: Task, *, critic: bool = True, observe: str = "state", trained: Trained = Trained()
) -> PolicyNetwork:
    """The policy that fits a task, for an algorithm with a critic or without.

    Args:
        task: what is played.
        critic: whether there is one.
        observe: "state" for all that helps (of an exact task the automaton's state, of a neural one pi0's
            hidden state and sums over the text), "tokens" for the raw tokens alone. A language model sees
            the tokens either way.
        trained: which weights move; anything but heads needs a neural task.

    Raises:
        ValueError: another ``observe`` or ``trained.train``, or one that the task does not fit.
    """
    if observe not in OBSERVED:
        raise ValueError(f"observe must be one of {OBSERVED}, got {observe!r}")
    if trained.train not in TRAINED:
        raise ValueError(f"train must be one of {TRAINED}, got {trained.train!r}")
    if trained.train != "heads":
        return language_model(task, critic, trained)
    if observe == "tokens":
        return RawTokensPolicy(task, critic=critic)
    return TextPolicy(task, critic=critic) if task.exact is None else ResidualPolicy(task.exact)


def language_model(task: Task, critic: bool, trained: Trained) -> PolicyNetwork:
    """The policy that is a language model; ValueError where the reference is none."""
    if task.exact is not None:
        raise ValueError(
            f"train must be 'heads' on {task.id}, got {trained.train!r}: its reference is a table, "
            "and has no network whose weights could move"
        )
    if trained.train == "lora" and (trained.rank < 1 or trained.alpha < 1):
        raise ValueError(f"rank and alpha must be at least 1, got {trained.rank} and {trained.alpha}")
    low = trained.train == "lora"
    kind = NanoPolicy if has_nano(task) else CausalPolicy
    return kind(
        task,
        critic=critic,
        rank=trained.rank if low else 0,
        alpha=trained.alpha if low else 0,
        checkpoint_layers=trained.checkpoint_layers,
    )
