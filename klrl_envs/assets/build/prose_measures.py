"""How good ``prose`` is: what it writes of held-out packages, greedily and sampled, beside people's texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from klrl_envs.assets.build.examples import group_of
from klrl_envs.assets.build.formats import LONGEST_ANSWER, LONGEST_PROMPT, Example
from klrl_envs.assets.build.texts import written
from klrl_envs.reference.protocol import Reference
from klrl_envs.reference.slot_words import SlotVocabulary
from klrl_envs.reward.text_overlap import Metric, best_of, chrf, rouge_l, token_f1

SEED = 1
EXAMPLES = 256
"""Of each kind, at most, that are measured."""
BATCH = 64
METRICS: Mapping[str, tuple[str, Metric]] = {
    "summary": ("rouge_l", rouge_l),
    "fr": ("chrf", chrf),
    "it": ("chrf", chrf),
    "de": ("chrf", chrf),
    "answer": ("f1", token_f1),
}
"""By the group of an example."""
SHOWN = {"summary": 6, "fr": 2, "it": 1, "de": 1}
"""Texts that the card shows, by kind."""


def answers(
    reference: Reference,
    vocabulary: SlotVocabulary,
    examples: Sequence[Example],
    rng: np.random.Generator | None,
) -> list[str]:
    """The texts that pi0 writes after the prompts of examples."""
    texts: list[str] = []
    for first in range(0, len(examples), BATCH):
        prompts = [example.prompt for example in examples[first : first + BATCH]]
        tokens = written(reference, [vocabulary.encode(each) for each in prompts], LONGEST_ANSWER, rng)
        for prompt, own in zip(prompts, tokens, strict=True):
            texts.append(vocabulary.decode_with(own, vocabulary.slot_words(prompt)))
    return texts


def fits(example: Example, vocabulary: SlotVocabulary) -> bool:
    """Whether a prompt leaves room for an answer."""
    return 0 < len(vocabulary.encode(example.prompt)) <= LONGEST_PROMPT


def quality(
    reference: Reference, vocabulary: SlotVocabulary, examples: Sequence[Example]
) -> dict[str, object]:
    """The mean metric of each kind, greedy and sampled, and some texts as they are.

    Args:
        reference: pi0.
        vocabulary: of its tokens.
        examples: of held-out packages, with prompts.
    """
    rng = np.random.default_rng(SEED)
    kinds = sorted({each.kind for each in examples if group_of(each.kind) in METRICS})
    found: dict[str, object] = {}
    shown: dict[str, object] = {}
    for kind in tqdm(kinds, desc="quality", unit="kind"):
        members = [each for each in examples if each.kind == kind and fits(each, vocabulary)]
        order = rng.permutation(len(members))[:EXAMPLES]
        chosen = [members[int(place)] for place in order]
        theirs = [example.answers for example in chosen]
        name, metric = METRICS[group_of(kind)]
        greedy = answers(reference, vocabulary, chosen, None)
        sampled = answers(reference, vocabulary, chosen, rng)
        means = {"greedy": best_of(metric, greedy, theirs), "sampled": best_of(metric, sampled, theirs)}
        found[f"{kind}_{name}"] = {way: round(float(values.mean()), 4) for way, values in means.items()}
        for place in range(min(SHOWN.get(kind, 0), len(chosen))):
            texts = {"people": theirs[place][0], "greedy": greedy[place], "sampled": sampled[place]}
            shown[f"{kind}_{place + 1}"] = "; ".join(f"{who}: {text!r}" for who, text in texts.items())
    return {**found, **{name: str(text).replace("|", "/") for name, text in shown.items()}}
