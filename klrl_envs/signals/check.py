"""`check_signal`: what a training signal really does, without any training run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager

import numpy as np
import torch

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.signals import directions
from klrl_envs.signals.batch import Loss
from klrl_envs.signals.calls import SAMPLED_CALLS, SampledCalls
from klrl_envs.signals.ends import End, end_of, follow
from klrl_envs.signals.expected import SILENT, Gradients
from klrl_envs.signals.known import reinforce
from klrl_envs.signals.masks import left_out, part_of_padding
from klrl_envs.signals.policy import optimal, random_policy
from klrl_envs.signals.report import AtPolicy, Ending, Move, Report
from klrl_envs.signals.tiny import TinyTask, random_task
from klrl_envs.signals.trial import LossError
from klrl_envs.signals.variants import Setting, Variant, variants

Progress = Callable[[int, int, str], None]
"""(steps done, steps in all, what is done now)."""

STUDENT_95 = {3: 3.182, 7: 2.365}
"""Half-widths of the 95 % interval in standard errors, by degrees of freedom."""
END_SEEDS = 4
END_CALLS = 2_048


def check_signal(
    loss: Loss,
    *,
    group: int = 4,
    batch: int = 1,
    task: TinyTask | None = None,
    sigma: float = 0.1,
    changes: Collection[str] | None = None,
    name: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Say what a training signal really does: its expected gradient, where it ends, and what moves the end.

    Policies are tables over tiny tasks, all in float64, so that every expectation over texts is a finite sum
    and nothing is sampled, unless there are too many cases; the report says so then.

    Args:
        loss: (``Batch``) -> a tensor with the number that a trainer would call ``backward`` on. Where it has
            no control flow by values and no ``.item()`` many calls are computed at once, which is fast; else
            the report says why not.
        group: texts of one prompt that are compared with each other; 1 where none are.
        batch: groups a call: 1, or a multiple of the task's prompts, for losses that couple them (by the
            batch's mean, standard deviation or number of tokens).
        task: of one's own; else of two prompts with 7 texts of 1 or 2 tokens, or with 4 texts of 1 to 3 where
            prompts share a call or the loss is called once for each.
        sigma: nats by which the sampler is off, among the harder conditions.
        changes: which of them are tried on the end, by their names in the report; all by default. Each costs
            as much as the end, so that a loss that is slow is told its gradient and end alone by ``()``.
        name: of the loss, for the report.
        progress: is told how far it is.

    Raises:
        LossError: a ValueError: the loss raises an error, is no number or not finite, has no gradient or none
            that is finite, or is not the same when it is called again. Where that is so under a change alone,
            the report has it.
        ValueError: group or batch cannot be; changes has an unknown name.
    """
    with one_thread():
        setting = Setting(loss, task or default_task(loss, group, batch), group, batch)
        todo = chosen(variants(setting, sigma), changes)
        return report_on(setting, todo, name, progress or (lambda done, total, what: None))


def default_task(loss: Loss, group: int, batch: int) -> TinyTask:
    """The small task where there are many calls, or each takes long."""
    task, small = random_task(), random_task(words=1, horizon=3)
    if batch > 1:
        return small
    return task if Setting(loss, task, group, batch).signal().vectorised else small


@contextmanager
def one_thread() -> Generator[None]:
    """Torch on one thread, and as it was afterwards: the tensors here are tiny."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def chosen(every: list[Variant], names: Collection[str] | None) -> list[Variant]:
    """Those that are asked for.

    Raises:
        ValueError: one is asked for that is not there.
    """
    known = [one.name for one in every]
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ValueError(f"changes must be of {known}, got {unknown}")
    return [one for one in every if names is None or one.name in names]


def report_on(setting: Setting, todo: list[Variant], name: str | None, told: Progress) -> Report:
    """See ``check_signal``."""
    loss, task = setting.loss, setting.task
    signal, policies = setting.signal(), policies_of(task)
    slow = ", one call after the other" if signal.one_by_one else ""
    total = len(todo) + 2
    told(0, total, f"expected gradients{slow}")
    found = {policy: signal.gradients(rows) for policy, rows in policies.items()}
    silent = all(gradients.silent for gradients in found.values())
    ascents = {policy: -gradients.mean for policy, gradients in found.items()}
    follows = directions.followed(task, list(policies.values()), list(ascents.values()))
    told(1, total, f"its end{slow}")
    base = end_of(task, task.reference, task, found=True) if silent else follow(signal)
    moves: list[Move] = []
    for done, variant in enumerate([] if silent else todo, 2):
        told(done, total, variant.name + slow)
        moves.append(move_under(variant, setting, base))
    told(total, total, "done")
    return Report(
        name=name or getattr(loss, "__name__", type(loss).__name__),
        texts=task.texts,
        prompts=task.prompts,
        group=setting.group,
        batch=setting.batch,
        kl_coef=task.kl_coef,
        calls=len(found["pi0"].drawn.weights),
        exact=signal.calls.exact,
        vectorised=signal.vectorised,
        one_by_one=signal.one_by_one,
        gradients=[at_policy(setting, policy, rows, found[policy]) for policy, rows in policies.items()],
        follows=None if follows is None or silent else str(follows),
        silent=silent,
        padding=part_of_padding(signal, policies["a random policy"]),
        left_out=[] if silent else left_out(signal, policies["a random policy"]),
        end=ending(setting, base, silent=silent),
        moves=moves,
    )


def move_under(variant: Variant, setting: Setting, base: End) -> Move:
    """The end under a change; where the loss fails there, with what it says."""
    try:
        end, law = variant.ends(setting, base)
    except LossError as error:
        return Move(variant.name, variant.kind, None, None, False, str(error))
    return Move(variant.name, variant.kind, end.at.score, moved_by(end.law, law), end.found)


def policies_of(task: TinyTask) -> dict[str, FloatArray]:
    """Where gradients are looked at."""
    return {
        "pi0": task.reference,
        "half way": optimal(task, 0.5),
        "pi*": optimal(task),
        "a random policy": random_policy(task, seed=1),
        "another": random_policy(task, seed=2),
    }


def at_policy(setting: Setting, policy: str, rows: FloatArray, found: Gradients) -> AtPolicy:
    """The expected gradient at a policy."""
    task, ascent = setting.task, -found.mean[:, :-1]
    along = directions.objective(task, rows)[:, :-1]
    length, true = float(np.linalg.norm(ascent)), float(np.linalg.norm(along))
    variance = None
    part = float((ascent * along).sum()) / true**2 if true > SILENT else 0.0
    if part > SILENT:
        other = Setting(reinforce, task, setting.group, setting.batch).signal().gradients(rows)
        variance = float((found.deviation / part / other.deviation) ** 2)
    whole = cosine(ascent, along)
    parts = [one for one in (cosine(-each[:, :-1], along) for each in found.parts()) if one is not None]
    return AtPolicy(
        policy=policy,
        cosine=whole,
        ratio=length / true if true > SILENT else None,
        cosine_reward=cosine(ascent, directions.reward(task, rows)[:, :-1]),
        cosine_covering=cosine(ascent, directions.posterior_covered(task, rows)[:, :-1]),
        length=length,
        deviation=found.deviation,
        variance=variance,
        cosine_margin=0.0 if whole is None else margin(parts, whole, len(parts)),
    )


def ending(setting: Setting, base: End, *, silent: bool) -> Ending:
    """The end as a record; where calls are sampled, with what other samples make of it."""
    ends: list[End] = []
    if not silent and not setting.signal().calls.exact:
        for seed in range(END_SEEDS):
            calls = SampledCalls(setting.task.prompts, setting.group, setting.batch, END_CALLS, seed + 1)
            ends.append(follow(setting.signal(calls=calls)))
    at = base.at
    return Ending(
        at.reward,
        at.kl,
        at.score,
        base.found,
        base.texts_left,
        score_margin=margin([end.at.score for end in ends], at.score, SAMPLED_CALLS / END_CALLS),
        law_margin=max((moved_by(end.law, base.law) for end in ends), default=0.0),
    )


def moved_by(law: FloatArray, other: FloatArray) -> float:
    """The probability that lies elsewhere [P, N], mean over prompts."""
    return float(np.abs(law - other).sum(axis=1).mean() / 2)


def cosine(one: FloatArray, other: FloatArray) -> float | None:
    """Of two gradients; None where one is 0."""
    lengths = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    return None if min(lengths) < SILENT else float((one * other).sum() / lengths[0] / lengths[1])


def margin(values: list[float], whole: float, larger: float) -> float:
    """How far off a number may be that a sample gave: 0 where nothing was sampled.

    Noise lowers cosines and scores near 1 by its square, in each alike: that is no scatter, but what is left
    of it falls with the size of the sample, so that smaller samples tell it.

    Args:
        values: of smaller samples.
        whole: the number.
        larger: how many times as large its sample is.
    """
    if len(values) < 2:
        return 0.0
    mean, scatter = float(np.mean(values)), float(np.std(values, ddof=1))
    return STUDENT_95[len(values) - 1] * scatter / len(values) ** 0.5 + abs(mean - whole) / (larger - 1)
