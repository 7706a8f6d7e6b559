"""Policies that are action values: logits = log pi0 + Q / kl_coef, Q as a number or as a distribution.

With K = 1 atoms the network gives Q / kl_coef of each token itself. With more it gives a distribution over K
equally spaced rewards z of the task's range, what is still to come if pi0 goes on behind the token, and

    Q / kl_coef = log S_z p(z|s, a) exp((z - highest) / kl_coef)

so that one network has a policy for every kl_coef. The numbers of each token are added to one for all tokens,
by which a token that was seen rarely is taken for a common one. At first tokens do not differ: the policy is
pi0 (or, for K = 1, the task's initial policy). The first distribution has p(z) in proportion to
exp(-z / kl_coef). High rewards that were never seen have nothing but their first shares; were these larger,
they would be all that Q counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from klrl_envs.networks.half_precision import in_bfloat16
from klrl_envs.networks.residual import ResidualNetwork
from klrl_envs.networks.text_heads import TextHeads
from klrl_envs.tasks.base import Task, require_exact

LARGEST = {"width": 4096, "second": 4096, "third": 4096, "atoms": 1024}


def deep_network(inputs: int, hidden: Sequence[int], outputs: int, device: str | None) -> nn.Sequential:
    """Hidden layers of the given widths, and an output that is zero at first."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(inputs, size, device=device), nn.SiLU()]
        inputs = size
    last = nn.Linear(inputs, outputs, device=device)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def support_of(task: Task, atoms: int) -> Tensor:
    """The rewards of K atoms less the highest, over kl_coef: float32 [K], nats, up to 0.

    Noise on the reward may exceed its mean's range without bound, and has no atoms of its own.
    """
    lowest, highest = task.mean_reward_range
    width = highest - lowest or 1.0  # where nothing is paid any will do
    return torch.linspace(-width / task.kl_coef, 0.0, atoms)


def soft_value(logits: Tensor, support: Tensor) -> Tensor:
    """Q / kl_coef [...] of numbers [..., K]: they are it where K = 1, and else logits of a distribution."""
    if len(support) == 1:
        return logits.squeeze(-1)
    return (logits + support).logsumexp(dim=-1) - logits.logsumexp(dim=-1)


@torch.no_grad()
def begin_even(biases: Tensor, support: Tensor) -> None:
    """Have all K atoms count alike at first: their biases [K] become less by what their rewards are more."""
    if len(support) > 1:
        biases.copy_(-support)


class QTokens(nn.Module):
    """Numbers of every token [..., V, K], or of one, from a small input.

    Args:
        inputs: D.
        hidden: widths of three hidden layers.
        vocab_size: V.
        support: [K].
        device: of the weights.
    """

    support: Tensor

    def __init__(
        self, inputs: int, hidden: Sequence[int], vocab_size: int, support: Tensor, device: str | None
    ) -> None:
        super().__init__()
        self.register_buffer("support", support, persistent=False)
        self.layers = deep_network(inputs, hidden, (vocab_size + 1) * len(support), device)
        bias = cast(nn.Linear, self.layers[-1]).bias
        begin_even(bias[: len(support)], support)

    def forward(self, inputs: Tensor) -> Tensor:
        """Q / kl_coef [..., V] of inputs [..., D]."""
        found: Tensor = self.layers(inputs)
        found = found.view(*inputs.shape[:-1], -1, len(self.support))
        return soft_value(found[..., 1:, :] + found[..., :1, :], self.support)

    def taken(self, inputs: Tensor, place: Tensor, actions: Tensor) -> Tensor:
        """The numbers [M, K] of tokens [M] at the inputs ``place`` [M] of [U, D]: no row is made."""
        last = cast(nn.Linear, self.layers[-1])
        hidden = self.layers[:-1](inputs)
        size, atoms = last.in_features, len(self.support)
        weights, biases = last.weight.view(-1, atoms, size), last.bias.view(-1, atoms)
        common = hidden @ weights[0].T + biases[0]
        own = (weights[1:].flatten(1)[actions].view(-1, atoms, size) @ hidden[place, :, None]).squeeze(-1)
        return common[place] + own + biases[1:][actions]


class QResidual(ResidualNetwork):
    """Exact tasks: Q of (automaton state, time, token), which is all that it depends on.

    Args:
        task: an exact task.
        width, second, third: of the hidden layers.
        atoms: K.
        device: of the weights.
    """

    kind: ClassVar = "q-residual"
    largest: ClassVar = LARGEST

    def __init__(
        self,
        task: Task,
        width: int = 768,
        second: int = 512,
        third: int = 256,
        atoms: int = 1,
        *,
        device: str | None = None,
    ) -> None:
        exact = require_exact(task, "a network of action values")
        # a distribution of what pi0 is paid says nothing of where a policy starts
        super().__init__(exact if atoms == 1 else replace(exact, initial_policy=None), 1, device=device)
        self._sizes = {"width": width, "second": second, "third": third, "atoms": atoms}
        support = support_of(task, atoms)
        self.actor = QTokens(self.inputs, (width, second, third), task.vocab_size, support, device)


class QHeads(TextHeads):
    """Neural tasks: Q from pi0's final hidden state, learnt sums over the text, and the share written.

    Each of a token's K numbers is a product of a query and the token's key, as in ``TextHeads``.

    Args:
        task: a neural task.
        size: of the evidence's embeddings.
        width, second, third: of the hidden layers.
        atoms: K.
        pairs: 0, as pairs of tokens weigh nothing here.
        device: of the weights.
    """

    kind: ClassVar = "q-heads"
    largest: ClassVar = {"size": 4096, **LARGEST}

    support: Tensor

    def __init__(
        self,
        task: Task,
        size: int = 64,
        width: int = 768,
        second: int = 512,
        third: int = 256,
        atoms: int = 1,
        *,
        pairs: int = 0,
        device: str | None = None,
    ) -> None:
        super().__init__(task, size, 1, pairs, device=device)
        self._sizes = {"size": size, "width": width, "second": second, "third": third, "atoms": atoms}
        self.register_buffer("support", support_of(task, atoms), persistent=False)
        outputs = atoms * (self.unembedding.shape[1] + size + 1)
        self.actor = deep_network(self.inputs, (width, second, third), outputs, device)
        begin_even(cast(nn.Linear, self.actor[-1]).bias.view(atoms, -1)[:, -1], self.support)

    def query(self, inputs: Tensor) -> Tensor:
        """Of each number [M, K, width of keys + 1], the one for all tokens last, of inputs [M, D]."""
        with in_bfloat16(inputs.device):
            found = self.actor(inputs)
        return found.float().view(len(inputs), len(self.support), -1)

    def keys(self) -> Tensor:
        """Of the tokens, [V, width of keys]."""
        return torch.cat((self.unembedding, self.learnt_keys()), dim=1)

    def residual(self, inputs: Tensor, last: Tensor) -> Tensor:
        """See ``TextHeads``."""
        query = self.query(inputs)
        numbers = (query[..., :-1] @ self.keys().T + query[..., -1:]).transpose(-1, -2)
        return soft_value(numbers, self.support)

    def taken(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """The numbers [M, K] of tokens [M], of inputs [M, D]."""
        query = self.query(inputs)
        return (query[..., :-1] * self.keys()[actions][:, None]).sum(dim=-1) + query[..., -1]
