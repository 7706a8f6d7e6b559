"""The policy of neural tasks: a head on the reference, whose weights stay as they are, and on the text."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from klrl_envs.networks.evidence import TextEvidence, after_none
from klrl_envs.networks.half_precision import in_bfloat16
from klrl_envs.networks.lanes import ResidualLanes
from klrl_envs.networks.perceptron import perceptron
from klrl_envs.networks.torch_network import TorchNetwork
from klrl_envs.policies import LanesPolicy
from klrl_envs.reference.device import features_of
from klrl_envs.reference.protocol import neural
from klrl_envs.tasks.base import Task


class TextHeads(TorchNetwork):
    """Neural tasks: a head on pi0's final hidden state and on the evidence so far.

        logits = log pi0(.|s) + K u(s) + t(s) K0 h(s) + g(s) w(last token, .)

    where the keys K are pi0's output embeddings K0 beside the evidence's, h is pi0's final hidden state and w
    are the pairs. As K0 h are pi0's own logits, t alone makes it surer or less sure, by 1 / (1 + t) as its
    temperature: where pi0 half knows the answer that is most of the optimum. Nothing of pi0 is run twice.

    Args:
        task: a neural task.
        size: of the evidence's embeddings.
        width: of the head's two hidden layers.
        pairs: whether pairs of tokens weigh anything, 0 or 1.
        device: of the weights.
    """

    kind: ClassVar = "text-heads"
    largest: ClassVar = {"size": 4096, "width": 4096, "pairs": 1}

    unembedding: Tensor

    def __init__(
        self, task: Task, size: int = 64, width: int = 256, pairs: int = 1, *, device: str | None = None
    ) -> None:
        super().__init__(task, size=size, width=width, pairs=pairs)
        reference = neural(task.reference)
        self.register_buffer("unembedding", torch.tensor(reference.unembedding()), persistent=False)
        self.inputs = reference.width + size + 2
        self.evidence = TextEvidence(task.vocab_size, size, pairs=bool(pairs), device=device)
        outputs = self.unembedding.shape[1] + size + 2
        self.actor = perceptron(self.inputs, width, outputs, device=device)

    def encode(self, hidden: Tensor, sums: Tensor, length: Tensor) -> Tensor:
        """What the head reads [..., width + size + 2], of hidden states, sums and numbers of tokens.

        The share of the longest text that is written stands for the time, which it is where prompts are of
        one length.
        """
        share = (length / self.task.max_length)[..., None]
        return torch.cat((hidden, sums / length.clamp_min(1)[..., None].sqrt(), share), dim=-1)

    def learnt_keys(self) -> Tensor:
        """The evidence's embeddings [V, size]."""
        return self.evidence.embedding.weight

    def residual(self, inputs: Tensor, last: Tensor) -> Tensor:
        """Logits less log pi0 [M, V] of what the head reads [M, D] and the last tokens [M]."""
        with in_bfloat16(inputs.device):
            query = self.actor(inputs)
        query = query.float()
        keys = self.learnt_keys()
        width = self.unembedding.shape[1]
        of_given, of_learnt, surer, of_pairs = query.split((width, keys.shape[1], 1, 1), dim=1)
        of_given = torch.addcmul(of_given, surer, inputs[:, :width])
        result = torch.addmm(of_given @ self.unembedding.T, of_learnt, keys.T)
        pairs = self.evidence.pairs_after(last)
        return result if pairs is None else torch.addcmul(result, of_pairs, pairs)

    def for_evaluation(self, task: Task) -> tuple[LanesPolicy, bool]:
        """See ``Network``."""
        policy = self.to(task.device).eval()
        return LanesPolicy(lambda count, length: TextLanes(policy, task, count, length), task), False


class Reading:
    """The evidence along N texts that grow together.

    Args:
        policy: whose evidence it is.
        tokens: int64 [N, L], of which ``lengths`` [N] count.
    """

    def __init__(self, policy: TextHeads, tokens: Tensor, lengths: NDArray[np.int64]) -> None:
        self._policy = policy
        self._length = torch.as_tensor(lengths, device=tokens.device).clone()
        every = torch.arange(len(tokens), device=tokens.device)
        self._sums = policy.evidence.sums(tokens)[every, self._length]
        self.last = after_none(tokens)[every, self._length]

    def inputs(self, hidden: Tensor, some: Tensor | None = None) -> Tensor:
        """What the head reads [K, D] of ``some`` texts [K], by default of all, and of pi0's hidden states
        [K, width] there.
        """
        if some is None:
            return self._policy.encode(hidden, self._sums, self._length)
        return self._policy.encode(hidden, self._sums[some], self._length[some])

    def append(self, tokens: Tensor) -> None:
        """Go on by tokens [N]."""
        self._sums = self._sums + self._policy.evidence.of_tokens(self.last, tokens)
        self._length = self._length + 1
        self.last = tokens


class TextLanes(ResidualLanes[Reading]):
    """``TextHeads`` along N texts."""

    def __init__(self, policy: TextHeads, task: Task, count: int, max_length: int) -> None:
        super().__init__(task, count, max_length)
        self._policy = policy

    def read(self, tokens: Tensor, lengths: NDArray[np.int64]) -> Reading:
        """See ``ResidualLanes``."""
        return Reading(self._policy, tokens, lengths)

    def residual(self) -> Tensor:
        """See ``ResidualLanes``."""
        inputs = self.known.inputs(features_of(self.reference, self.device))
        return self._policy.residual(inputs, self.known.last)
