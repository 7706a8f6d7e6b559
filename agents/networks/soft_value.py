"""The soft value of a text so far: what is still to come under pi0, as a network learns it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.networks.reward_model import RewardModel
from agents.networks.self_written import SelfWritten, words_along
from klrl_envs import Task
from klrl_envs.networks.perceptron import perceptron
from klrl_envs.networks.words import SAID, WordEvidence

KNOWN = SAID + 1
"""What is read beside the hidden state."""


@dataclass(frozen=True)
class Judged:
    """What a model of the reward makes of N texts of at most T tokens.

    Attributes:
        known: float32 [N, T, KNOWN], of the text before each step: what its words say, and the time left.
        rewards: float32 [N], of the whole texts, in [0, 1].
        final: float32 [N], (r - the highest) / kl_coef, nats: never above 0.
    """

    known: Tensor
    rewards: Tensor
    final: Tensor


@torch.no_grad()
def judged(task: Task, model: RewardModel, evidence: WordEvidence, texts: SelfWritten) -> Judged:
    """What a model says of texts, and on the way to their ends, where the evidence has its weights."""
    known = []
    for part in torch.arange(len(texts)).split(1024):
        said = [evidence.said(words, task.max_length) for words in words_along(evidence, texts, part)]
        known.append(torch.stack(said, dim=1))
    found = torch.cat(known)
    left = (1 - torch.arange(task.horizon) / task.horizon).expand(found.shape[:2])
    rewards = torch.as_tensor(model.logits(texts.texts)).float().sigmoid()
    lowest, highest = task.reward_range
    final = (rewards - 1) * (highest - lowest) / task.kl_coef
    return Judged(torch.cat((found, left[..., None]), dim=-1), rewards, final)


def scaled_rewards(task: Task, rewards: Tensor) -> Tensor:
    """Rewards of a task, scaled to [0, 1] by its range."""
    lowest, highest = task.reward_range
    return ((rewards - lowest) / (highest - lowest)).float()


class SoftValue(nn.Module):
    """log E_pi0[exp((r - the highest) / kl_coef) | a text so far], nats.

    The expectation is a probability: that of accepting pi0's continuation in rejection sampling from pi*. So
    it is learnt by the log-loss, from one continuation of each text.

    Args:
        width: of pi0's hidden state.
        hidden: of the two hidden layers.
    """

    def __init__(self, width: int, hidden: int = 256) -> None:
        super().__init__()
        self.network = perceptron(width + KNOWN, hidden, 1, bias=-2.0)

    def logits(self, hidden: Tensor, known: Tensor) -> Tensor:
        """Of the acceptance [...], of hidden states [..., width] and what is known [..., KNOWN]."""
        return self.network(torch.cat((hidden.float(), known), dim=-1)).squeeze(-1)

    def forward(self, texts: SelfWritten, found: Judged, index: Tensor) -> Tensor:
        """Values [n, T + 1], nats, of the texts ``index`` [n] after 0 to T tokens; at last what they got."""
        logits = self.logits(texts.hidden[index], found.known[index])
        final = found.final[index][:, None]
        values = torch.where(texts.mask[index], F.logsigmoid(logits), final)
        return torch.cat((values, final), dim=1)

    @torch.no_grad()
    def of_all(self, texts: SelfWritten, found: Judged, at_once: int = 1024) -> Tensor:
        """Values [N, T + 1] of all texts, without gradient."""
        return torch.cat([self(texts, found, part) for part in torch.arange(len(texts)).split(at_once)])

    def acceptance_loss(self, texts: SelfWritten, found: Judged, index: Tensor) -> Tensor:
        """The mean log-loss over the steps of texts ``index`` [n] that pi0 wrote."""
        mask = texts.mask[index]
        logits = self.logits(texts.hidden[index], found.known[index])[mask]
        accepted = found.final[index].exp()[:, None].expand_as(mask)[mask]
        return F.binary_cross_entropy_with_logits(logits, accepted)
