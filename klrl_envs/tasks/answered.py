"""Tasks whose prompts have answers that people gave: what is written is compared with them.

The prompts of ``prose`` end in a mark ("\\nSynopsis: "), behind which its vocabulary knows what the slots
stand for. Another model is asked in plain text, or in its own chat template, where a sentence says what is
wanted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from klrl_envs.assets import asset_path
from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.reference.catalogue import OWN, load
from klrl_envs.reference.slot_words import SlotVocabulary
from klrl_envs.reward.prompted import Prompted
from klrl_envs.tasks.base import Metrics, Prompts
from klrl_envs.tasks.templates import put_to
from klrl_envs.tasks.text_task import Summarise, TextTask

FILE = "prose.prompts.json"
SHIPPED = "prose"
FIXTURE = (
    "", "library", "a library", "A library for reading files of music", "libraries that read the music file",
    "outil de lecture, version 2.0 (c++)", "un outil pour la lecture des fichiers, version 2,0 (C)",
    "Bibliothèque d'outils", "bibliothèque d’outil", "the tool, the tool and the tool",
)  # fmt: skip
"""Texts that are compared with one another for the reward's digest: alike but for case, signs, accents,
endings and order.
"""


@dataclass(frozen=True)
class Asked:
    """A prompt.

    Attributes:
        kind: of the prompt, such as "answer-section".
        prompt: its text, with the mark at its end.
        answers: those that count as right, at least one.
    """

    kind: str
    prompt: str
    answers: tuple[str, ...]


Compare = Callable[[Sequence[Asked], Sequence[str]], tuple[FloatArray, Metrics]]
"""(what was asked [K], what was written [K]) -> rewards float64 [K] in [0, 1], and metrics."""


@lru_cache(maxsize=1)
def shipped() -> Mapping[str, Mapping[str, tuple[Asked, ...]]]:
    """Kind of task -> split -> what is asked."""
    listed = json.loads(asset_path(FILE).read_text("utf-8"))
    return {
        task: {
            split: tuple(Asked(kind, prompt, tuple(answers)) for kind, prompt, answers in rows)
            for split, rows in splits.items()
        }
        for task, splits in listed.items()
    }


def answered_task(
    name: str,
    request: str,
    compare: Compare,
    *,
    kl_coef: float,
    horizon: int,
    reference: str,
    prompts: str,
    template: str,
    summarise: Summarise | None = None,
) -> TextTask:
    """A task that is paid by answers.

    Args:
        name: of what it asks, in the file of prompts.
        request: what is said to a model in a chat, before the text.
        compare: pays.
        kl_coef, horizon, reference, prompts, template: see the tasks.
        summarise: see ``TextTask``.
    """
    model = load(reference, allowed=(SHIPPED, OWN))
    asked = shipped()[name][prompts]
    texts = [each.prompt for each in asked]
    if isinstance(model.vocabulary, SlotVocabulary):
        model = replace(model, vocabulary=model.vocabulary.with_prompts(texts))
    elif template == "chat":
        texts = [f"{request}\n\n{text.rpartition(chr(10))[0]}" for text in texts]
    else:
        texts = [text.rstrip(" ") for text in texts]
    rows, shown = put_to(model, texts, template)
    return TextTask.of(
        model,
        horizon=horizon,
        kl_coef=kl_coef,
        reward_range=(0.0, 1.0),
        prompts=Prompts.padded(rows, 0),
        reward_fingerprint=reward_digest(name, compare),
        score_texts=Compared(shown, asked, compare),
        summarise=summarise,
    )


class Compared:
    """Scores texts by the answers to the prompts that they begin with.

    Args:
        shown: the prompts, as texts begin with them.
        asked: the same prompts with their answers.
        compare: pays what was written.
    """

    def __init__(self, shown: Sequence[str], asked: Sequence[Asked], compare: Compare) -> None:
        self._prompted, self._asked, self._compare = Prompted(shown), asked, compare

    @property
    def answers(self) -> Sequence[str]:
        """See ``Answered``."""
        return [answer for each in self._asked for answer in each.answers]

    def __call__(
        self, tokens: IntArray, lengths: IntArray, texts: Sequence[str]
    ) -> tuple[FloatArray, Metrics]:
        """Rewards [K] and metrics of texts; ValueError where one begins with no prompt of the task."""
        numbers, written = self._prompted.split(texts)
        asked = [self._asked[int(number)] for number in numbers]
        return self._compare(asked, [text.strip() for text in written])


def reward_digest(name: str, compare: Compare) -> str:
    """SHA-256 of what is asked and answered, and of how a fixture is paid: what compares cannot change
    unseen, here or in what it is computed with.
    """
    total = hashlib.sha256()
    for split, asked in shipped()[name].items():
        total.update(json.dumps([split, *((each.prompt, each.answers) for each in asked)]).encode())
    answers = [(answer,) for answer in FIXTURE if answer]
    answers += [(*one, *other) for one, other in pairwise(answers)]
    pairs = [(Asked("", "", each), written) for each in answers for written in FIXTURE]
    rewards = compare([asked for asked, _ in pairs], [written for _, written in pairs])[0]
    total.update(json.dumps([round(value, 9) for value in rewards.tolist()]).encode())
    return total.hexdigest()
