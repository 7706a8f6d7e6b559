"""A language model of its own that comes to write as heads on pi0 do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.networks.language_model import LanguageModelPolicy
from agents.networks.make import Trained, make_network
from agents.networks.policy import WeightAverage
from agents.networks.self_written import SelfWritten, decoded, heads_read
from agents.networks.writing import Texts, up_to_the_end
from klrl_envs import Task
from klrl_envs.networks.word_heads import WordHeads

SHOWN = 0.2
"""Share of the batches that the teacher writes."""
AVERAGED = 0.7
"""Share of them after which weights are averaged."""


def student_of(task: Task, train: str, rank: int, alpha: int) -> LanguageModelPolicy:
    """A language model on the CPU that begins as pi0; "all" weights move, or "lora", factors of a rank.

    Raises:
        ValueError: see ``make_network``.
    """
    made: Any = make_network(task, critic=False, trained=Trained(train, rank, alpha))
    return made.to("cpu")  # where its teacher is; evaluation moves it


@torch.no_grad()
def write_as_student(
    student: LanguageModelPolicy, prompts: NDArray[np.int64], generator: torch.Generator
) -> SelfWritten:
    """A text of a language model after each of the prompts [N], by their numbers."""
    task = student.task
    actions, log_probs = student.written(prompts, generator)
    mask = up_to_the_end(actions, -1 if task.end_token is None else task.end_token)
    shown = torch.as_tensor(task.padded_prompts[prompts])
    first = torch.as_tensor(task.prompts.lengths[prompts]).long()
    tokens = Texts(shown, first, actions, log_probs, mask, task.pad).whole()
    reference, hidden = torch.zeros_like(log_probs), []
    for part in torch.arange(len(tokens)).split(student.at_once(tokens.device)):
        there = mask[part]
        states, logits = student.read(tokens[part], first[part], there, reference=True)
        taken = logits.log_softmax(dim=-1).gather(-1, actions[part][there][:, None]).squeeze(-1)
        reference[part] = reference[part].masked_scatter(there, taken)
        hidden.append(states)
    return SelfWritten(
        tokens=tokens,
        first=first,
        actions=torch.where(mask, actions, 0),
        mask=mask,
        log_probs=log_probs,
        log_ratios=log_probs - reference,
        hidden=torch.cat(hidden),
        texts=decoded(task, tokens.tolist(), (first + mask.sum(1)).tolist()),
    )


class Imitation:
    """Brings a student to a teacher: whole rows, first at the teacher's texts, then at its own.

    Every token of the vocabulary says at every step what the teacher would do, without noise, so that a text
    teaches far more than its reward does. At the teacher's texts it follows KL(teacher || student), and alone
    these leave it in states of its own that nobody has shown it; at its own KL(student || teacher), as it
    stands in the objective. Sources: Hinton et al. 2015 (arXiv 1503.02531); on the student's own texts,
    Agarwal et al. 2023 (arXiv 2306.13649).

    Args:
        teacher: heads on pi0, on the CPU.
        student: a language model that begins as pi0.
        learning_rate: Adam's at its peak; it rises in the first twentieth, and falls from the third on.
    """

    def __init__(self, teacher: WordHeads, student: LanguageModelPolicy, learning_rate: float) -> None:
        self.teacher = teacher
        self.student = student
        self.peak = learning_rate
        self.weights = student.actor_weights()
        self.optimizer = torch.optim.Adam(self.weights, betas=(0.9, 0.99))
        self.average = WeightAverage(student)

    def divergence(self, texts: SelfWritten, part: Tensor, *, own: bool) -> Tensor:
        """The KL of the texts ``part`` [n], nats a text: from the student where they are its own."""
        mask = texts.mask[part]
        with torch.no_grad():
            reference, residual = heads_read(self.teacher, texts, part)
            wanted = (reference + residual).log_softmax(dim=-1)
        _, logits = self.student.read(texts.tokens[part], texts.first[part], mask)
        rows = logits.log_softmax(dim=-1)
        apart = rows.exp() * (rows - wanted) if own else wanted.exp() * (wanted - rows)
        return apart.sum() / len(part)

    def learn(
        self,
        write: Callable[[bool], SelfWritten],
        batches: int,
        minibatch: int,
        rng: np.random.Generator,
    ) -> Iterator[float]:
        """Learn from so many batches; gives the mean KL of each, as it was before each step.

        Args:
            write: writes a batch, as the student where it is told True, as the teacher else.
            batches: how many.
            minibatch: texts of a step.
            rng: of their order.
        """
        for number in range(batches):
            progress = number / batches
            own = progress >= SHOWN
            texts = write(own)
            share = min(1.0, 20 * (number + 1) / batches, max(1.02 - 1.5 * max(progress - 1 / 3, 0), 0.02))
            self.optimizer.param_groups[0]["lr"] = share * self.peak
            found: list[float] = []
            for part in torch.as_tensor(rng.permutation(len(texts))).split(minibatch):
                loss = self.divergence(texts, part, own=own)
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
                self.optimizer.step()
                found.append(loss.item())
            if progress >= AVERAGED:
                self.average.add()
            yield sum(found) / len(found)
        self.average.apply()
