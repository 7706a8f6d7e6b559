"""Losses as papers and repositories publish them, written down anew: what is theirs is the formula.

l is log pi - log pi0 of a token, k1 = l, k2 = l^2 / 2, k3 = e^-l - 1 + l (Schulman,
joschu.net/blog/kl-approx.html). Coefficients of the KL are the task's kl_coef, whatever their default is;
clipping and constants are the defaults of the source. A KL in the reward is that of the policy that wrote, as
trainers compute it once, before the first step on a batch; a KL in the loss is the present policy's.
"""

from __future__ import annotations

import torch

from klrl_envs.signals import Batch, leave_one_out

SMALL = 1e-6
"""Beside a standard deviation, as in verl and slime."""
DUAL_CLIP = 3.0
"""verl's clip_ratio_c: where the advantage is negative a ratio counts for no more."""
MASKED = 0.2
"""prime-rl's dppo_mask_low and dppo_mask_high, of a token's probability."""
KL_TAU = 1e-3
"""prime-rl's weight of the squared log-ratio to the policy that wrote."""


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


def written_log_ratio(batch: Batch) -> torch.Tensor:
    """l of each token as it was written, 0 at padding [B, T]: what a KL in the reward is made of."""
    return (batch.old_log_probs - batch.reference_log_probs) * batch.mask


def priced(batch: Batch) -> torch.Tensor:
    """r - kl_coef k1 of each text as it was written [B]."""
    return batch.rewards - batch.kl_coef * written_log_ratio(batch).sum(dim=1)


def grouped(batch: Batch, values: torch.Tensor) -> torch.Tensor:
    """[B] -> [B / G, G]."""
    return values.reshape(-1, batch.group_size)


def centred(batch: Batch, values: torch.Tensor) -> torch.Tensor:
    """What each text has beyond its group's mean [B]."""
    rows = grouped(batch, values)
    return (rows - rows.mean(dim=1, keepdim=True)).reshape(-1)


def standardised(
    batch: Batch, values: torch.Tensor, small: float = SMALL, *, unbiased: bool = True
) -> torch.Tensor:
    """That over the group's standard deviation [B]: torch's, or with ``unbiased`` False NumPy's."""
    spread = grouped(batch, values).std(dim=1, keepdim=True, correction=int(unbiased)) + small
    return (grouped(batch, centred(batch, values)) / spread).reshape(-1)


def whitened(batch: Batch, advantages: torch.Tensor) -> torch.Tensor:
    """Advantages of tokens [B, T], of mean 0 and deviation 1 over all tokens of the batch: OpenRLHF's."""
    count = batch.mask.sum()
    away = advantages - (advantages * batch.mask).sum() / count
    variance = (away**2 * batch.mask).sum() / count
    return away * variance.clamp(min=1e-8).rsqrt()


def whitened_by_slime(batch: Batch, advantages: torch.Tensor) -> torch.Tensor:
    """The same with the variance of a sample, and 1e-8 added to it."""
    count = batch.mask.sum()
    away = advantages - (advantages * batch.mask).sum() / count
    variance = (away**2 * batch.mask).sum() / (count - 1)
    return away * (variance + 1e-8).rsqrt()


def to_go(batch: Batch, values: torch.Tensor) -> torch.Tensor:
    """From each token on to the text's end [B, T]."""
    return (values * batch.mask).flip(1).cumsum(dim=1).flip(1)


def clipped(batch: Batch, advantages: torch.Tensor, low: float = 0.2, high: float = 0.2) -> torch.Tensor:
    """PPO's loss of each token [B, T]; advantages [B, T] or [B, 1]."""
    weight = ratio(batch)
    return -torch.minimum(weight * advantages, weight.clamp(1 - low, 1 + high) * advantages)


def dual_clipped(batch: Batch, advantages: torch.Tensor) -> torch.Tensor:
    """verl's loss of each token: where the advantage is negative at most ``DUAL_CLIP`` times its size."""
    plain = clipped(batch, advantages)
    return torch.where(advantages < 0, torch.minimum(plain, -DUAL_CLIP * advantages), plain)


def over_texts(batch: Batch, values: torch.Tensor) -> torch.Tensor:
    """The mean over each text's tokens, then over texts."""
    return ((values * batch.mask).sum(dim=1) / batch.mask.sum(dim=1)).mean()


def over_tokens(batch: Batch, values: torch.Tensor) -> torch.Tensor:
    """The mean over all tokens of the batch."""
    return (values * batch.mask).sum() / batch.mask.sum()


def summed(batch: Batch, values: torch.Tensor) -> torch.Tensor:
    """The sum over each text's tokens, mean over texts: that over a constant, as Dr. GRPO's."""
    return (values * batch.mask).sum(dim=1).mean()


def rloo(batch: Batch) -> torch.Tensor:
    """REINFORCE, of each text's reward less its KL the mean of the others' is taken."""
    advantage = leave_one_out(priced(batch), batch.group_size)
    return -(advantage * text_log_prob(batch)).mean()


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
    """The weight, held at 1 + eps_high and without gradient, on log pi; no KL.

    eps_high is 5, which TRL's documentation recommends after arXiv 2510.13786; on-policy it has no say.
    """
    weight = ratio(batch).clamp(max=1 + 5.0).detach()
    return over_tokens(batch, -weight * standardised(batch, batch.rewards)[:, None] * batch.log_probs)


def corrected_grpo(batch: Batch) -> torch.Tensor:
    """GRPO without what is wrong: no deviation and no length, as in Dr. GRPO, and k1 in the reward."""
    return summed(batch, clipped(batch, centred(batch, priced(batch))[:, None]))


def reinforce_plus_plus(batch: Batch) -> torch.Tensor:
    """k1 of each token in the reward, returns to go, whitened over the batch."""
    paid = batch.rewards[:, None] - batch.kl_coef * to_go(batch, written_log_ratio(batch))
    return over_tokens(batch, clipped(batch, whitened(batch, paid)))


def reinforce_plus_plus_baseline(batch: Batch) -> torch.Tensor:
    """The group's mean of the rewards off first, then the same."""
    worth = centred(batch, batch.rewards)[:, None]
    paid = worth - batch.kl_coef * to_go(batch, written_log_ratio(batch))
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
    """REINFORCE++-baseline of slime: a token pays its own k1 alone, and all is whitened, as it demands."""
    advantage = centred(batch, batch.rewards)[:, None] - batch.kl_coef * written_log_ratio(batch)
    return over_texts(batch, clipped(batch, whitened_by_slime(batch, advantage)))


def slime_grpo(batch: Batch) -> torch.Tensor:
    """use_unbiased_kl: k3 times the ratio, with its gradient."""
    advantage = standardised(batch, batch.rewards)[:, None]
    return over_texts(batch, clipped(batch, advantage) + batch.kl_coef * ratio(batch) * k3(batch))


def verl_grpo(batch: Batch) -> torch.Tensor:
    """use_kl_loss with low_var_kl, loss_agg_mode token-mean."""
    advantage = standardised(batch, batch.rewards)[:, None]
    price = k3(batch).clamp(-10, 10)
    return over_tokens(batch, dual_clipped(batch, advantage)) + batch.kl_coef * over_tokens(batch, price)


def verl_grpo_straight_through(batch: Batch) -> torch.Tensor:
    """kl_loss_type k3+: the value of k3, the gradient of k2."""
    advantage = standardised(batch, batch.rewards)[:, None]
    price = k2(batch) - k2(batch).detach() + k3(batch).detach()
    return over_tokens(batch, dual_clipped(batch, advantage)) + batch.kl_coef * over_tokens(batch, price)


def verl_grpo_in_reward(batch: Batch) -> torch.Tensor:
    """use_kl_in_reward with k1: the reward less the KL is what is normalised."""
    return over_tokens(batch, dual_clipped(batch, standardised(batch, priced(batch))[:, None]))


def prime_rl(batch: Batch) -> torch.Tensor:
    """Its default: tokens whose probability has moved far the way of their advantage are masked, and the
    squared log-ratio to the policy that wrote is added; no KL from pi0."""
    advantage = centred(batch, batch.rewards)[:, None]
    moved = batch.log_probs.detach().exp() - batch.old_log_probs.exp()
    masked = torch.where(advantage > 0, moved > MASKED, moved < -MASKED)
    away = (batch.log_probs - batch.old_log_probs) * batch.mask
    return over_tokens(batch, -ratio(batch) * advantage * (~masked) + KL_TAU * away**2)


def open_instruct(batch: Batch, advantage: torch.Tensor, price: torch.Tensor) -> torch.Tensor:
    """Its loss_fn dapo: clip_higher is .272."""
    return over_tokens(batch, clipped(batch, advantage[:, None], high=0.272) + batch.kl_coef * price)


def open_instruct_kl4(batch: Batch) -> torch.Tensor:
    """kl_estimator 3: the ratio, with its gradient, times k1; the deviation is NumPy's."""
    advantage = standardised(batch, batch.rewards, 1e-8, unbiased=False)
    return open_instruct(batch, advantage, ratio(batch) * log_ratio(batch))


def open_instruct_kl3(batch: Batch) -> torch.Tensor:
    """Its defaults: kl_estimator 2, which is k3, and advantages that are centred alone."""
    return open_instruct(batch, centred(batch, batch.rewards), k3(batch))


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
