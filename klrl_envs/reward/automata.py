"""Ways to make a ``RewardAutomaton``: from keywords, a count, a sum, a regular expression, or two others.

What is made from nothing else pays at the end alone, the same whether an end token or the horizon ends the
text. The end token is a token like the others to an automaton: give it as ``end_token`` where it must not
count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.reward.expressions import Expression, derivative, nullable, parse, symbols

MOST_STATES = 100_000


def from_keywords(tokens: Sequence[int], vocab_size: int) -> RewardAutomaton:
    """The fraction of the given tokens that occur: the states are their 2^n subsets, as bits.

    Args:
        tokens: n distinct tokens, at most 16.
        vocab_size: V.

    Raises:
        ValueError: none or too many tokens, one twice, or one out of range.
    """
    if not 1 <= len(tokens) <= 16 or len(set(tokens)) != len(tokens):
        raise ValueError(f"tokens must be 1 to 16 distinct tokens, got {list(tokens)}")
    check_tokens(tokens, vocab_size)
    states = np.arange(1 << len(tokens))
    transition = np.repeat(states[:, None], vocab_size, axis=1)
    for bit, token in enumerate(tokens):
        transition[:, token] |= 1 << bit
    seen = binary(len(states), len(tokens)).sum(axis=1)
    return RewardAutomaton(transition, final_reward=seen / len(tokens))


def binary(count: int, digits: int) -> IntArray:
    """The numbers 0 to count - 1 in binary digits, the lowest first: int64 [count, digits]."""
    return np.arange(count)[:, None] >> np.arange(digits) & 1


def from_count(tokens: Sequence[int], vocab_size: int, values: ArrayLike) -> RewardAutomaton:
    """``values[n]`` for n occurrences of the given tokens; the last value for all larger counts.

    Args:
        tokens: what is counted.
        vocab_size: V.
        values: float[Q], the reward of 0, 1, ..., Q - 1 and more occurrences.

    Raises:
        ValueError: a token out of range, or no values.
    """
    check_tokens(tokens, vocab_size)
    rewards = np.asarray(values, dtype=np.float64)
    if rewards.ndim != 1 or not len(rewards):
        raise ValueError(f"values must hold a number for each count from 0, got shape {rewards.shape}")
    states = np.arange(len(rewards))
    transition = np.repeat(states[:, None], vocab_size, axis=1)
    transition[:, list(tokens)] = np.minimum(states + 1, len(rewards) - 1)[:, None]
    return RewardAutomaton(transition, final_reward=rewards)


def from_sum(weights: ArrayLike, horizon: int, value: Callable[[IntArray], ArrayLike]) -> RewardAutomaton:
    """A function of the sum of the tokens' whole-number weights; every sum within the horizon is a state.

    No sum is clamped on the way, which would be another reward.

    Args:
        weights: int[V], the end token's usually 0.
        horizon: the most tokens that will be written, T.
        value: from sums int64[Q] to rewards float[Q].

    Raises:
        ValueError: weights that are no whole numbers, or too many sums.
    """
    steps = np.asarray(weights)
    if steps.ndim != 1 or not len(steps) or steps.dtype.kind not in "iu":
        raise ValueError(f"weights must be whole numbers [V], got {steps.dtype} {steps.shape}")
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1 token, got {horizon}")
    low, high = horizon * min(int(steps.min()), 0), horizon * max(int(steps.max()), 0)
    if high - low >= MOST_STATES:
        raise ValueError(
            f"the sums {low} to {high} are more than {MOST_STATES:,} states: use coarser weights"
        )
    sums = np.arange(low, high + 1)
    # beyond what the horizon reaches a sum stays where it is; no text gets there
    transition = np.clip(sums[:, None] + steps, low, high) - low
    rewards = np.asarray(value(sums), dtype=np.float64)
    return RewardAutomaton(transition, final_reward=rewards, start=-low)


def from_expression(pattern: str, words: Sequence[str], *, end_token: int | None = None) -> RewardAutomaton:
    """1 for a text that a regular expression over words matches as a whole, else 0.

    The states are the derivatives of the expression (Brzozowski 1964): what is still to be matched.

    Args:
        pattern: words and operators, parted by spaces where two words meet: ``.`` any word, ``(a | b)``,
            ``*``, ``+``, ``?``, ``{2}``, ``{1,3}``, ``[a b]`` one of, ``[^a b]`` none of; a word that
            holds an operator is quoted, as ``"."``. ``.* great .*`` is a text with "great" in it.
        words: the vocabulary, V strings.
        end_token: is not part of the text, and leaves the state as it is.

    Raises:
        ValueError: a pattern that cannot be read, names a word that is not there, or needs too many states.
    """
    start = parse(pattern, {word: token for token, word in enumerate(words)})
    # tokens that the pattern does not tell apart move alike
    named = sorted(symbols(start) - ({end_token} if end_token is not None else set()))
    column = np.full(len(words), len(named))
    column[named] = np.arange(len(named))
    index: dict[Expression, int] = {start: 0}
    rows: list[list[int]] = []
    waiting = [start]
    for expression in waiting:
        row: list[int] = []
        for symbol in (*named, None):
            following = derivative(expression, symbol)
            if following not in index:
                index[following] = len(index)
                waiting.append(following)
                if len(index) > MOST_STATES:
                    raise ValueError(f"the pattern {pattern!r} needs more than {MOST_STATES:,} states")
            row.append(index[following])
        rows.append(row)
    transition = np.array(rows)[:, column]
    if end_token is not None:
        transition[:, end_token] = np.arange(len(rows))
    return RewardAutomaton(transition, final_reward=np.array([nullable(e) for e in index], dtype=np.float64))


def product(
    first: RewardAutomaton,
    second: RewardAutomaton,
    combine: Callable[[FloatArray, FloatArray], FloatArray] = np.add,
) -> RewardAutomaton:
    """Both automata reading the same text; of their pairs of states, those that some text reaches.

    What they pay on the way is added; what they pay at the end goes through ``combine``, such as
    ``np.multiply`` (both) or ``np.maximum`` (either). The text ends where either ends it.

    Raises:
        ValueError: other vocabularies, stochastic execution, replies, or too many states.
    """
    if first.vocab_size != second.vocab_size:
        raise ValueError(f"vocabularies must be one, got {first.vocab_size} and {second.vocab_size} tokens")
    extras = [each.context_reward for each in (first, second) if each.context_reward is not None]
    if len({extra.shape for extra in extras}) > 1:
        raise ValueError("the two rewards of context and token must be of one reference")
    if first.execution is not None or second.execution is not None:
        raise ValueError("a product is of automata whose chosen token is the one that is executed")
    if first.replies is not None or second.replies is not None:
        raise ValueError("a product is of automata that write nothing themselves, got one with replies")
    start = np.outer(first.start, second.start)
    known = {pair: place for place, pair in enumerate(map(tuple, np.argwhere(start > 0).tolist()))}
    waiting = list(known)
    rows: list[IntArray] = []
    for one, other in waiting:
        pairs, column = np.unique(
            np.stack((first.transition[one], second.transition[other])), axis=1, return_inverse=True
        )
        if first.absorbing[one] or second.absorbing[other]:
            pairs, column = np.array([[one], [other]]), np.zeros(first.vocab_size, dtype=np.int64)
        for pair in map(tuple, pairs.T.tolist()):
            if pair not in known:
                known[pair] = len(known)
                waiting.append(pair)
        if len(known) > MOST_STATES:
            raise ValueError(f"the product needs more than {MOST_STATES:,} states")
        places = np.array([known[pair] for pair in map(tuple, pairs.T.tolist())])
        rows.append(places[column.reshape(-1)])
    left, right = np.array(waiting).T
    return RewardAutomaton(
        np.array(rows),
        reward=first.reward[left] + second.reward[right],
        final_reward=combine(first.final_reward[left], second.final_reward[right]),
        horizon_reward=combine(first.horizon_reward[left], second.horizon_reward[right]),
        start=start[left, right],
        absorbing=first.absorbing[left] | second.absorbing[right],
        context_reward=np.sum(extras, axis=0) if extras else None,
    )


def check_tokens(tokens: Sequence[int], vocab_size: int) -> None:
    """Raise ValueError unless all tokens are of the vocabulary."""
    wrong = [token for token in tokens if not 0 <= token < vocab_size]
    if wrong:
        raise ValueError(f"tokens must be in 0..{vocab_size - 1}, got {wrong[0]}")
