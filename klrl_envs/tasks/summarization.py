"""Summarization: the long description of a software package to its one-line synopsis.

## Description
Read what a package of Debian says of itself, and write its synopsis: what it is, in a few words. The
reference is a small language model trained on such descriptions; the packager's own line is what is
compared with.

## Action Space
``Discrete(8192)``: a word, a mark, a separator, or a slot that stands for one of the prompt's rare words; 0
ends the text. With another reference, its vocabulary.

## Observation Space
``Box(int64, (176,))``: the description, the mark "Synopsis:" and the tokens written so far, padded on the
right with the end token. The features id shows instead the reference's final normalised hidden state and
the time left, float32.

## Starting State
A description of up to 152 tokens. 2,048 train, 64 others evaluate, of families of packages that the
reference has not seen; ``reset(options={"prompt": i})`` picks one.

## Rewards
At the end, once: ROUGE-L F1 in [0, 1] of what was written against the packager's synopsis. KL is not part
of the reward.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the reward is the same function of the text.

## Information
``reference_log_prob`` (nats) each step. At the end ``text``; ``rouge_1`` and ``rouge_2``; ``words``
written; ``copied``, the share of them that the description has, too; ``perplexity`` under the reference.

## Arguments
``kl_coef`` (.1), ``horizon`` (24), ``reference`` ("prose", a folder, or a hub id), ``prompts`` ("train" or
"evaluation"), ``template``, of a reference of one's own: "plain" or "chat" (a user's turn in the model's
own chat template that asks for a line). What a template adds is prompt.

## Optimum
Certified by sampling: ``assets/certificates`` holds the rewards of 10,000 reference samples for each
evaluation prompt. For another reference or horizon run ``klrl certify``.
pi* knows the answers that it is paid by; what pi0's own agreement is worth without them
is measured in ``benchmarks/studies/unseen_answers``.

## References
Lin 2004 (https://aclanthology.org/W04-1013) for ROUGE; Ziegler et al. 2019 (arXiv 1909.08593) and Stiennon
et al. 2020 (arXiv 2009.01325) for summaries by reinforcement learning under a KL penalty.

## Version History
v0: first version.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.reward.text_overlap import best_of, rouge_l, rouge_n
from klrl_envs.tasks.answered import SHIPPED, Asked, answered_task
from klrl_envs.tasks.base import Metrics
from klrl_envs.tasks.text_task import TextTask

REQUEST = "Summarise this description of a software package in one short line."
_WORD = re.compile(r"\w+")


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
        "summary", REQUEST, compare,
        kl_coef=kl_coef, horizon=horizon, reference=reference, prompts=prompts, template=template,
    )  # fmt: skip


def compare(asked: Sequence[Asked], written: Sequence[str]) -> tuple[FloatArray, Metrics]:
    """ROUGE-L F1 [K] against the best of the answers, and the metrics."""
    answers = [each.answers for each in asked]
    words = [_WORD.findall(text.lower()) for text in written]
    prompts = [frozenset(_WORD.findall(each.prompt.lower())) for each in asked]
    copied = [
        sum(word in prompt for word in text) / max(len(text), 1) for text, prompt in zip(words, prompts)
    ]
    return best_of(rouge_l, written, answers), {
        "rouge_1": best_of(lambda ours, theirs: rouge_n(ours, theirs, 1), written, answers),
        "rouge_2": best_of(lambda ours, theirs: rouge_n(ours, theirs, 2), written, answers),
        "words": np.array([len(text) for text in words], dtype=np.float64),
        "copied": np.array(copied, dtype=np.float64),
    }
