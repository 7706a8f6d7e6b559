"""The policy of neural tasks that has a model of the reward: a head on pi0, and on the words so far."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from klrl_envs.networks.evidence import TextEvidence
from klrl_envs.networks.half_precision import in_bfloat16
from klrl_envs.networks.lanes import ResidualLanes
from klrl_envs.networks.perceptron import perceptron
from klrl_envs.networks.torch_network import TorchNetwork
from klrl_envs.networks.words import SAID, WordEvidence, Words, read_words
from klrl_envs.policies import LanesPolicy
from klrl_envs.reference.device import features_of
from klrl_envs.reference.protocol import neural
from klrl_envs.tasks.base import Task


class WordHeads(TorchNetwork):
    """Neural tasks: a head on pi0's final hidden state and on what a model of the reward makes of the words.

        logits = log pi0(.|s) + K u(s) + g(s) dl(s, .) + h(s) dr(s, .)

    where the keys K are pi0's output embeddings beside learnt ones, and dl(s, a) and dr(s, a) are by how much
    token a changes what the model says of the text, as a logit, and as a reward in nats (``WordEvidence``).
    Before the last token the optimum is h = 1, all else 0, if the model is right. Nothing of pi0 runs twice.

    Args:
        task: a neural task.
        size: of the learnt embeddings, whose sums the head reads, too.
        width: of the head's two hidden layers.
        bits: the table of words and pairs has 2^bits weights.
        device: of the weights.
    """

    kind: ClassVar = "word-heads"
    largest: ClassVar = {"size": 4096, "width": 4096, "bits": 24}

    unembedding: Tensor

    def __init__(
        self, task: Task, size: int = 64, width: int = 256, bits: int = 22, *, device: str | None = None
    ) -> None:
        super().__init__(task, size=size, width=width, bits=bits)
        reference = neural(task.reference)
        self.register_buffer("unembedding", torch.tensor(reference.unembedding()), persistent=False)
        lowest, highest = task.reward_range
        self.nats = (highest - lowest) / task.kl_coef
        self.inputs = reference.width + size + SAID + 1
        self.tokens = TextEvidence(task.vocab_size, size, pairs=False, device=device)
        self.words = WordEvidence(task.vocabulary, bits, device=device)
        outputs = self.unembedding.shape[1] + size + 2
        self.actor = perceptron(self.inputs, width, outputs, device=device)

    def encode(self, hidden: Tensor, sums: Tensor, words: Words, length: Tensor) -> Tensor:
        """What the head reads [M, D], of hidden states, sums of embeddings, words, and numbers of tokens [M].

        The share of the longest text that is written stands for the time, which it is where prompts are of
        one length.
        """
        share = length / self.task.max_length
        said = self.words.said(words, self.task.max_length)
        return torch.cat((hidden, sums / length.clamp_min(1)[:, None].sqrt(), said, share[:, None]), dim=-1)

    def residual(self, inputs: Tensor, words: Words) -> Tensor:
        """Logits less log pi0 [M, V] of what the head reads [M, D] and the words so far."""
        with in_bfloat16(inputs.device):
            query = self.actor(inputs)
        query = query.float()
        keys = torch.cat((self.unembedding, self.tokens.embedding.weight), dim=1)
        logits, rewards = self.words.changes(words)
        result = torch.addmm(query[:, -2:-1] * logits, query[:, :-2], keys.T)
        return result.addcmul(query[:, -1:], rewards, value=self.nats)

    def for_evaluation(self, task: Task) -> tuple[LanesPolicy, bool]:
        """See ``Network``."""
        policy = self.to(task.device).eval()
        return LanesPolicy(lambda count, length: WordLanes(policy, task, count, length), task), False


class WordReading:
    """What ``WordHeads`` knows of N texts that grow together.

    Args:
        policy: whose embeddings and words they are.
        tokens: int64 [N, L], of which ``lengths`` [N] count.
    """

    def __init__(self, policy: WordHeads, tokens: Tensor, lengths: NDArray[np.int64]) -> None:
        self._policy = policy
        self._length = torch.as_tensor(lengths, device=tokens.device).clone()
        every = torch.arange(len(tokens), device=tokens.device)
        self._sums = policy.tokens.sums(tokens)[every, self._length][:, :-1]
        self.words = read_words(policy.words, tokens, self._length, policy.task.max_length + 1)

    def inputs(self, hidden: Tensor) -> Tensor:
        """What the head reads [N, D], of pi0's hidden states [N, width]."""
        return self._policy.encode(hidden, self._sums, self.words, self._length)

    def append(self, tokens: Tensor) -> None:
        """Go on by tokens [N]."""
        self._sums = self._sums + self._policy.tokens.embedding(tokens)
        self._length = self._length + 1
        self.words = self._policy.words.append(self.words, tokens)


class WordLanes(ResidualLanes[WordReading]):
    """``WordHeads`` along N texts."""

    def __init__(self, policy: WordHeads, task: Task, count: int, max_length: int) -> None:
        super().__init__(task, count, max_length)
        self._policy = policy

    def read(self, tokens: Tensor, lengths: NDArray[np.int64]) -> WordReading:
        """See ``ResidualLanes``."""
        return WordReading(self._policy, tokens, lengths)

    def residual(self) -> Tensor:
        """See ``ResidualLanes``."""
        inputs = self.known.inputs(features_of(self.reference, self.device))
        return self._policy.residual(inputs, self.known.words)
