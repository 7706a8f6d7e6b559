"""The example to copy: REINFORCE under a KL penalty in one file, with gymnasium and torch alone.

The gradient of J = E[return - kl_coef KL(pi || pi0)] is

    E sum_t grad log pi(a_t|s_t) [ sum_{t'>=t} (r_t' - kl_coef (log pi - log pi0)_t') - baseline_t ]

where log pi - log pi0 of the token taken is a number, without gradient. The baseline is the mean of the other
episodes of the batch. It does not depend on the episode's own tokens, so that the gradient stays unbiased.

On a features id of an exact environment the last V features are the row log pi0(.|s). The policy's logits are
that row plus a network that is zero at first, so that training starts at the reference.

    python -m agents.minimal
    python -m agents.minimal --env-id klrl/KeywordsFeatures-v0 --learning-rate 5e-3
    python -m agents.minimal --env-id my_tasks:me/PraiseFeatures-v0     # of one's own, in my_tasks.py
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

import klrl_envs


class Policy(nn.Module):
    """log pi(.|s) = log softmax(log pi0(.|s) + f(the other features)), f = 0 at first."""

    def __init__(self, features: int, vocab_size: int, width: int = 128) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        last = nn.Linear(width, vocab_size)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.residual = nn.Sequential(
            nn.Linear(features - vocab_size, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), last
        )

    def forward(self, observations: Tensor) -> Tensor:
        """Rows of log-probs [..., V] of features [..., F]."""
        state, reference = observations.split(
            (observations.shape[-1] - self.vocab_size, self.vocab_size), dim=-1
        )
        return (reference + self.residual(state)).log_softmax(dim=-1)

    @torch.no_grad()
    def log_probs(self, observations: np.ndarray) -> np.ndarray:
        """The same rows as ``klrl_envs.evaluate`` asks for them."""
        return self(torch.as_tensor(observations)).numpy()


@dataclass
class Batch:
    """One episode in each of N lanes, of at most T steps; what follows an episode's end is not ``alive``."""

    log_probs: Tensor  # [T, N], of the tokens taken, with gradient
    reference_log_probs: Tensor  # [T, N]
    rewards: Tensor  # [T, N]
    alive: Tensor  # bool [T, N]


def write(env: gym.vector.VectorEnv, policy: Policy) -> Batch:
    """Let the policy write an episode in each lane."""
    observations, _ = env.reset()
    alive = np.ones(env.num_envs, dtype=bool)
    steps = []
    # A lane that has ended begins another episode while the others finish theirs. It is not learnt from:
    # of those episodes only the short ones would be complete when the batch ends.
    while alive.any():
        rows = policy(torch.as_tensor(observations))
        tokens = torch.distributions.Categorical(logits=rows.detach()).sample()
        taken = rows.gather(-1, tokens[:, None]).squeeze(-1)
        observations, rewards, terminated, truncated, infos = env.step(tokens.numpy())
        reference = infos["reference_log_prob"]
        steps.append((taken, *map(torch.as_tensor, (reference, rewards, alive.copy()))))
        alive &= ~(terminated | truncated)
    return Batch(*(torch.stack(parts) for parts in zip(*steps)))


def loss_of(batch: Batch, kl_coef: float) -> Tensor:
    """What to descend: its gradient is that of -J / kl_coef, an average over the lanes."""
    alive = batch.alive.float()
    # In nats, so that one learning rate fits environments whose rewards have other units.
    paid = (batch.rewards / kl_coef - (batch.log_probs.detach() - batch.reference_log_probs)) * alive
    to_go = paid.flip(0).cumsum(0).flip(0)
    others = alive.sum(1, keepdim=True) - alive
    baseline = (to_go.sum(1, keepdim=True) - to_go) / others.clamp_min(1)
    return -((to_go - baseline) * alive * batch.log_probs).sum() / alive.shape[1]


def train(
    env_id: str, *, seed: int, tokens: int, learning_rate: float = 2e-2, lanes: int = 16, **env_kwargs: Any
) -> Policy:
    """A policy that has learnt from about so many tokens."""
    shows_features = env_id.endswith(klrl_envs.find_row(env_id).features_id)
    if not shows_features or klrl_envs.make_task(env_id, **env_kwargs).exact is None:
        raise ValueError(f"env_id must be the features id of an exact environment, got {env_id!r}")
    torch.manual_seed(seed)
    # NextStep: the step after an end starts the lane anew, and what an episode's last step was told stays
    # in ``infos``. With SameStep it would be in ``infos["final_info"]``.
    env: Any = gym.make_vec(env_id, lanes, "vector_entry_point", autoreset_mode="NextStep", **env_kwargs)
    env.reset(seed=seed)
    policy = Policy(env.single_observation_space.shape[0], env.single_action_space.n)
    optimizer = torch.optim.Adam(policy.parameters(), betas=(0.9, 0.99))
    written = 0
    while written < tokens:
        batch = write(env, policy)
        # Steps shrink to nothing: of a fixed size they would end in noise, and noise costs KL.
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - written / tokens)
        optimizer.zero_grad()
        loss_of(batch, env.unwrapped.kl_coef).backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        written += batch.alive.numel()
    return policy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env-id", default="klrl/GridNavigationFeatures-v0", help="a features id, exact")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    parser.add_argument("--tokens", type=int, default=300_000, help="to write in training")
    parser.add_argument("--learning-rate", type=float, default=2e-2, help="Adam's, at first")
    args = parser.parse_args()
    trained = train(args.env_id, seed=args.seed, tokens=args.tokens, learning_rate=args.learning_rate)
    # 0 is the reference and 1 the optimum, which every environment knows.
    print(klrl_envs.evaluate(trained, args.env_id, episodes=1024, seed=args.seed).score)
