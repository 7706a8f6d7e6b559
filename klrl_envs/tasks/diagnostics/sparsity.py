"""Sparsity: a combination lock that the reference opens with a given probability."""

from __future__ import annotations

import math

import numpy as np

from klrl_envs.reference.catalogue import WordReference
from klrl_envs.reference.markov import MarkovReference
from klrl_envs.reference.vocabulary import WordVocabulary
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.base import AutomatonTask, check_split
from klrl_envs.tasks.diagnostics.common import word_task

KEYS = ("do", "re", "mi", "fa", "sol", "la", "si", "ut")


def sparsity(
    *,
    kl_coef: float,
    horizon: int = 8,
    probability: float = 1e-3,
    reference: str = "scale",
    prompts: str = "train",
) -> AutomatonTask:
    """DiagnosticSparsity-v0

    ## Description
    A lock opens to one tune of ``horizon`` notes, the scale from the bottom up, over and over. Every other
    text is worth nothing, and nothing tells how near it came.

    ## Action Space
    ``Discrete(8)``: the notes do, re, mi, fa, sol, la, si, ut. There is no end token.

    ## Observation Space
    ``Box(int64, (8,))``: the notes so far, padded on the right with 8. ``DiagnosticSparsityFeatures-v0``
    shows instead the note that is due, one-hot, all zero after a wrong note, the time left and the row log
    pi0(.|last note), float32.

    ## Starting State
    An empty text; there is no prompt.

    ## Rewards
    At the end, once: 1 for the tune, else 0. KL is not part of the reward.

    ## Episode End
    After ``horizon`` notes.

    ## Information
    ``reference_log_prob`` (nats) each step; at the end ``text``.

    ## Arguments
    ``kl_coef`` (.13), ``horizon`` (8), ``probability`` of the tune under the reference, p (1e-3; the sweep
    is 1e-1 to 1e-6), ``reference`` ("scale": after each note the next of the scale has probability
    p^(1/horizon), and the others share the rest alike), ``prompts`` (there are none; both splits are
    alike).

    ## Optimum
    Exact, and in closed form: J* = kl_coef log(1 + p (e^{1/kl_coef} - 1)).

    ## What must hold
    The closed form, for every p, horizon and kl_coef. The sweep over p is of exploration: the same decision
    is ever harder to come upon, so that a fixed budget of tokens ends up too small. At kl_coef .13 a rarer
    tune is also worth less of a detour; with ``kl_coef`` = 1 / log(2 / p) the optimum takes it with
    probability two thirds whatever p is.

    ## References
    Osband et al. 2020 (arXiv 1908.03568), the deep-sea experiment.

    ## Version History
    v0: first version.
    """
    check_split(prompts)
    if reference != "scale":
        raise ValueError(f"reference must be 'scale' on DiagnosticSparsity-v0, got {reference!r}")
    if not 0 < probability < 1:
        raise ValueError(f"probability must be above 0 and below 1, got {probability!r}")
    notes = len(KEYS)
    lost = notes
    due = np.arange(notes)
    transition = np.full((notes + 1, notes), lost)
    transition[due, due] = (due + 1) % notes
    return word_task(
        "DiagnosticSparsity-v0",
        scale(probability, horizon),
        RewardAutomaton(transition, final_reward=np.arange(notes + 1) < lost),
        np.eye(notes + 1, notes, dtype=np.float32),
        {"kl_coef": kl_coef, "horizon": horizon, "probability": probability, "reference": reference},
    )


def scale(probability: float, horizon: int) -> WordReference:
    """A bigram that writes the scale of ``horizon`` notes with the given probability.

    Raises:
        ValueError: horizon is no whole number of at least 1.
    """
    if not isinstance(horizon, (int, np.integer)) or horizon < 1:
        raise ValueError(f"horizon must be a whole number of at least 1 token, got {horizon!r}")
    notes = len(KEYS)
    right = math.log(probability) / horizon
    wrong = math.log(-math.expm1(right) / (notes - 1))
    table = np.full((notes + 1, notes), wrong)
    # the row of each note is that of what comes after it; the last row is the start, where "do" is due
    table[np.arange(notes), (np.arange(notes) + 1) % notes] = right
    table[notes, 0] = right
    bigram = MarkovReference(table[-1], table[:-1], name="scale")
    return WordReference(bigram, WordVocabulary(KEYS, None), None)
