"""The automaton of a conversation in which one side finds out what the other wishes for, and recommends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.reward.belief import Beliefs
from klrl_envs.reward.replies import Replies

Tokens = Sequence[int]


@dataclass(frozen=True)
class Roles:
    """What the tokens are in a conversation.

    Attributes:
        asks: for each property, the tokens that ask for it.
        closings: tokens that end a turn.
        polite: tokens that are good manners.
        films: for each wish, the token that recommends what is wished for.
    """

    asks: Sequence[Tokens]
    closings: Tokens
    polite: Tokens
    films: Tokens


@dataclass(frozen=True)
class Lines:
    """What the other side says, in tokens.

    Attributes:
        openings: one for whatever the wish, or one for each.
        answers: for each property one for each value.
        confused: where a turn asked for nothing, or for several properties.
        liked, disliked: of what was recommended.
        leaving: where the turns are used up.
    """

    openings: Sequence[Tokens]
    answers: Sequence[Sequence[Tokens]]
    confused: Tokens
    liked: Tokens
    disliked: Tokens
    leaving: Tokens

    @cached_property
    def texts(self) -> list[list[int]]:
        """All of them, in the order in which ``Talk`` numbers them."""
        answers = [text for texts in self.answers for text in texts]
        every = (*self.openings, *answers, self.confused, self.liked, self.disliked, self.leaving)
        return [list(text) for text in every]


@dataclass(frozen=True)
class Prices:
    """What is paid: 1 for a good verdict, less ``turn`` for each turn that was answered, and ``manners``.

    Attributes:
        truth: how likely the verdict is what it should be.
        turn, manners: in units of reward.
    """

    truth: float
    turn: float
    manners: float


@dataclass(frozen=True, eq=False)
class Talk:
    """The states of a conversation of N turns, and where they lead; ``automaton`` is what comes of it.

    Numbered one kind after the other: states in which the agent writes, (turn, belief) x what was asked in
    this turn x manners; those that answer the end of a turn, one for each; those that judge, (turn, belief) x
    manners x film; one that opens for each opening; ends with a verdict, turn x manners x right x liked; ends
    without, by manners.

    Attributes:
        beliefs: of the wish.
        turns: N.
        roles, lines, prices: of the tokens, of the other side, and of the end.
    """

    beliefs: Beliefs
    turns: int
    roles: Roles
    lines: Lines
    prices: Prices

    @cached_property
    def held(self) -> list[tuple[int, int]]:
        """H pairs of a turn and a belief that may be held in it."""
        return [
            (turn, belief)
            for turn in range(self.turns)
            for belief in np.flatnonzero(self.beliefs.answers <= turn).tolist()
        ]

    @cached_property
    def turn(self) -> IntArray:
        """int64[H], of each pair of turn and belief, from 0."""
        return np.array([turn for turn, _ in self.held])

    @cached_property
    def belief(self) -> IntArray:
        """int64[H]."""
        return np.array([belief for _, belief in self.held])

    @cached_property
    def place(self) -> IntArray:
        """int64[N, B], where a pair stands; -1 where it cannot be."""
        place = np.full((self.turns, len(self.beliefs.answers)), -1, dtype=np.int64)
        place[self.turn, self.belief] = np.arange(len(self.held))
        return place

    @property
    def asked(self) -> int:
        """What a turn may have asked for: nothing, one of the properties, or several."""
        return len(self.beliefs.sizes) + 2

    @cached_property
    def firsts(self) -> tuple[int, ...]:
        """The first state of each kind, and the number of all."""
        writing = len(self.held) * self.asked * 2
        judging = len(self.held) * 2 * len(self.roles.films)
        sizes = (writing, writing, judging, len(self.lines.openings), self.turns * 8, 2)
        return tuple(accumulate(sizes, initial=0))

    def writing(self, held: IntArray, asked: IntArray | int, manners: IntArray | int) -> IntArray:
        """The states in which the agent writes."""
        return (held * self.asked + asked) * 2 + manners

    def ended(self, turn: IntArray, manners: IntArray, right: bool, liked: bool) -> IntArray:
        """The ends with a verdict."""
        return self.firsts[4] + ((turn * 2 + manners) * 2 + right) * 2 + liked

    def transition(self, vocab_size: int) -> IntArray:
        """int64[Q, V]; states that speak and ends stay where they are."""
        table = np.tile(np.arange(self.firsts[-1])[:, None], (1, vocab_size))
        held, asked, manners = (
            part.ravel() for part in np.meshgrid(
                np.arange(len(self.held)), np.arange(self.asked), np.arange(2), indexing="ij"
            )
        )  # fmt: skip
        own = self.writing(held, asked, manners)
        several = self.asked - 1
        for number, tokens in enumerate(self.roles.asks, start=1):
            after = self.writing(held, np.where((asked == 0) | (asked == number), number, several), manners)
            table[own[:, None], np.array(tokens)] = after[:, None]
        table[own[:, None], np.array(self.roles.polite)] = self.writing(held, asked, 1)[:, None]
        table[own[:, None], np.array(self.roles.closings)] = self.firsts[1] + own[:, None]
        films = np.arange(len(self.roles.films))
        judges = self.firsts[2] + (held * 2 + manners)[:, None] * len(films) + films
        table[own[:, None], np.array(self.roles.films)] = judges
        return table

    def replies(self) -> Replies:
        """What the other side says."""
        kinds = [self.opening(), *self.answering(), *self.judging()]
        state, chance, text, after = (np.concatenate(parts) for parts in zip(*kinds, strict=True))
        there = chance > 0
        return Replies(
            self.firsts[-1], self.lines.texts, state[there], chance[there], text[there], after[there]
        )

    def opening(self) -> tuple[IntArray, FloatArray, IntArray, IntArray]:
        """State, chance, text and state after of what is said first."""
        count = len(self.lines.openings)
        number = np.arange(count)
        return self.firsts[3] + number, np.ones(count), number, self.writing(self.place[0, :count], 0, 0)

    def answering(self) -> list[tuple[IntArray, FloatArray, IntArray, IntArray]]:
        """The same of what is said after a turn."""
        found: list[tuple[IntArray, FloatArray, IntArray, IntArray]] = []
        first_answer, confused = len(self.lines.openings), len(self.lines.texts) - 4
        for manners in (0, 1):
            last = np.flatnonzero(self.turn == self.turns - 1)
            leaving = np.full(last.size * self.asked, len(self.lines.texts) - 1)
            state = self.firsts[1] + self.writing(last[:, None], np.arange(self.asked), manners).ravel()
            found.append((state, np.ones(state.size), leaving, np.full(state.size, self.firsts[5] + manners)))
            held = np.flatnonzero(self.turn < self.turns - 1)
            turn, belief = self.turn[held], self.belief[held]
            for asked in (0, self.asked - 1):
                state = self.firsts[1] + self.writing(held, asked, manners)
                after = self.writing(self.place[turn + 1, belief], 0, manners)
                found.append((state, np.ones(held.size), np.full(held.size, confused), after))
            text = first_answer
            for number, size in enumerate(self.beliefs.sizes):
                state = self.firsts[1] + self.writing(held, number + 1, manners)
                for value in range(size):
                    following = self.place[turn + 1, self.beliefs.after[belief, number, value]]
                    chance = self.beliefs.chance[belief, number, value]
                    after = self.writing(following, 0, manners)
                    found.append((state, chance, np.full(held.size, text), after))
                    text += 1
        return found

    def judging(self) -> list[tuple[IntArray, FloatArray, IntArray, IntArray]]:
        """The same of what is said after a recommendation."""
        films = len(self.roles.films)
        held, manners, film = (
            part.ravel() for part in np.meshgrid(
                np.arange(len(self.held)), np.arange(2), np.arange(films), indexing="ij"
            )
        )  # fmt: skip
        state = self.firsts[2] + (held * 2 + manners) * films + film
        right = self.beliefs.posterior[self.belief[held], film]
        found: list[tuple[IntArray, FloatArray, IntArray, IntArray]] = []
        for wished, share in ((True, right), (False, 1 - right)):
            for liked in (True, False):
                chance = share * (self.prices.truth if liked == wished else 1 - self.prices.truth)
                text = np.full(state.size, len(self.lines.texts) - (3 if liked else 2))
                found.append((state, chance, text, self.ended(self.turn[held], manners, wished, liked)))
        return found

    @cached_property
    def is_end(self) -> BoolArray:
        """bool[Q]."""
        return np.arange(self.firsts[-1]) >= self.firsts[4]

    @cached_property
    def facts(self) -> dict[str, FloatArray]:
        """What is known in each state, float64[Q]: right, liked, polite, and the turns begun."""
        states = np.arange(self.firsts[-1])
        zeros = np.zeros(states.size)
        facts = {"right": zeros.copy(), "liked": zeros.copy(), "polite": zeros.copy(), "turns": zeros + 1}
        own = states[: self.firsts[1]]
        facts["polite"][own] = own % 2
        facts["turns"][own] = self.turn[own // (2 * self.asked)] + 1
        ends = states[self.firsts[4] : self.firsts[5]]
        rest = ends - self.firsts[4]
        facts["liked"][ends], facts["right"][ends] = rest % 2, rest // 2 % 2
        facts["polite"][ends], facts["turns"][ends] = rest // 4 % 2, rest // 8 + 1
        left = states[self.firsts[5] :]
        facts["polite"][left], facts["turns"][left] = left - self.firsts[5], self.turns + 1
        return facts

    def features(self) -> NDArray[np.float32]:
        """float32[Q, F]: the belief, what was asked, the turn, manners, and of ends right and liked."""
        states, sizes = self.firsts[-1], self.beliefs.marginals.shape[1]
        found = np.zeros((states, sizes + self.asked + self.turns + 4), dtype=np.float32)
        own = np.arange(self.firsts[1])
        held = own // (2 * self.asked)
        found[own, :sizes] = self.beliefs.marginals[self.belief[held]]
        found[own, sizes + own // 2 % self.asked] = 1
        found[own, sizes + self.asked + self.turn[held]] = 1
        ends = np.flatnonzero(self.is_end)
        turns = np.minimum(self.facts["turns"][ends].astype(np.int64) - 1, self.turns - 1)
        found[ends, sizes + self.asked + turns] = 1
        found[:, -4] = self.facts["polite"]
        found[:, -3:-1] = np.stack([self.facts["right"], self.facts["liked"]], axis=1)
        found[self.firsts[5] :, -1] = 1
        return found

    def automaton(self, vocab_size: int) -> RewardAutomaton:
        """States, what is said, and what is paid at the end; some of the states may be out of reach."""
        paid = self.facts["liked"] - self.prices.turn * (self.facts["turns"] - 1)
        paid += self.prices.manners * self.facts["polite"]
        start = np.zeros(self.firsts[-1])
        start[self.firsts[3] : self.firsts[4]] = 1 / len(self.lines.openings)
        return RewardAutomaton(
            self.transition(vocab_size), None, paid, start, absorbing=self.is_end, replies=self.replies()
        )
