"""Dialogue: find out which film somebody wishes for, in a conversation of a few turns.

## Description
A user comes to a film shop with a wish that the agent does not see: a genre, a decade and a mood, twelve in
all, and one film is right for each. The agent is the shop. It writes words; when it ends its turn the user
answers. It may ask, recommend, or talk politely. A conversation reads so:

    user: Hello, I am looking for a film.
    shop: Which genre would you like?
    user: A comedy, please.
    shop: Certainly, try Clueless.
    user: No, that is not for me.

The reference talks as the seller of scripted conversations does, a bigram: it asks at random, recommends too
soon, and does not listen.

## Action Space
``Discrete(83)``: the next word or mark of the reference ``shop``. ".", "?" and "!" end the turn. A title,
which is said with its full stop, recommends that film and ends the conversation.

## Observation Space
``Box(int64, (75,))``: all words so far, the user's, too, padded on the right with 83, as no token ends a
text. The features id shows instead what the answers support: the probability of each genre, decade and mood,
what this turn has asked for (nothing, one of the three, or several), which turn it is, whether the shop was
polite, how it ended, the time left and the row log pi0(.|last word), float32.

## Starting State
The user's first line. With ``transparent`` it says the wish: "Hello, I want a comedy, dark and from the
nineties."

## What the user says
A turn with "genre", "decade" or "mood" asks for that, and the user names a value: the wish's own with
probability ``truth``, each other as likely as the rest. After a turn that asks for nothing or for several the
user has not understood. A film is praised with probability ``truth`` if it is right, else with 1 - ``truth``.
After the last of ``turns`` turns without a film the user has to go.

These words are the environment's: they are no action, pay no KL and count in no budget.
``info["environment_tokens"]`` has them when they are written, and ``agent_mask`` of the environment tells
whose token is whose.

## Rewards
At the end, once: 1 if the film is praised, -.03 for each turn that the user answered before, +.05 for
"please" or "thanks" in any turn. A user who has to go praises nothing, nor does one when the time is up. KL
is not part of the reward.

## Episode End
A film, the end of the last turn, or ``horizon`` words of the shop; all terminate. What the user says to the
last word stands in the text.

## Information
``reference_log_prob`` (nats) each step, ``environment_tokens`` where the user has spoken, at the reset, too;
at the end ``text``, ``right`` (whether the film is what was wished for), ``liked`` (whether it was praised),
``polite`` and ``turns`` (6 where the user had to go).

## Arguments
``kl_coef`` (.02), ``horizon`` (30), ``turns`` (5, at most 6), ``truth`` (.9), ``transparent`` (False),
``reference`` ("shop").

## Optimum
Exact, by the soft Bellman equation with an expectation over what the user says. The state is the belief that
the answers support, a finite statistic: how often each value of a property was named more than the one named
least. Wishes are not drawn at first but answer by answer from that belief, which is the same law. As the
answers are drawn at random, J* is **not** kl_coef log Z and pi* is no tilted pi0: an agent cannot choose
what it hears. KL* is the sum of pi*'s conditional KLs, and each point of the frontier is a dynamic programme
of its own.

## References
Belief states: Smallwood and Sondik 1973; dialogue as such a decision: Williams and Young 2007.

## Version History
v0: first version.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from klrl_envs.reference.catalogue import load
from klrl_envs.reference.language_model import LanguageModel
from klrl_envs.reference.shop import ASKED, CLOSINGS, DECADES, FILMS, GENRES, MOODS
from klrl_envs.reward.belief import beliefs_of, certainties_of, value_numbers
from klrl_envs.reward.dialogue import Lines, Prices, Roles, Talk
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import is_whole

SIZES = (len(GENRES), len(DECADES), len(MOODS))
POLITE = ("please", "thanks")
TURN, MANNERS = 0.03, 0.05
MOST_TURNS = 6


def task(
    *,
    kl_coef: float,
    horizon: int = 30,
    turns: int = 5,
    truth: float = 0.9,
    transparent: bool = False,
    reference: str = "shop",
) -> AutomatonTask:
    """The task; the page above is its specification."""
    if not is_whole(turns) or not 1 <= turns <= MOST_TURNS:
        raise ValueError(f"turns must be a whole number from 1 to {MOST_TURNS}, got {turns!r}")
    if not 0.5 < truth < 1:
        raise ValueError(f"truth must be above .5 and below 1, got {truth!r}")
    if transparent not in (True, False):
        raise ValueError(f"transparent must be True or False, got {transparent!r}")
    model = load(reference, allowed=("shop",))
    talk = talk_of(model, int(turns), float(truth), bool(transparent))
    return AutomatonTask.of(
        model,
        talk.automaton(model.vocab_size),
        kl_coef=kl_coef,
        horizon=horizon,
        reward_range=(-TURN * turns, 1 + MANNERS),
        reward_fingerprint=fingerprint_of(talk),
        state_features=talk.features(),
        final_metrics=talk.facts,
    )


@lru_cache(maxsize=4)
def talk_of(model: LanguageModel, turns: int, truth: float, transparent: bool) -> Talk:
    """The conversation that the page describes."""
    beliefs = certainties_of(SIZES, truth) if transparent else beliefs_of(SIZES, truth, turns - 1)

    def tokens(text: str) -> list[int]:
        return model.tokens(text.split())

    openings = [tokens("hello , I am looking for a film .")]
    if transparent:
        openings = [tokens(wish(*values)) for values in value_numbers(SIZES).tolist()]
    lines = Lines(
        openings,
        answers=(
            [tokens(f"{genre} , please .") for genre in GENRES],
            [tokens(f"from the {decade} .") for decade in DECADES],
            [tokens(f"something {mood} .") for mood in MOODS],
        ),
        confused=tokens("sorry , I did not understand ."),
        liked=tokens("that is the one , thank you !"),
        disliked=tokens("no , that is not for me ."),
        leaving=tokens("I have to go now ."),
    )
    roles = Roles([model.tokens([word]) for word in ASKED], *map(model.tokens, (CLOSINGS, POLITE, FILMS)))
    return Talk(beliefs, turns, roles, lines, Prices(truth, TURN, MANNERS))


def fingerprint_of(talk: Talk) -> str:
    """SHA-256 of what the automaton is computed from: its chances differ in their last bits by processor."""
    roles, prices = talk.roles, talk.prices
    tokens = [list(each) for each in (*roles.asks, roles.closings, roles.polite, roles.films)]
    numbers = (SIZES, talk.turns, prices.truth, prices.turn, prices.manners)
    return hashlib.sha256(f"klrl dialogue 1 {numbers} {tokens} {talk.lines.texts}".encode()).hexdigest()


def wish(genre: int, decade: int, mood: int) -> str:
    """What is said first by who tells the wish."""
    return f"hello , I want {GENRES[genre]} , {MOODS[mood]} and from the {DECADES[decade]} ."
