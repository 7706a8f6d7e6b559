"""Question answering: a question about a software package, answered from its record.

## Description
Read the record of a package of Debian (its section, language, dependencies, description ...) and a
question, and answer it. Some questions have one of a few answers, others ask for a text; all can be
answered from the record.

## Action Space
``Discrete(8192)``: a word, a mark, a separator, or a slot that stands for one of the prompt's rare words; 0
ends the text. With another reference, its vocabulary.

## Observation Space
``Box(int64, (176,))``: the record, the question, the mark "Answer:" and the tokens written so far, padded
on the right with the end token. The features id shows instead the reference's final normalised hidden state
and the time left, float32.

## Starting State
A record and one of ten kinds of questions: the section, the language, the interface, the kind of package,
whether it needs another, how many it needs (closed); what it is for, its homepage, what it needs, its
source (open). 2,048 train, 64 others evaluate, of families of packages that the reference has not seen;
``reset(options={"prompt": i})`` picks one.

## Rewards
At the end, once: F1 in [0, 1] of the words and signs of what was written against the answer, the best where
several count as right. KL is not part of the reward.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the reward is the same function of the text.

## Information
``reference_log_prob`` (nats) each step. At the end ``text``; ``exact``, whether it is an answer but for
case; ``precision`` and ``recall`` of its words and signs; ``closed`` and ``closed_exact``, whether the
question is closed, and whether it is closed and the answer exact: the accuracy on closed questions is the
ratio of their means; ``perplexity`` under the reference.

## Arguments
``kl_coef`` (.05), ``horizon`` (24), ``reference`` ("prose", a folder, or a hub id), ``prompts`` ("train" or
"evaluation"), ``template``, of a reference of one's own: "plain" or "chat" (a user's turn in the model's
own chat template that asks for a short answer). What a template adds is prompt.

## Optimum
Certified by sampling: ``assets/certificates`` holds the rewards of 10,000 reference samples for each
evaluation prompt. For another reference or horizon run ``klrl certify``.
pi* knows the answers that it is paid by; what pi0's own agreement is worth without them
is measured in ``benchmarks/studies/unseen_answers``.

## References
Rajpurkar et al. 2016 (arXiv 1606.05250) for token F1 and exact match.

## Version History
v0: first version.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.reward.text_overlap import best_of, token_f1, token_precision
from klrl_envs.tasks.answered import SHIPPED, Asked, answered_task
from klrl_envs.tasks.base import Metrics
from klrl_envs.tasks.text_task import TextTask

REQUEST = "Answer the question about this software package in as few words as you can."
CLOSED = frozenset(
    f"answer-{name}" for name in ("section", "language", "interface", "kind", "needs", "count")
)
"""Kinds of questions that have one of a few answers."""


def task(
    *,
    kl_coef: float,
    horizon: int = 24,
    reference: str = SHIPPED,
    prompts: str = "train",
    template: str = "plain",
) -> TextTask:
    """The task; the page above is its specification."""
    return answered_task(
        "answer", REQUEST, compare,
        kl_coef=kl_coef, horizon=horizon, reference=reference, prompts=prompts, template=template,
    )  # fmt: skip


def compare(asked: Sequence[Asked], written: Sequence[str]) -> tuple[FloatArray, Metrics]:
    """Token F1 [K] against the best of the answers, and the metrics."""
    answers = [each.answers for each in asked]
    exact = np.array(
        [text.lower() in map(str.lower, each) for text, each in zip(written, answers, strict=True)],
        dtype=np.float64,
    )
    closed = np.array([each.kind in CLOSED for each in asked], dtype=np.float64)
    return best_of(token_f1, written, answers), {
        "exact": exact,
        "precision": best_of(token_precision, written, answers),
        "recall": best_of(lambda ours, theirs: token_precision(theirs, ours), written, answers),
        "closed": closed,
        "closed_exact": closed * exact,
    }
