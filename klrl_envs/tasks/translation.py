"""Translation: the synopsis of a software package from English to French, Italian or German.

## Description
Read a line of English that says what a package of Debian is, and write it in another language. What is
compared with are the lines of the people who translate Debian's descriptions.

## Action Space
``Discrete(8192)``: a word, a mark, a separator, or a slot that stands for one of the prompt's rare words; 0
ends the text. With another reference, its vocabulary.

## Observation Space
``Box(int64, (L,))``: the line, the mark "French:" and the tokens written so far, padded on the right with
the end token. The features id shows instead the reference's final normalised hidden state and the time
left, float32.

## Starting State
A line of English. 4,096 train, 64 others evaluate, of families of packages that the reference has not seen;
``reset(options={"prompt": i})`` picks one.

## Rewards
At the end, once: chrF2 in [0, 1] of what was written against the translators' line, the best of them where
there are several. KL is not part of the reward.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the reward is the same function of the text.

## Information
``reference_log_prob`` (nats) each step. At the end ``text``; ``word_error_rate``, edits over the
translators' words and signs; ``exact``, whether the line is one of theirs; ``perplexity`` under the
reference; ``bleu_matches_1`` to ``bleu_matches_4``, ``bleu_length`` and ``bleu_answer_length``, the counts
that BLEU adds up. An evaluation has ``bleu`` in [0, 1], too: that of all its texts together, as sacrebleu
computes it of a corpus.

## Arguments
``kl_coef`` (.08), ``horizon`` (24), ``language`` ("fr", "it" or "de"), ``reference`` ("prose", a folder, or
a hub id), ``prompts`` ("train" or "evaluation"), ``template``, of a reference of one's own: "plain" or
"chat" (a user's turn in the model's own chat template that asks for a translation). What a template adds is
prompt.

## Optimum
Certified by sampling, for French: ``assets/certificates`` holds the rewards of 10,000 reference samples for
each evaluation prompt. For another language, reference or horizon run ``klrl certify``.
pi* knows the answers that it is paid by; what pi0's own agreement is worth without them
is measured in ``benchmarks/studies/unseen_answers``.

## References
Popović 2015 (https://aclanthology.org/W15-3049) for chrF; Papineni et al. 2002
(https://aclanthology.org/P02-1040) for BLEU; Ranzato et al. 2016 (arXiv 1511.06732) for translation by
reinforcement learning.

## Version History
v0: first version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.reward.bleu import bleu_counts, corpus_bleu
from klrl_envs.reward.text_overlap import best_of, chrf, word_error_rate
from klrl_envs.tasks.answered import SHIPPED, Asked, answered_task
from klrl_envs.tasks.base import Metrics
from klrl_envs.tasks.text_task import TextTask

LANGUAGES = {"fr": "French", "it": "Italian", "de": "German"}
REQUEST = "Translate this line into {}."


def task(
    *,
    kl_coef: float,
    horizon: int = 24,
    language: str = "fr",
    reference: str = SHIPPED,
    prompts: str = "train",
    template: str = "plain",
) -> TextTask:
    """The task; the page above is its specification."""
    if language not in LANGUAGES:
        raise ValueError(f"language must be one of {', '.join(map(repr, LANGUAGES))}, got {language!r}")
    return answered_task(
        language, REQUEST.format(LANGUAGES[language]), compare,
        kl_coef=kl_coef, horizon=horizon, reference=reference, prompts=prompts, template=template,
        summarise=of_all_texts,
    )  # fmt: skip


def compare(asked: Sequence[Asked], written: Sequence[str]) -> tuple[FloatArray, Metrics]:
    """chrF2 [K] against the best of the answers, and the metrics."""
    answers = [each.answers for each in asked]
    right = [text in each for text, each in zip(written, answers, strict=True)]
    return best_of(chrf, written, answers), {
        "word_error_rate": -best_of(lambda ours, theirs: -word_error_rate(ours, theirs), written, answers),
        "exact": np.array(right, dtype=np.float64),
        **bleu_counts(written, answers),
    }


def of_all_texts(
    prompts: IntArray, rewards: FloatArray, metrics: Mapping[str, FloatArray]
) -> dict[str, float]:
    """BLEU of the texts of an evaluation."""
    return {"bleu": corpus_bleu(metrics)}
