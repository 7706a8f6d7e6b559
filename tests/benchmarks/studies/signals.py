"""Training signals spelled out from their definitions, on every text of a tiny task.

The policy has free logits at every history, and a signal's expected update is differentiated. Nothing here
knows of backward passes.
"""

from __future__ import annotations

import numpy as np
import torch

from tests.benchmarks.studies.texts import Array, Texts
from tests.oracles import Instance

DISCOUNT = 0.9


class Signal:
    """The expectations that signals are made of, at a policy given by its rows at every history."""

    def __init__(self, texts: Texts, rows: Array, task: Instance) -> None:
        """Rows are float64 [H, V], log pi."""
        self.texts, self.kl_coef = texts, task.kl_coef
        self.logits = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
        self.rows = self.logits.log_softmax(dim=1)
        self.reference_rows = torch.from_numpy(task.reference.rows(texts.contexts).copy())
        self.history, self.written = torch.from_numpy(texts.history), torch.from_numpy(texts.written)
        self.paid, self.reference = torch.from_numpy(texts.paid), torch.from_numpy(texts.reference)
        taken = self.rows[self.history, torch.from_numpy(texts.token)]
        self.log_probs = torch.where(self.written, taken, 0.0)
        self.ratio = self.log_probs - self.reference  # l_t, 0 behind the end
        self.chance = torch.from_numpy(texts.chance) * self.log_probs.detach().sum(dim=1).exp()

    def to_go(self, paid: torch.Tensor, discount: float = 1.0) -> torch.Tensor:
        """What a text is still paid, at each of its tokens; detached."""
        total, columns = torch.zeros(len(paid), dtype=torch.float64), []
        for column in reversed(paid.detach().unbind(dim=1)):
            total = column + discount * total
            columns.append(total)
        return torch.stack(columns[::-1], dim=1)

    def score(self, advantage: torch.Tensor) -> torch.Tensor:
        """Of which the gradient is E S_t g_t advantage_t."""
        return self.mean((self.log_probs * advantage).sum(dim=1))

    def mean(self, quantity: torch.Tensor) -> torch.Tensor:
        """Mean over texts, which are drawn and not differentiated."""
        return (self.chance * quantity).sum()

    def visited(self, quantity: torch.Tensor) -> torch.Tensor:
        """E S_t of a quantity [H] of the histories, as they are visited."""
        return self.mean(torch.where(self.written, quantity[self.history], 0.0).sum(dim=1))

    @property
    def kl(self) -> torch.Tensor:
        """KL(pi || pi0) [H] at each history."""
        return (self.rows.exp() * (self.rows - self.reference_rows)).sum(dim=1)

    def gradient(self, objective: torch.Tensor) -> Array:
        """The update [H, V] of a visit: the gradient over the chance that a history occurs."""
        (found,) = torch.autograd.grad(objective, self.logits, retain_graph=True)
        occurs = torch.zeros(len(self.logits), dtype=torch.float64)
        occurs.index_put_((self.history[self.written],), self.spread, accumulate=True)
        return (found / occurs[:, None]).numpy()

    @property
    def spread(self) -> torch.Tensor:
        """The chance of each token's text."""
        return self.chance[:, None].expand_as(self.written)[self.written]


def k3(ratio: torch.Tensor) -> torch.Tensor:
    """pi0 / pi - 1 - log(pi0 / pi), of log(pi / pi0)."""
    return torch.exp(-ratio) - 1 + ratio


def k1_in_the_reward(signal: Signal) -> torch.Tensor:
    return signal.score(signal.to_go(signal.paid - signal.kl_coef * signal.ratio))


def sequence_k2_in_the_loss(signal: Signal) -> torch.Tensor:
    k2 = signal.ratio.sum(dim=1) ** 2 / 2
    return signal.score(signal.to_go(signal.paid)) - signal.kl_coef * signal.mean(k2)


def exact_kl_and_its_gradient(signal: Signal) -> torch.Tensor:
    kl = torch.where(signal.written, signal.kl[signal.history], 0.0)
    paid = signal.paid - signal.kl_coef * kl
    return signal.score(signal.to_go(paid)) - signal.kl_coef * signal.visited(signal.kl)


def discounted(signal: Signal) -> torch.Tensor:
    return signal.score(signal.to_go(signal.paid - signal.kl_coef * signal.ratio, DISCOUNT))


def entropy_of_the_visited_state(signal: Signal) -> torch.Tensor:
    entropy = -(signal.rows.exp() * signal.rows).sum(dim=1)
    paid = signal.paid + signal.kl_coef * signal.reference
    return signal.score(signal.to_go(paid)) + signal.kl_coef * signal.visited(entropy)


def kl_of_the_visited_state(signal: Signal) -> torch.Tensor:
    return signal.score(signal.to_go(signal.paid)) - signal.kl_coef * signal.visited(signal.kl)


def token_k2_in_the_loss(signal: Signal) -> torch.Tensor:
    k2 = (signal.ratio**2 / 2).sum(dim=1)
    return signal.score(signal.to_go(signal.paid)) - signal.kl_coef * signal.mean(k2)


def token_k3_in_the_loss(signal: Signal) -> torch.Tensor:
    # behind the end log(pi / pi0) is 0, and so is k3
    return signal.score(signal.to_go(signal.paid)) - signal.kl_coef * signal.mean(k3(signal.ratio).sum(dim=1))


def weighted_k3_in_the_loss(signal: Signal, *, per_token: bool) -> torch.Tensor:
    """k3 times pi / pi_old, which is 1 on-policy and has a gradient."""
    ratio = signal.ratio if per_token else signal.ratio.sum(dim=1, keepdim=True)
    log_prob = signal.log_probs if per_token else signal.log_probs.sum(dim=1, keepdim=True)
    weighted = (log_prob - log_prob.detach()).exp() * k3(ratio)
    return signal.score(signal.to_go(signal.paid)) - signal.kl_coef * signal.mean(weighted.sum(dim=1))


def token_weighted_k3_in_the_loss(signal: Signal) -> torch.Tensor:
    return weighted_k3_in_the_loss(signal, per_token=True)


def sequence_weighted_k3_in_the_loss(signal: Signal) -> torch.Tensor:
    return weighted_k3_in_the_loss(signal, per_token=False)


def sequence_k3_in_the_loss(signal: Signal) -> torch.Tensor:
    return signal.score(signal.to_go(signal.paid)) - signal.kl_coef * signal.mean(k3(signal.ratio.sum(dim=1)))


def token_k3_in_the_reward(signal: Signal) -> torch.Tensor:
    return signal.score(signal.to_go(signal.paid - signal.kl_coef * k3(signal.ratio)))


def regressed_on_a_value(signal: Signal, value_coef: float, replayed: float) -> torch.Tensor:
    """Minus (beta l + V - r)^2 on texts of pi0 and of the policy; V = c log E_0 exp(r / c)."""
    texts, reward = signal.texts, signal.paid.sum(dim=1)
    reference = torch.from_numpy(np.exp(texts.log_reference))
    value = torch.zeros_like(reward)
    for start in np.unique(texts.start):
        mine = torch.from_numpy(texts.start == start)
        value[mine] = value_coef * torch.log((reference[mine] * torch.exp(reward[mine] / value_coef)).sum())
    drawn = replayed * torch.from_numpy(texts.chance) * reference + (1 - replayed) * signal.chance
    error = signal.kl_coef * signal.ratio.sum(dim=1) + value - reward
    return -(drawn * error**2).sum()


def k3_in_the_reward(signal: Signal) -> torch.Tensor:
    whole = signal.paid.sum(dim=1) - signal.kl_coef * k3(signal.ratio.sum(dim=1))
    return signal.score(whole.detach()[:, None].expand_as(signal.log_probs))


def group_normalised(signal: Signal) -> torch.Tensor:
    reward, starts = signal.paid.sum(dim=1), torch.from_numpy(signal.texts.start)
    deviation = torch.zeros_like(reward)
    for start in starts.unique():
        mine = starts == start
        law = signal.chance[mine] / signal.chance[mine].sum()
        mean = (law * reward[mine]).sum()
        deviation[mine] = (law * (reward[mine] - mean) ** 2).sum().sqrt().clamp(min=1e-9)
    paid = signal.paid / deviation[:, None]
    return signal.score(signal.to_go(paid - signal.kl_coef * signal.ratio))
