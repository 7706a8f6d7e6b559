"""``prose.prompts``: what the tasks on ``prose`` ask, and the answers that people gave.

Prompts that a task evaluates on are of the held-out families, those that it trains on of the others. Each has
all its answers: a synopsis that several translators have translated has several, a question that names one of
several languages, too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from klrl_envs.assets.build.debian_lists import Lists, fetch
from klrl_envs.assets.build.examples import ruler
from klrl_envs.assets.build.formats import LONGEST_PROMPT, Example, examples
from klrl_envs.assets.build.packages import load_packages
from klrl_envs.assets.build.recipe import Asset, Recipe
from klrl_envs.reference.slot_words import SlotVocabulary

SEED = 1
EVALUATION = 64
TRAINING = {"summary": 2_048, "answer": 2_048, "fr": 4_096, "it": 4_096, "de": 4_096}
"""Training prompts of each task, by the kind of example that it asks for; of questions, all kinds."""
SHORTEST, LONGEST = 1, 24
"""Tokens of an answer."""
FILE = "prose.prompts.json"

Asked = dict[str, list[tuple[str, str, list[str]]]]
"""Split -> kinds of prompts, prompts, and the answers of each."""


def gathered(found: Iterable[Example], vocabulary: SlotVocabulary) -> dict[tuple[str, bool], Example]:
    """The examples that can be prompts, by text and part, each with the answers of all that ask the same.

    All its answers can be written in known tokens, and in no more than an episode has.
    """
    asked: dict[tuple[str, bool], Example] = {}
    for example in found:
        key = example.prompt, example.held_out
        if task_of(example.kind) is None:
            continue
        before = asked[key].answers if key in asked else ()
        answers = tuple(dict.fromkeys((*before, *example.answers)))
        asked[key] = Example(example.kind, example.prompt, answers, example.held_out)
    return {key: each for key, each in asked.items() if fits(each, vocabulary)}


def task_of(kind: str) -> str | None:
    """The task that asks for examples of a kind: "summary", "answer", a language; or None."""
    name = kind.split("-")[0]
    return name if name in TRAINING and not kind.endswith("-paragraph") else None


def fits(example: Example, vocabulary: SlotVocabulary) -> bool:
    """Whether prompt and answers can be written, and are not too long."""
    for answer in example.answers:
        tokens = vocabulary.encode(example.prompt + answer)
        first = vocabulary.prompt_length(tokens)
        if not (first <= LONGEST_PROMPT and SHORTEST <= len(tokens) - first <= LONGEST):
            return False
        if vocabulary.unknown_token in tokens[first:]:
            return False
    return True


def chosen(
    candidates: Sequence[Example], count: int, taken: set[tuple[int, ...]], vocabulary: SlotVocabulary,
    rng: np.random.Generator,
) -> list[Example]:  # fmt: skip
    """So many of the candidates, of each kind as many as of any other while there are any; no two of the same
    tokens, and none whose tokens are ``taken``, to which theirs are added.
    """
    kinds: dict[str, list[Example]] = defaultdict(list)
    for place in rng.permutation(len(candidates)):
        kinds[candidates[int(place)].kind].append(candidates[int(place)])
    found: list[Example] = []
    while len(found) < count and any(kinds.values()):
        for left in kinds.values():
            while left and len(found) < count:
                example = left.pop()
                tokens = tuple(vocabulary.encode(example.prompt))
                if tokens not in taken:
                    taken.add(tokens)
                    found.append(example)
                    break
    return found


def prompts_of(
    found: Iterable[Example], vocabulary: SlotVocabulary, sizes: Mapping[str, int], evaluation: int
) -> dict[str, Asked]:
    """The prompts of every task, for evaluation and for training."""
    asked = list(gathered(found, vocabulary).values())
    rng = np.random.default_rng(SEED)
    tasks: dict[str, Asked] = {}
    for name, size in sizes.items():
        taken: set[tuple[int, ...]] = set()
        tasks[name] = {}
        for split, count in (("evaluation", evaluation), ("train", size)):
            of_split = [
                each for each in asked
                if task_of(each.kind) == name and each.held_out == (split == "evaluation")
            ]  # fmt: skip
            listed = chosen(of_split, count, taken, vocabulary, rng)
            tasks[name][split] = [(each.kind, each.prompt, list(each.answers)) for each in listed]
    return tasks


def build(out: Path, work: Path, *, lists: Lists | None = None) -> dict[str, object]:
    """Write ``prose.prompts.json`` to ``out``; return the card's measurements."""
    lists = fetch(work / "debian") if lists is None else lists
    vocabulary = SlotVocabulary.load(out / "prose.vocabulary.json")
    found = examples(load_packages(lists), ruler(), seed=0)
    tasks = prompts_of(found, vocabulary, TRAINING, EVALUATION)
    (out / FILE).write_text(json.dumps(tasks, ensure_ascii=False, indent=0) + "\n", "utf-8")
    answers = [each for asked in tasks.values() for split in asked.values() for *_, each in split]
    return {
        "release": lists.release,
        **{f"{split}_prompts_{name}": len(asked[split]) for name, asked in tasks.items() for split in asked},
        "prompts_with_several_answers": sum(len(each) > 1 for each in answers),
        "seed": SEED,
    }


CARD = """\
# prose.prompts: descriptions to summarise, lines to translate, questions to answer

The prompts of Summarization-v0, Translation-v0 and QuestionAnswering-v0, and the answers that count as right:
a packager's synopsis, the translators' lines, what a package's record says.

## Data
The descriptions and records of the packages of Debian, main, as `apt` lists them, in English and in the
translations of the Debian Description Translation Project. Each is under the licence of its package, and a
translation under that of what it translates; they are quoted here as what a language model is asked. There
is no one licence (MIT is this library's own).

No family of packages (of one source, or whose descriptions begin alike) is in both splits, and none of the
evaluation's was trained on by `prose`. Every answer can be written in the vocabulary of `prose`.

## Recipe
`klrl_envs/assets/build/prose_prompts.py`:
a seeded draw without replacement, of questions as many of each kind.
$rebuild

## Measured
$measured

## Limits
Synopses are short and follow the habits of packagers. What a translator wrote is one of many good
translations.

## Files
$files
"""
RECIPE = Recipe(
    name="prose_prompts",
    assets=(Asset("prose.prompts", (FILE,), CARD),),
    takes="about two minutes, and half a minute for the lists",
    reads=("prose.vocabulary.json",),
    build=lambda out, work: {"prose.prompts": build(out, work)},
)
