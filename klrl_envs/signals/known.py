"""Signals that are known to be right, as losses of a ``Batch``: yardsticks, and examples to write by."""

from __future__ import annotations

import torch

from klrl_envs.signals.batch import Batch


def leave_one_out(values: torch.Tensor, group_size: int) -> torch.Tensor:
    """What each text of a group has beyond the mean of the others [B]; itself where it is alone."""
    if group_size == 1:
        return values
    grouped = values.reshape(-1, group_size)
    return ((grouped - grouped.mean(dim=1, keepdim=True)) * group_size / (group_size - 1)).reshape(-1)


def reinforce(batch: Batch) -> torch.Tensor:
    """Leave-one-out REINFORCE with k1 in the reward (arXiv 2402.14740): its gradient is J's on average.

    k1 is the present policy's. With one step on a batch that is what trainers have, which compute it of the
    policy that wrote; with texts of another policy the optimum then stays an end, as theirs does not.
    """
    log_ratio = ((batch.log_probs - batch.reference_log_probs) * batch.mask).sum(dim=1).detach()
    advantage = leave_one_out(batch.rewards - batch.kl_coef * log_ratio, batch.group_size)
    return -(advantage * (batch.log_probs * batch.mask).sum(dim=1)).mean()
