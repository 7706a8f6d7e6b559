"""A language model of its own that comes to write as another policy does, at that policy's texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from agents.networks.language_model import LanguageModelPolicy
from agents.networks.make import Trained, make_network
from agents.networks.policy import WeightAverage
from agents.networks.self_written import SelfWritten, heads_read
from klrl_envs import Task
from klrl_envs.networks.word_heads import WordHeads


def student_of(task: Task, train: str, rank: int, alpha: int) -> LanguageModelPolicy:
    """A language model that begins as pi0, of which "all" weights move, or "lora", factors of a rank.

    Raises:
        ValueError: see ``make_network``.
    """
    made: Any = make_network(task, critic=False, trained=Trained(train, rank, alpha))
    return made


class Imitation:
    """Brings a student to a teacher by KL(teacher || student) of whole rows, at the teacher's own texts.

    Every token of the vocabulary says at every step what the teacher would do, without noise, so that a text
    teaches far more than its reward does (Hinton et al. 2015, arXiv 1503.02531; Rusu et al. 2016, arXiv
    1511.06295). Weights are averaged over the last third.

    Args:
        teacher: heads on pi0.
        student: a language model that begins as pi0.
        learning_rate: Adam's at first; it rises in the first twentieth, and falls from the third on.
    """

    def __init__(self, teacher: WordHeads, student: LanguageModelPolicy, learning_rate: float) -> None:
        self.teacher = teacher
        self.student = student
        self.peak = learning_rate
        self.weights = student.actor_weights()
        self.optimizer = torch.optim.Adam(self.weights, betas=(0.9, 0.99))
        self.average = WeightAverage(student)

    def divergence(self, texts: SelfWritten, part: Tensor) -> Tensor:
        """KL(teacher || student) of the texts ``part`` [n], nats a text."""
        mask = texts.mask[part]
        with torch.no_grad():
            reference, residual = heads_read(self.teacher, texts, part)
            wanted = (reference + residual).log_softmax(dim=-1)
        _, logits = self.student.read(texts.tokens[part], texts.first[part], mask)
        return (wanted.exp() * (wanted - logits.log_softmax(dim=-1))).sum() / len(part)

    def learn(
        self,
        write: Callable[[], SelfWritten],
        parts: Callable[[SelfWritten], Iterator[Tensor]],
        batches: int,
    ) -> Iterator[float]:
        """Learn from so many batches; gives the mean KL of each, as it was before each step.

        Args:
            write: writes a batch with the teacher.
            parts: the minibatches of one.
            batches: how many.
        """
        for number in range(batches):
            texts, progress = write(), number / batches
            share = min(1.0, 20 * (number + 1) / batches, max(1.02 - 1.5 * max(progress - 1 / 3, 0), 0.02))
            self.optimizer.param_groups[0]["lr"] = share * self.peak
            found: list[float] = []
            for part in parts(texts):
                loss = self.divergence(texts, part)
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
                self.optimizer.step()
                found.append(loss.item())
            if progress >= 2 / 3:
                self.average.add()
            yield sum(found) / len(found)
        self.average.apply()
