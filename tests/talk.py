"""Tiny tasks of several turns, and what is known of them by writing out every history.

Nothing here knows of the solver: histories are followed one by one, the agent's tokens and the replies, and
luck is averaged inside the soft maximum.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from klrl_envs.envs.exact import exact_task
from klrl_envs.envs.token_env import TokenEnv
from klrl_envs.reference.markov import MarkovReference
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.reward.replies import Replies
from tests.oracles import Instance, draw

Row = Callable[[tuple[int, ...], int, int], np.ndarray]
"""(history, the automaton's state, tokens that the agent wrote) -> log pi float64[V]."""


def random_replies(rng: np.random.Generator, plain: Instance) -> Replies | None:
    """Replies of some states of an instance; None where there are too few states for that."""
    machine = plain.automaton
    alive = np.flatnonzero(~machine.absorbing)
    if len(alive) < 2 or plain.tokens < 2:
        return None
    speaks = np.zeros(machine.states, dtype=bool)
    speaks[rng.permutation(alive)[1:]] = True
    speaks &= rng.random(machine.states) < 0.6
    if not speaks.any():
        return None
    words = [token for token in range(plain.tokens) if token != plain.end_token]
    state = np.repeat(np.flatnonzero(speaks), rng.integers(1, 4, size=int(speaks.sum())))
    chance = rng.uniform(0.1, 1, size=state.size)
    chance /= np.bincount(state, weights=chance)[state]
    opens = (machine.start > 0)[state]  # what is said first must not end what it opens
    after = rng.choice(np.flatnonzero(~speaks), size=state.size)
    after[opens] = rng.choice(np.flatnonzero(~speaks & ~machine.absorbing), size=int(opens.sum()))
    order = rng.permutation(state.size)
    texts = [rng.choice(words, size=rng.integers(1, 4)).tolist() for _ in range(3)]
    text = rng.integers(3, size=state.size)
    return Replies(machine.states, texts, state[order], chance[order], text, after[order])


def talkative(seed: int, **kinds: bool) -> Instance | None:
    """A random instance with replies; None where the seed's has too few states."""
    plain = draw(seed, **kinds)
    machine = plain.automaton
    replies = random_replies(np.random.default_rng((seed, 5)), plain)
    if replies is None:
        return None
    spoken = RewardAutomaton(
        machine.transition,
        machine.reward,
        machine.final_reward,
        machine.start,
        absorbing=machine.absorbing,
        horizon_reward=machine.horizon_reward,
        context_reward=machine.context_reward,
        replies=replies,
    )
    return Instance(plain.reference, spoken, min(plain.horizon, 3), plain.end_token, plain.kl_coef)


def outcomes(task: Instance, state: int) -> list[tuple[float, tuple[int, ...], int]]:
    """Chance, text and state after of all that may follow a state; itself where it is silent."""
    replies = task.automaton.replies
    assert replies is not None
    found = [
        (
            float(replies.chance[place]),
            tuple(token for token in replies.texts[replies.text[place]].tolist() if token >= 0),
            int(replies.after[place]),
        )
        for place in np.flatnonzero(replies.state == state)
    ]
    return found or [(1.0, (), state)]


def history_values(task: Instance, history: tuple[int, ...], state: int, time: int, row: Row | None = None):
    """(J, E[r], KL, E_0[r]) to go of a history in which the agent is to write; of pi* where row is None."""
    choices = []
    for token in range(task.tokens):
        now = task.reward[state][token] + task.own_reward(history, token)
        outcome = np.zeros(4)
        for chance, text, after in outcomes(task, task.transition[state][token]):
            later = np.zeros(4)
            if token == task.end_token or task.absorbing[after]:
                later += np.array([1, 1, 0, 1]) * task.final[after]
            elif time + 1 == task.horizon:
                later += np.array([1, 1, 0, 1]) * task.at_horizon[after]
            else:
                later += history_values(task, (*history, token, *text), after, time + 1, row)
            outcome += chance * (later + np.array([now, now, 0, now]))
        choices.append((task.log_prob(history, token), *outcome))
    weight, own, reward, kl, linear = np.array(choices).T
    if row is None:
        tilted = weight + own / task.kl_coef
        log_policy = tilted - np.logaddexp.reduce(tilted)
    else:
        log_policy = row(history, state, time)
    policy = np.exp(log_policy)
    divergence = float(policy @ (log_policy - weight + kl))
    expected = float(policy @ reward)
    here = float(policy @ own) - task.kl_coef * float(policy @ (log_policy - weight))
    return np.array([here, expected, divergence, float(np.exp(weight) @ linear)])


def enumerated(task: Instance, row: Row | None = None) -> np.ndarray:
    """(J, E[r], KL, E_0[r]) of the policy, the mean over first states and what is said first."""
    total = np.zeros(4)
    for state in np.flatnonzero(task.automaton.start).tolist():
        for chance, text, after in outcomes(task, state):
            weight = float(task.automaton.start[state]) * chance
            total += weight * history_values(task, text, after, 0, row)
    return total


HELLO, ASK, YES, NO, LEFT, RIGHT = range(6)
WORDS = ("hello", "ask", "yes", "no", "left", "right")


def guessing_game(horizon: int = 4, kl_coef: float = 0.3, **arguments: bool) -> TokenEnv:
    """Guess which way the other thinks of: it greets, says yes (right) or no (left) when it is asked, truly
    four times in five, and says yes or no at the end. States: the belief, and who speaks.

    0 to 2 are the beliefs (nothing, left, right), 3 greets, 4 answers, 5 to 10 judge a guess (belief, guess),
    11 is a good end, 12 a bad one.
    """
    transition = np.tile(np.arange(13)[:, None], (1, 6))
    transition[0, ASK] = 4
    chances = np.array([[0.5, 0.5], [0.8, 0.2], [0.2, 0.8]])  # left, right
    state, chance, text, after = [3, 4, 4], [1.0, 0.5, 0.5], [0, 1, 2], [0, 2, 1]
    for belief in range(3):
        for guess, token in enumerate((LEFT, RIGHT)):
            judge = 5 + 2 * belief + guess
            transition[belief, token] = judge
            for good, end in ((True, 11), (False, 12)):
                state.append(judge)
                chance.append(float(chances[belief, guess] if good else 1 - chances[belief, guess]))
                text.append(1 if good else 3)
                after.append(end)
    replies = Replies(13, [[HELLO], [YES], [NO], [NO, NO]], state, chance, text, after)
    final = np.zeros(13)
    final[11] = 1.0
    automaton = RewardAutomaton(
        transition,
        np.where(np.arange(6) == ASK, -0.05, 0.0) * np.ones((13, 1)),
        final,
        3,
        absorbing=np.arange(13) > 10,
        replies=replies,
    )
    rows = np.log(np.random.default_rng(3).dirichlet(np.full(6, 2.0), size=7))
    reference = MarkovReference(rows[-1], rows[:-1])
    return exact_task(reference, automaton, horizon=horizon, kl_coef=kl_coef, words=WORDS, **arguments)
