"""Prompt scale: some prompts pay a hundred times what others pay.

## Description
Go on from two words so that three others occur. The first word of the prompt says what is at stake:
little, something or much.

## Action Space
``Discrete(27)``: 26 words and marks of ``words``, its bigram restricted to them and renormalised; 0 ends
the text.

## Observation Space
``Box(int64, (14,))``: two tokens of prompt and the tokens written so far, padded on the right with the
end token. The features id shows instead the scale (one-hot, 3) and which of the
three words have occurred (3 bits), the time left and the row log pi0(.|last word), float32.

## Starting State
A prompt: a, the or this, then a second word. The second words of training (film, movie, story, is, was,
very, really, good: 24 prompts) are not those of evaluation (bad, boring, well, so: 12 prompts).
``reset(options={"prompt": i})`` picks one.

## Rewards
At the end, once: the fraction of great, best and funny that occurs after the prompt, times .1 where the
prompt begins with "a", 1 with "the" and 10 with "this". KL is not part of the reward.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the horizon without the end token is worth the
same.

## Information
``prompt`` at the start, ``reference_log_prob`` (nats) each step; at the end ``text`` and ``found``, the
fraction of the three words that occurs.

## Arguments
``kl_coef`` (.2), ``horizon`` (12), ``reference`` ("words"), ``prompts`` ("train" or "evaluation").

## Optimum
Exact, prompt by prompt: an automaton for each scale, over the subsets of the words found. J* is the
mean over the evaluation prompts.

## What must hold
KL* of a prompt follows its scale: next to nothing at .1, nearly all that the words cost at 10. An agent
that divides the advantages of a prompt's texts by their standard deviation sees three equal scales, pays
as much KL where a hundredth of the reward is at stake, and loses wherever less is at stake.

## References
Liu et al. 2025 (arXiv 2503.20783) on the bias of normalising by the standard deviation of a group.

## Version History
v0: first version.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import Prompts
from klrl_envs.tasks.diagnostics.common import WANTED, few_words, wanted_words

SCALES = (0.1, 1.0, 10.0)
FIRST = ("a", "the", "this")
SECOND = {
    "train": ("film", "movie", "story", "is", "was", "very", "really", "good"),
    "evaluation": ("bad", "boring", "well", "so"),
}


def task(
    *, kl_coef: float, horizon: int = 12, reference: str = "words", prompts: str = "train"
) -> AutomatonTask:
    """The task; the page above is its specification."""
    model = few_words(reference)
    automaton, features = scaled_words(*wanted_words(model))
    firsts, seconds = model.tokens(FIRST), model.tokens(SECOND[prompts])
    scale, second = (part.ravel() for part in np.meshgrid(np.arange(len(SCALES)), seconds, indexing="ij"))
    return AutomatonTask.of(
        model, automaton, kl_coef=kl_coef, horizon=horizon, state_features=features,
        prompts=Prompts.equal(np.stack([np.array(firsts)[scale], second], axis=1)),
        prompt_states=scale * (automaton.states // len(SCALES)),
        final_metrics={"found": features[:, len(SCALES) :].sum(axis=1, dtype=np.float64) / len(WANTED)},
    )  # fmt: skip


def scaled_words(
    plain: RewardAutomaton, bits: NDArray[np.float32]
) -> tuple[RewardAutomaton, NDArray[np.float32]]:
    """The disjoint union of a plain reward, begun in state 0, times each of ``SCALES``; its features."""
    count, states = len(SCALES), plain.states
    transition = np.concatenate([plain.transition + number * states for number in range(count)])
    final = np.outer(SCALES, plain.final_reward).ravel()
    one_hot = np.repeat(np.eye(count, dtype=np.float32), states, axis=0)
    features = np.concatenate([one_hot, np.tile(bits, (count, 1))], axis=1)
    return RewardAutomaton(transition, final_reward=final), features
