"""Losses as papers and repositories publish them, written down anew: what is theirs is the formula.

l is log pi - log pi0 of a token, k1 = l, k2 = l^2 / 2, k3 = e^-l - 1 + l (Schulman,
joschu.net/blog/kl-approx.html). Coefficients of the KL are the task's kl_coef, whatever their default is.
"""

from __future__ import annotations

import torch

from klrl_envs.signals import Batch, leave_one_out

SMALL = 1e-6
"""Beside a standard deviation, as in verl."""


def log_ratio(batch: Batch) -> torch.Tensor:
    """l of each token, 0 at padding [B, T]."""
    return (batch.log_probs - batch.reference_log_probs) * batch.mask


def k2(batch: Batch) -> torch.Tensor:
    """l^2 / 2 [B, T]."""
    return log_ratio(batch) ** 2 / 2


def k3(batch: Batch) -> torch.Tensor:
    """e^-l - 1 + l [B, T]."""
    return torch.expm1(-log_ratio(batch)) + log_ratio(batch)


def text_log_prob(batch: Batch) -> torch.Tensor:
    """log pi of each text [B]."""
    return (batch.log_probs * batch.mask).sum(dim=1)


def ratio(batch: Batch) -> torch.Tensor:
    """pi / pi_old of each token [B, T]."""
    return torch.exp((batch.log_probs - batch.old_log_probs) * batch.mask)


def priced(batch: Batch) -> torch.Tensor:
    """r - kl_coef k1 of each text, a number without gradient [B]."""
    return batch.rewards - batch.kl_coef * log_ratio(batch).sum(dim=1).detach()


def grouped(batch: Batch, values: torch.Tensor) -> torch.Tensor:
    """[B] -> [B / G, G]."""
    return values.reshape(-1, batch.group_size)


def centred(batch: Batch, values: torch.Tensor) -> torch.Tensor:
    """What each text has beyond its group's mean [B]."""
    rows = grouped(batch, values)
    return (rows - rows.mean(dim=1, keepdim=True)).reshape(-1)


def standardised(batch: Batch, values: torch.Tensor) -> torch.Tensor:
    """That over the group's standard deviation [B]."""
    spread = grouped(batch, values).std(dim=1, keepdim=True) + SMALL
    return (grouped(batch, centred(batch, values)) / spread).reshape(-1)


def whitened(batch: Batch, advantages: torch.Tensor) -> torch.Tensor:
    """Advantages of tokens [B, T], of mean 0 and deviation 1 over all tokens of the batch."""
    count = batch.mask.sum()
    away = advantages - (advantages * batch.mask).sum() / count
    variance = (away**2 * batch.mask).sum() / count
    return away * variance.clamp(min=1e-8).rsqrt()


def to_go(batch: Batch, values: torch.Tensor) -> torch.Tensor:
    """From each token on to the text's end [B, T]."""
    return (values * batch.mask).flip(1).cumsum(dim=1).flip(1)


def clipped(batch: Batch, advantages: torch.Tensor, low: float = 0.2, high: float = 0.2) -> torch.Tensor:
    """PPO's loss of each token [B, T]; advantages [B, T] or [B, 1]."""
    weight = ratio(batch)
    return -torch.minimum(weight * advantages, weight.clamp(1 - low, 1 + high) * advantages)


def over_texts(batch: Batch, values: torch.Tensor) -> torch.Tensor:
    """The mean over each text's tokens, then over texts."""
    return ((values * batch.mask).sum(dim=1) / batch.mask.sum(dim=1)).mean()


def over_tokens(batch: Batch, values: torch.Tensor) -> torch.Tensor:
    """The mean over all tokens of the batch."""
    return (values * batch.mask).sum() / batch.mask.sum()


def summed(batch: Batch, values: torch.Tensor) -> torch.Tensor:
    """The sum over each text's tokens, mean over texts: that over a constant, as Dr. GRPO's."""
    return (values * batch.mask).sum(dim=1).mean()


def grpo(batch: Batch) -> torch.Tensor:
    """The deviation of the group, mean of each text, k3 in the loss."""
    advantage = standardised(batch, batch.rewards)[:, None]
    return over_texts(batch, clipped(batch, advantage) + batch.kl_coef * k3(batch))


def dapo(batch: Batch) -> torch.Tensor:
    """A mean over tokens, the clip higher above, no KL."""
    return over_tokens(batch, clipped(batch, standardised(batch, batch.rewards)[:, None], high=0.28))


def dr_grpo(batch: Batch) -> torch.Tensor:
    """No deviation, no length; the paper sets the KL's coefficient to 0."""
    return summed(batch, clipped(batch, centred(batch, batch.rewards)[:, None]))


def gspo(batch: Batch) -> torch.Tensor:
    """The ratio of texts, to the power of one over their length; no KL."""
    lengths = batch.mask.sum(dim=1)
    whole = torch.exp(((batch.log_probs - batch.old_log_probs) * batch.mask).sum(dim=1) / lengths)
    advantage = standardised(batch, batch.rewards)
    return -torch.minimum(whole * advantage, whole.clamp(1 - 3e-4, 1 + 4e-4) * advantage).mean()


def cispo(batch: Batch) -> torch.Tensor:
    """The clipped weight without gradient, on log pi; no KL."""
    weight = ratio(batch).clamp(max=1 + 5.0).detach()
    return over_tokens(batch, -weight * standardised(batch, batch.rewards)[:, None] * batch.log_probs)


def corrected_grpo(batch: Batch) -> torch.Tensor:
    """GRPO without what is wrong: k1 in the reward, no deviation, no length."""
    return summed(batch, clipped(batch, centred(batch, priced(batch))[:, None]))


def reinforce_plus_plus(batch: Batch) -> torch.Tensor:
    """k1 of each token in the reward, returns to go, whitened over the batch."""
    paid = batch.rewards[:, None] - batch.kl_coef * to_go(batch, log_ratio(batch).detach())
    return over_tokens(batch, clipped(batch, whitened(batch, paid)))


def reinforce_plus_plus_baseline(batch: Batch) -> torch.Tensor:
    """The group's mean of the rewards off first, then the same."""
    worth = centred(batch, batch.rewards)[:, None]
    paid = worth - batch.kl_coef * to_go(batch, log_ratio(batch).detach())
    return over_tokens(batch, clipped(batch, whitened(batch, paid)))


def baseline_with(batch: Batch, price: torch.Tensor) -> torch.Tensor:
    """REINFORCE++-baseline with a KL in the loss, a mean over tokens."""
    advantage = whitened(batch, centred(batch, batch.rewards)[:, None] * torch.ones_like(batch.mask))
    return over_tokens(batch, clipped(batch, advantage)) + batch.kl_coef * over_tokens(batch, price)


def openrlhf_k1(batch: Batch) -> torch.Tensor:
    """use_kl_loss with k1."""
    return baseline_with(batch, log_ratio(batch))


def openrlhf_k2(batch: Batch) -> torch.Tensor:
    """use_kl_loss with k2."""
    return baseline_with(batch, k2(batch))


def openrlhf_k3(batch: Batch) -> torch.Tensor:
    """use_kl_loss with k3."""
    return baseline_with(batch, k3(batch))


def slime_baseline(batch: Batch) -> torch.Tensor:
    """REINFORCE++-baseline of slime, not whitened: a token pays its own k1 alone."""
    advantage = centred(batch, batch.rewards)[:, None] - batch.kl_coef * log_ratio(batch).detach()
    return over_texts(batch, clipped(batch, advantage, high=0.28))


def slime_grpo(batch: Batch) -> torch.Tensor:
    """use_unbiased_kl: k3 times the ratio, with its gradient."""
    advantage = standardised(batch, batch.rewards)[:, None]
    return over_texts(batch, clipped(batch, advantage) + batch.kl_coef * ratio(batch) * k3(batch))


def verl_grpo(batch: Batch) -> torch.Tensor:
    """use_kl_loss with low_var_kl, loss_agg_mode token-mean."""
    advantage = standardised(batch, batch.rewards)[:, None]
    price = k3(batch).clamp(-10, 10)
    return over_tokens(batch, clipped(batch, advantage)) + batch.kl_coef * over_tokens(batch, price)


def verl_grpo_straight_through(batch: Batch) -> torch.Tensor:
    """kl_loss_type k3+: the value of k3, the gradient of k2."""
    advantage = standardised(batch, batch.rewards)[:, None]
    price = k2(batch) - k2(batch).detach() + k3(batch).detach()
    return over_tokens(batch, clipped(batch, advantage)) + batch.kl_coef * over_tokens(batch, price)


def verl_grpo_in_reward(batch: Batch) -> torch.Tensor:
    """use_kl_in_reward with k1: the reward less the KL is what is normalised."""
    return over_tokens(batch, clipped(batch, standardised(batch, priced(batch))[:, None]))


def prime_rl(batch: Batch) -> torch.Tensor:
    """Masked where the ratio is far from 1; its KL is from the policy that wrote, none from pi0."""
    weight, advantage = ratio(batch), centred(batch, batch.rewards)[:, None]
    kept = ((weight > 0.125) & (weight < 8.0)).to(weight.dtype)
    return over_tokens(batch, -weight * advantage * kept)


def open_instruct_kl4(batch: Batch) -> torch.Tensor:
    """The last of its estimators: the ratio, with its gradient, times k1."""
    advantage = standardised(batch, batch.rewards)[:, None]
    return over_tokens(batch, clipped(batch, advantage) + batch.kl_coef * ratio(batch) * log_ratio(batch))


def open_instruct_kl3(batch: Batch) -> torch.Tensor:
    """Its default, k3, with advantages that are centred alone."""
    advantage = centred(batch, batch.rewards)[:, None]
    return over_tokens(batch, clipped(batch, advantage) + batch.kl_coef * k3(batch))


def sequence_k2(batch: Batch) -> torch.Tensor:
    """Leave-one-out REINFORCE, and k2 of whole texts in the loss."""
    advantage = leave_one_out(batch.rewards, batch.group_size)
    price = (log_ratio(batch).sum(dim=1) ** 2 / 2).mean()
    return -(advantage * text_log_prob(batch)).mean() + batch.kl_coef * price


def a_star_po(batch: Batch) -> torch.Tensor:
    """(kl_coef l - r + V)^2; V at 5 kl_coef of the group's other texts (the paper's: of pi0's)."""
    beta = 5 * batch.kl_coef
    rewards = grouped(batch, batch.rewards) / beta
    best = rewards.amax(dim=1, keepdim=True)
    weights = torch.exp(rewards - best)
    others = (weights.sum(dim=1, keepdim=True) - weights) / (batch.group_size - 1)
    value = beta * (best + torch.log(others)).reshape(-1)
    return ((batch.kl_coef * log_ratio(batch).sum(dim=1) + value - batch.rewards) ** 2).mean()


def pairs(batch: Batch, moved: torch.Tensor) -> torch.Tensor:
    """REBEL's regression of differences: kl_coef (moved_i - moved_j) on r_i - r_j, all pairs of a group."""
    rows, rewards = grouped(batch, moved), grouped(batch, batch.rewards)
    error = batch.kl_coef * (rows[:, :, None] - rows[:, None]) - (rewards[:, :, None] - rewards[:, None])
    return (error**2).mean()


def rebel(batch: Batch) -> torch.Tensor:
    """Its base is the policy before the update."""
    return pairs(batch, ((batch.log_probs - batch.old_log_probs) * batch.mask).sum(dim=1))


def rebel_from_pi0(batch: Batch) -> torch.Tensor:
    """The same with pi0 as its base."""
    return pairs(batch, log_ratio(batch).sum(dim=1))


def gvpo(batch: Batch) -> torch.Tensor:
    """Weights (r - mean) - kl_coef (l - mean)."""
    away = batch.rewards - batch.kl_coef * log_ratio(batch).sum(dim=1)
    return -(centred(batch, away).detach() * text_log_prob(batch)).mean()


def trajectory_balance(batch: Batch) -> torch.Tensor:
    """(l - r / kl_coef + c)^2, c the group's mean of r / kl_coef - l, without gradient (VarGrad)."""
    error = log_ratio(batch).sum(dim=1) - batch.rewards / batch.kl_coef
    middle = grouped(batch, error).mean(dim=1, keepdim=True).expand(-1, batch.group_size).reshape(-1)
    return ((error - middle.detach()) ** 2).mean()
