"""The policies that write to themselves: heads that read a model of the reward, or a language model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.networks.language_model import NanoPolicy
from agents.networks.self_written import SelfWritten, heads_read, whole_read, write, write_whole
from klrl_envs import Task
from klrl_envs.networks.word_heads import WordHeads
from klrl_envs.networks.words import WordEvidence
from klrl_envs.reference.protocol import neural

BITS = 22
"""Of the table of words and pairs."""


class InformedPolicy(WordHeads):
    """``WordHeads`` as this agent trains and averages them."""

    observes = "pi0's hidden state, sums over the tokens, a model of the reward, time"
    trains = "heads on pi0, on texts judged by a learnt model of the reward"

    def trained_state(self) -> dict[str, Tensor]:
        """Its weights by name, those of words not; no copies."""
        return {name: weight.data for name, weight in self.named_parameters()}

    def groups(self, peak: float, of_embeddings: float) -> list[dict[str, Any]]:
        """What the optimizer moves, each with its highest learning rate."""
        embeddings = {"params": [self.tokens.embedding.weight], "peak": of_embeddings}
        return [{"params": list(self.actor.parameters()), "peak": peak}, embeddings]

    def evidence(self) -> WordEvidence:
        """Where the model of the reward is put."""
        return self.words

    def write_to_itself(self, prompts: NDArray[np.int64], generator: torch.Generator) -> SelfWritten:
        """A text after each of the prompts [N], by their numbers."""
        return write(self.task, self, prompts, generator)

    def read_again(self, texts: SelfWritten, index: Tensor) -> tuple[Tensor, Tensor]:
        """pi0's logits and the residual, [M, V] each, at the M steps of the texts ``index`` [n]."""
        return heads_read(self, texts, index)


class WholePolicy(NanoPolicy):
    """A language model of its own as this agent trains it."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, critic=False)
        self.trains = "all weights, on texts judged by a learnt model of the reward"
        self._unembedding = torch.tensor(neural(task.reference).unembedding())
        self._evidence = WordEvidence(task.vocabulary, BITS)

    def groups(self, peak: float, of_embeddings: float) -> list[dict[str, Any]]:
        """See ``InformedPolicy``."""
        return [{"params": self.actor_weights(), "peak": peak}]

    def evidence(self) -> WordEvidence:
        """See ``InformedPolicy``; here the value alone reads it."""
        return self._evidence

    def write_to_itself(self, prompts: NDArray[np.int64], generator: torch.Generator) -> SelfWritten:
        """See ``InformedPolicy``."""
        return write_whole(self, prompts, generator)

    def read_again(self, texts: SelfWritten, index: Tensor) -> tuple[Tensor, Tensor]:
        """See ``InformedPolicy``."""
        return whole_read(self, self._unembedding, texts, index)
