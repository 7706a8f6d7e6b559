"""Training signals as losses of a batch: some right, some with a mistake of one line."""

from __future__ import annotations

import torch

from klrl_envs.signals import Batch, leave_one_out


def log_ratio(batch: Batch) -> torch.Tensor:
    """l of each token, 0 at padding [B, T]."""
    return (batch.log_probs - batch.reference_log_probs) * batch.mask


def k3(ratio: torch.Tensor) -> torch.Tensor:
    return torch.exp(-ratio) - 1 + ratio


def text_log_prob(batch: Batch) -> torch.Tensor:
    return (batch.log_probs * batch.mask).sum(dim=1)


def paid(batch: Batch, rewards: torch.Tensor) -> torch.Tensor:
    """REINFORCE on rewards of texts."""
    return -(leave_one_out(rewards, batch.group_size) * text_log_prob(batch)).mean()


def reward_alone(batch: Batch) -> torch.Tensor:
    return paid(batch, batch.rewards)


def sequence_k2(batch: Batch) -> torch.Tensor:
    return reward_alone(batch) + batch.kl_coef * (log_ratio(batch).sum(dim=1) ** 2 / 2).mean()


def token_k2(batch: Batch) -> torch.Tensor:
    return reward_alone(batch) + batch.kl_coef * (log_ratio(batch) ** 2 / 2).sum(dim=1).mean()


def token_k3(batch: Batch) -> torch.Tensor:
    return reward_alone(batch) + batch.kl_coef * k3(log_ratio(batch)).sum(dim=1).mean()


def sequence_k3(batch: Batch) -> torch.Tensor:
    return reward_alone(batch) + batch.kl_coef * k3(log_ratio(batch).sum(dim=1)).mean()


def sequence_k3_in_the_reward(batch: Batch) -> torch.Tensor:
    return paid(batch, batch.rewards - batch.kl_coef * k3(log_ratio(batch).sum(dim=1)).detach())


def token_k3_weighted(batch: Batch) -> torch.Tensor:
    weight = torch.exp(batch.log_probs - batch.old_log_probs)
    return reward_alone(batch) + batch.kl_coef * (weight * k3(log_ratio(batch))).sum(dim=1).mean()


def exact_kl_of_visited_states(batch: Batch) -> torch.Tensor:
    """The reward's return, and whole rows' KL in the loss."""
    rows = (batch.logits.exp() * (batch.logits - batch.reference_logits)).sum(dim=2) * batch.mask
    return reward_alone(batch) + batch.kl_coef * rows.sum(dim=1).mean()


def normalised_by_the_group(batch: Batch) -> torch.Tensor:
    """Rewards over their standard deviation in the group, then k1 in the reward."""
    grouped = batch.rewards.reshape(-1, batch.group_size)
    scaled = (grouped / (grouped.std(dim=1, keepdim=True, unbiased=False) + 1e-6)).reshape(-1)
    return paid(batch, scaled - batch.kl_coef * log_ratio(batch).sum(dim=1).detach())


# One line is wrong in each of these.


def wrong_sign(batch: Batch) -> torch.Tensor:
    return paid(batch, batch.rewards + batch.kl_coef * log_ratio(batch).sum(dim=1).detach())


def uphill(batch: Batch) -> torch.Tensor:
    return -paid(batch, batch.rewards - batch.kl_coef * log_ratio(batch).sum(dim=1).detach())


def mask_off_by_one(batch: Batch) -> torch.Tensor:
    """The mask one place to the left: the first token is left out, and padding comes in."""
    mask = torch.roll(batch.mask, 1, dims=1)
    price = ((batch.log_probs - batch.reference_log_probs) * mask).sum(dim=1).detach()
    advantage = leave_one_out(batch.rewards - batch.kl_coef * price, batch.group_size)
    return -(advantage * (batch.log_probs * mask).sum(dim=1)).mean()


def no_mask(batch: Batch) -> torch.Tensor:
    price = (batch.log_probs - batch.reference_log_probs).sum(dim=1).detach()
    return paid(batch, batch.rewards - batch.kl_coef * price)


def kl_divided_by_padding(batch: Batch) -> torch.Tensor:
    """The mean over all columns, of which some are padding."""
    return paid(batch, batch.rewards - batch.kl_coef * log_ratio(batch).mean(dim=1).detach())


def kl_detached_in_the_loss(batch: Batch) -> torch.Tensor:
    return reward_alone(batch) + batch.kl_coef * (log_ratio(batch).sum(dim=1) ** 2 / 2).mean().detach()


def k1_in_the_loss(batch: Batch) -> torch.Tensor:
    return reward_alone(batch) + batch.kl_coef * log_ratio(batch).sum(dim=1).mean()


def kl_with_its_gradient(batch: Batch) -> torch.Tensor:
    """k1 in the reward, not detached: the product rule adds a term."""
    advantage = leave_one_out(batch.rewards - batch.kl_coef * log_ratio(batch).sum(dim=1), batch.group_size)
    return -(advantage * text_log_prob(batch)).mean()


def mean_over_tokens(batch: Batch) -> torch.Tensor:
    """Each text divided by its own length."""
    price = log_ratio(batch).sum(dim=1).detach()
    advantage = leave_one_out(batch.rewards - batch.kl_coef * price, batch.group_size)
    return -(advantage * text_log_prob(batch) / batch.mask.sum(dim=1)).mean()


def coefficient_squared(batch: Batch) -> torch.Tensor:
    """kl_coef is applied twice."""
    return paid(batch, batch.rewards - batch.kl_coef**2 * log_ratio(batch).sum(dim=1).detach())
