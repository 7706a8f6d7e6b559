"""What the examples of libraries share: the environment, the command line, the score of what was trained."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
from torch import nn

import klrl_envs
from klrl_envs.policies import Policy
from klrl_envs.wrappers import VectorKLReward

ENV_ID = "klrl/GridNavigationFeatures-v0"
"""An exact environment whose reference is uniform: a network of any library begins close to it."""
KL_COEF = klrl_envs.find_row(ENV_ID).kl_coef
LANES = 16
STEPS = 64
"""Tokens of a lane between two updates."""
TOKENS = 32_768


def vector_env(log_prob: Callable[[Any], Any]) -> Any:
    """Lanes side by side, with the KL in their rewards; an ended lane begins anew in the same step.

    Args:
        log_prob: features [N, F] -> log pi(.|s) [N, V] of the policy that acts.
    """
    env = gym.make_vec(ENV_ID, LANES, "vector_entry_point", autoreset_mode="SameStep")
    return VectorKLReward(env, KL_COEF, log_prob)


def begin_at_reference(network: nn.Module, last_gain: float = 0.01) -> nn.Module:
    """The network with orthogonal weights and a small last layer: its softmax is all but uniform, as pi0 is.

    Stable-Baselines3 and CleanRL begin so by themselves (Engstrom et al. 2020, arXiv 2005.12729, have it
    among what makes PPO work); from PyTorch's own weights PPO needs several times the tokens here.

    Args:
        network: of linear layers, perhaps among others.
        last_gain: of the last one; 1 for a critic.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight, last_gain if layer is layers[-1] else 2**0.5)
        nn.init.zeros_(layer.bias)
    return network


def main(train: Callable[[int, int], Policy], description: str | None, argv: list[str] | None = None) -> None:
    """Train, evaluate, and say in a line what the policy is worth.

    Args:
        train: (tokens to write, seed) -> a policy for ``klrl_envs.evaluate``, on ``ENV_ID``.
        description: of ``--help``, the example's docstring.
        argv: the command line's words.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=TOKENS, help=f"to write in training ({TOKENS:,})")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    args = parser.parse_args(argv)
    mark, began = klrl_envs.ledger.mark(), time.perf_counter()
    policy = train(args.tokens, args.seed)
    seconds = time.perf_counter() - began
    written = (klrl_envs.ledger.counts() - mark.counts).tokens
    score = klrl_envs.evaluate(policy, ENV_ID, episodes=256, seed=args.seed).score
    assert score is not None
    print(f"score {score.estimate:.3f} after {written} tokens in {seconds:.1f} s")
