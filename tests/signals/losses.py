"""Training signals as losses of a batch: some right, some with a mistake of one line."""

from __future__ import annotations

from dataclasses import replace

import torch

from klrl_envs.signals import Batch, leave_one_out, reinforce


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


def with_mask(batch: Batch, mask: torch.Tensor) -> torch.Tensor:
    """Leave-one-out REINFORCE with k1 in the reward, under a mask."""
    return reinforce(replace(batch, mask=mask))


def mask_off_by_one(batch: Batch) -> torch.Tensor:
    """The mask one place to the right: the first token is left out, and padding comes in."""
    return with_mask(batch, torch.roll(batch.mask, 1, dims=1))


def last_token_left_out(batch: Batch) -> torch.Tensor:
    """The mask one place to the left, as of the tokens to come: the last token of each text is left out."""
    return with_mask(batch, torch.cat([batch.mask[:, 1:], 0 * batch.mask[:, :1]], dim=1))


def first_token_left_out(batch: Batch) -> torch.Tensor:
    return with_mask(batch, torch.cat([0 * batch.mask[:, :1], batch.mask[:, 1:]], dim=1))


def end_token_left_out(batch: Batch) -> torch.Tensor:
    """The end token is taken for padding, which is the same token."""
    return with_mask(batch, batch.mask * (batch.tokens != 0))


def last_column_left_out(batch: Batch) -> torch.Tensor:
    return with_mask(batch, torch.cat([batch.mask[:, :-1], 0 * batch.mask[:, :1]], dim=1))


def last_token_left_out_of_the_kl(batch: Batch) -> torch.Tensor:
    mask = torch.cat([batch.mask[:, 1:], 0 * batch.mask[:, :1]], dim=1)
    price = (log_ratio(batch) * mask).sum(dim=1).detach()
    return paid(batch, batch.rewards - batch.kl_coef * price)


def gradient_at_padding(batch: Batch) -> torch.Tensor:
    """Right where there are texts, and a pull on what comes behind them."""
    return reinforce(batch) + (batch.log_probs * (1 - batch.mask)).sum()


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


def coefficient_of_one_s_own(batch: Batch) -> torch.Tensor:
    """kl_coef is written into the code."""
    return reinforce(replace(batch, kl_coef=0.3))


def k1_alone(batch: Batch) -> torch.Tensor:
    """Its gradient is 0 on average, though not in any one batch."""
    return log_ratio(batch).sum(dim=1).mean()


def group_mean(batch: Batch) -> torch.Tensor:
    """The text's own reward is in the mean that is taken off: 1 - 1 / G of the gradient is left."""
    price = log_ratio(batch).sum(dim=1).detach()
    worth = (batch.rewards - batch.kl_coef * price).reshape(-1, batch.group_size)
    advantage = (worth - worth.mean(dim=1, keepdim=True)).reshape(-1)
    return -(advantage * text_log_prob(batch)).mean()


def logarithm_of_the_reward(batch: Batch) -> torch.Tensor:
    """No number where a reward is above 1.2."""
    return reinforce(replace(batch, rewards=torch.log(1.2 - batch.rewards)))


def slope_of_a_deviation(batch: Batch) -> torch.Tensor:
    """Finite, but where all texts are alike the deviation's slope is not."""
    return reinforce(batch) + 1e-3 * text_log_prob(batch).var().sqrt()


def at_random(batch: Batch) -> torch.Tensor:
    return reinforce(batch) + 0.1 * torch.randn(()) * text_log_prob(batch).mean()


def by_the_number(batch: Batch) -> torch.Tensor:
    """What no vectorising survives."""
    value = reinforce(batch)
    return value if value.item() < 1e9 else 2 * value


def token_k3_in_the_reward(batch: Batch) -> torch.Tensor:
    """Each token is worth the reward less the k3 from there on."""
    price = k3(log_ratio(batch)) * batch.mask
    to_go = price.flip(1).cumsum(dim=1).flip(1)
    worth = (batch.rewards[:, None] - batch.kl_coef * to_go).detach()
    return -(worth * batch.log_probs * batch.mask).sum(dim=1).mean()
