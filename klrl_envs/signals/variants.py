"""What may move a signal's end: changes that leave the optimum where it is, and harder conditions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.signals.batch import Loss
from klrl_envs.signals.calls import Calls, LargeGroup, calls_of
from klrl_envs.signals.ends import End, follow
from klrl_envs.signals.expected import SILENT, Sampler, Signal
from klrl_envs.signals.tiny import TinyTask

WORD = 1
STAKES = 0.2
"""What the last prompt's rewards are multiplied by where prompts have unequal stakes."""
BATCH_STEPS = 4
BATCH_MOVE = 0.5
"""The most that the steps on one batch move a logit, on average over batches of pi0's texts."""

Kind = Literal["same optimum", "condition"]


@dataclass(frozen=True)
class Setting:
    """What a signal is tried on: the loss, the task, and how many texts and groups a call has."""

    loss: Loss
    task: TinyTask
    group: int
    batch: int

    def signal(
        self, task: TinyTask | None = None, calls: Calls | None = None, sampler: Sampler | None = None
    ) -> Signal:
        """The signal, on another task, other calls or another sampler."""
        task = task or self.task
        calls = calls or calls_of(task.prompts, task.texts, self.group, self.batch)
        return Signal(self.loss, task, calls, sampler)

    def end(self, task: TinyTask | None = None) -> End:
        """Where it ends on a task that was made of this one, which says what it scores there."""
        return follow(self.signal(task))


@dataclass(frozen=True)
class Variant:
    """A change, and the law [P, N] that the end should have; the base's own where None.

    ``ends`` is (setting, the base's end) -> the end and the law that it is held against.
    """

    name: str
    kind: Kind
    ends: Callable[[Setting, End], tuple[End, FloatArray]]


def on_task(name: str, change: Callable[[TinyTask], TinyTask]) -> Variant:
    """A change of the task with the same optimum."""
    return Variant(name, "same optimum", lambda setting, base: (setting.end(change(setting.task)), base.law))


def with_stakes(setting: Setting, base: End) -> tuple[End, FloatArray]:
    """The last prompt's rewards are small: it should end there as with a coefficient as much larger."""
    task = setting.task
    factors = [*[1.0] * (task.prompts - 1), STAKES]
    law = base.law.copy()
    law[-1] = setting.end(task.cheaper(STAKES)).law[-1]
    return setting.end(task.with_stakes(factors)), law


def with_groups(size: int) -> Variant:
    """Groups of another size."""

    def ends(setting: Setting, base: End) -> tuple[End, FloatArray]:
        calls = calls_of(setting.task.prompts, setting.task.texts, size, setting.batch)
        return follow(setting.signal(calls=calls)), base.law

    return Variant(f"groups of {size}", "same optimum", ends)


def with_large_groups(setting: Setting, base: End) -> tuple[End, FloatArray]:
    """The limit of large groups."""
    return follow(setting.signal(calls=LargeGroup(setting.task.prompts, setting.batch))), base.law


def with_batch_steps(setting: Setting, base: End) -> tuple[End, FloatArray]:
    """Several gradient steps on one batch."""
    steepest = np.abs(setting.signal().gradients(setting.task.reference).each).max(axis=(1, 2, 3)).mean()
    rate = float(BATCH_MOVE / (BATCH_STEPS * steepest)) if steepest > SILENT else 1.0
    return follow(setting.signal(sampler=Sampler(steps=BATCH_STEPS, rate=rate))), base.law


def with_texts_of_pi0(setting: Setting, base: End) -> tuple[End, FloatArray]:
    """All texts are pi0's, as those that are made before the training."""
    return follow(setting.signal(sampler=Sampler(writer=setting.task.reference))), base.law


def with_noise(sigma: float, *, told: bool) -> Variant:
    """What writes is another policy than what is trained, as an inference engine of other kernels is."""

    def ends(setting: Setting, base: End) -> tuple[End, FloatArray]:
        noise = np.random.default_rng(2).normal(scale=sigma, size=setting.task.reference.shape)
        return follow(setting.signal(sampler=Sampler(noise=noise, told=told))), base.law

    how = "its log-probs handed over" if told else "its log-probs computed anew by the trainer"
    return Variant(f"sampler {sigma:g} nats off, {how}", "condition", ends)


def with_new_tokens(setting: Setting, base: End) -> tuple[End, FloatArray]:
    """The trainer tokenises the texts anew, and finds other tokens than were written."""
    sampler = Sampler(retokenised=True)
    return follow(setting.signal(setting.task.cloned(WORD), sampler=sampler)), base.law


def with_moved_reference(setting: Setting, base: End) -> tuple[End, FloatArray]:
    """Where it comes to rest, the reference is set to the policy, and it goes on."""
    moved = setting.task.from_reference(base.rows)
    return follow(setting.signal(moved), original=setting.task), base.law


def variants(setting: Setting, sigma: float) -> list[Variant]:
    """All that fit a setting."""
    stakes = [Variant(f"the last prompt's rewards times {STAKES:g}", "same optimum", with_stakes)]
    return [
        on_task("every reward + 3", lambda task: task.shifted(3.0)),
        on_task("rewards and kl_coef times 10", lambda task: task.scaled(10.0)),
        on_task("a word cloned", lambda task: task.cloned(WORD)),
        on_task("a word spelled with 3 tokens", lambda task: task.spelled_longer(WORD)),
        on_task("2 columns of padding", lambda task: task.padded(2)),
        *(stakes if setting.task.prompts > 1 else []),
        *([with_groups(2)] if setting.group > 2 else []),
        Variant("the limit of large groups", "same optimum", with_large_groups),
        Variant(f"{BATCH_STEPS} steps on each batch", "condition", with_batch_steps),
        Variant("texts of pi0 in place of its own", "condition", with_texts_of_pi0),
        with_noise(sigma, told=True),
        with_noise(sigma, told=False),
        Variant("texts tokenised anew, some to other tokens", "condition", with_new_tokens),
        Variant("the reference set to the policy at its end, once", "condition", with_moved_reference),
    ]
