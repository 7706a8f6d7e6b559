"""Sentiment: the suite's first neural task.

## Description
Continue a film review from its first eight tokens so that it reads as positive, and stay close to
how reviews are written: the reference is a small language model trained on 30,000 of them.

## Action Space
``Discrete(2048)``: the next byte-pair token; 0 ends the text. With another reference, its
vocabulary.

## Observation Space
``Box(int64, (32,))``: eight tokens of prompt and the tokens written so far, padded on the right
with the end token. The features id shows instead the reference's final normalised hidden
state and the time left, float32.

## Starting State
A prompt: the first eight tokens of an IMDB review. 4,096 train, 64 others evaluate;
``reset(options={"prompt": i})`` picks one.

## Rewards
At the end, once: P(positive) in [0, 1] of a classifier of n-grams that was trained on half of the
labels, given the whole text, prompt included. KL is not part of the reward.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the reward is the same function of the
text.

## Information
``reference_log_prob`` (nats) each step. At the end ``text``; ``gold``, P(positive) of a second
classifier that was trained on the other half of the labels and that no agent is paid by: reward
far above gold is over-optimisation; ``perplexity`` of the tokens written under the reference;
``distinct_2``, the share of token pairs that are distinct.

## Arguments
``kl_coef`` (.05), ``horizon`` (24), ``reference`` ("nano", a folder, or a hub id; the prompts are
then encoded once by its own tokenizer), ``prompts`` ("train" or "evaluation").

## Optimum
Certified by sampling: ``assets/certificates`` holds the rewards of 10,000 reference samples for each
evaluation prompt, from which J*, its interval and the whole frontier follow for every kl_coef. For
another reference or horizon run ``klrl certify``.

## References
Ziegler et al. 2019 (arXiv 1909.08593); Maas et al. 2011 for the reviews; Korbak, Perez and Buckley
2022 (arXiv 2205.11275) for KL-regularised RL as Bayesian inference.

## Version History
v0: first version.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from klrl_envs.assets import asset_arrays, asset_digest
from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.reference.byte_pairs import nano_vocabulary
from klrl_envs.reference.catalogue import OWN, load
from klrl_envs.reference.language_model import LanguageModel
from klrl_envs.reward.classifier import SentimentClassifier
from klrl_envs.tasks.base import Metrics, Prompts
from klrl_envs.tasks.text_task import TextTask


def task(*, kl_coef: float, horizon: int = 24, reference: str = "nano", prompts: str = "train") -> TextTask:
    """The task; the page above is its specification."""
    model = load(reference, allowed=("nano", OWN))
    return TextTask.of(
        model,
        horizon=horizon,
        kl_coef=kl_coef,
        reward_range=(0.0, 1.0),
        prompts=load_prompts(prompts, model),
        reward_fingerprint=asset_digest("sentiment.reward.safetensors"),
        score_texts=score_texts,
    )


def load_prompts(split: str, model: LanguageModel) -> Prompts:
    """The prompts of a split in a reference's own tokens.

    The shipped prompts are token ids of ``nano``; for another reference their text is encoded once.
    """
    tokens = asset_arrays("sentiment.prompts.safetensors")[split]
    if model.vocabulary is nano_vocabulary():
        return Prompts.equal(tokens)
    texts = [nano_vocabulary().decode(row) for row in tokens.tolist()]
    encoded = [model.vocabulary.encode(text) for text in texts]
    return Prompts.padded(encoded, 0)


@lru_cache(maxsize=2)
def classifier(name: str) -> SentimentClassifier:
    """The classifier that pays ("reward") or the one that is only reported ("gold")."""
    return SentimentClassifier.load(name)


def score_texts(tokens: IntArray, lengths: IntArray, texts: Sequence[str]) -> tuple[FloatArray, Metrics]:
    """P(positive) [K] of the texts, and the metrics ``gold`` and ``distinct_2``."""
    rewards = classifier("reward").probability(texts)
    gold = classifier("gold").probability(texts)
    return rewards, {"gold": gold, "distinct_2": distinct_pairs(tokens, lengths)}


def distinct_pairs(tokens: IntArray, lengths: IntArray) -> FloatArray:
    """Distinct pairs of neighbouring tokens over all such pairs, [K]; 1 where there is no pair."""
    pairs = tokens[:, :-1] * (1 << 32) + tokens[:, 1:]
    inside = np.arange(1, tokens.shape[1], dtype=np.int64) < lengths[:, None]
    ordered = np.sort(np.where(inside, pairs, -1), axis=1)
    new = np.diff(ordered, axis=1, prepend=-2) != 0
    distinct = (new & (ordered >= 0)).sum(axis=1)
    return np.where(lengths > 1, distinct / np.maximum(lengths - 1, 1), 1.0)
