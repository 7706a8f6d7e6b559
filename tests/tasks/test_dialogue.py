"""Dialogue: the page, by conversations written out, by a user of flesh and wish, and by Bayes' rule."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import klrl_envs
from klrl_envs.envs.engine import Engine
from klrl_envs.optima.dynamic_programme import solve_problem
from klrl_envs.optima.optimum import optimum_of, problem_of
from klrl_envs.optima.probes import probe_scores
from klrl_envs.reference.markov import MarkovReference
from klrl_envs.reference.sampling import sample_rows
from klrl_envs.reward.belief import beliefs_of, certainties_of, value_numbers
from klrl_envs.reward.dialogue import Lines, Prices, Roles, Talk
from klrl_envs.tasks.dialogue import SIZES
from tests.oracles import evaluation_task
from tests.playing import play

GENRE, DECADE, STOP, PLEASE, FILM = range(5)  # four films, 4 to 7
TRUTH, TURN, MANNERS = 0.8, 0.07, 0.11
TINY = {"sizes": (2, 2), "turns": 3, "horizon": 4, "kl_coef": 0.06}


def tiny_talk(transparent: bool) -> Talk:
    """Two genres and two decades; answers and verdicts are written in the same eight tokens."""
    sizes, turns = TINY["sizes"], TINY["turns"]
    beliefs = certainties_of(sizes, TRUTH) if transparent else beliefs_of(sizes, TRUTH, turns - 1)
    openings = [[PLEASE, wish] for wish in range(4)] if transparent else [[PLEASE]]
    lines = Lines(openings, [[[4], [5]], [[6], [7]]], [STOP, STOP], [GENRE, STOP], [DECADE], [PLEASE, STOP])
    roles = Roles([[GENRE], [DECADE]], [STOP], [PLEASE], [4, 5, 6, 7])
    return Talk(beliefs, turns, roles, lines, Prices(TRUTH, TURN, MANNERS))


class Recursion:
    """The tiny conversation by its page alone: histories of what was said, and every wish with its odds.

    Nothing is merged: the odds are multiplied up from the wishes at each history.
    """

    def __init__(self, reference: MarkovReference) -> None:
        self.table, self.beta = reference.table, TINY["kl_coef"]

    def values(
        self, odds: dict[Any, float], last: int, turn: list[int], turns: int, manners: bool, time: int
    ):
        """(J, E[r], KL, E_0[r]) to go; ``odds`` are the wishes' joint probabilities with what was said."""
        choices = []
        for token in range(8):
            polite = manners or token == PLEASE
            pay = -TURN * turns + MANNERS * polite
            total = sum(odds.values())
            if token >= FILM:
                right = odds[divmod(token - FILM, 2)] / total
                praised = right * TRUTH + (1 - right) * (1 - TRUTH)
                outcome = np.array([1, 1, 0, 1]) * (praised + pay)
            elif token == STOP:
                outcome = self.heard(odds, turn, turns, polite, time)
            elif time + 1 == TINY["horizon"]:
                outcome = np.array([1, 1, 0, 1]) * pay
            else:
                outcome = self.values(odds, token, [*turn, token], turns, polite, time + 1)
            choices.append((self.table[last, token], *outcome))
        weight, own, reward, kl, linear = np.array(choices).T
        tilted = weight + own / self.beta
        log_policy = tilted - np.logaddexp.reduce(tilted)
        policy = np.exp(log_policy)
        return np.array([
            self.beta * np.logaddexp.reduce(tilted), policy @ reward, policy @ (log_policy - weight + kl),
            np.exp(weight) @ linear,
        ])  # fmt: skip

    def heard(self, odds: dict[Any, float], turn: list[int], turns: int, polite: bool, time: int) -> Any:
        """The same after the end of a turn, the mean over what the user may say."""
        over = np.array([1, 1, 0, 1]) * (-TURN * (turns + 1) + MANNERS * polite)
        if turns + 1 == TINY["turns"]:
            return over
        asked = {token for token in turn if token in (GENRE, DECADE)}
        ways = [(odds, STOP)]  # not understood: the last word heard is STOP
        if len(asked) == 1:
            number = asked.pop()
            ways = [
                (
                    {wish: chance * (TRUTH if wish[number] == value else 1 - TRUTH)
                     for wish, chance in odds.items()},
                    4 + 2 * number + value,
                )
                for value in range(2)
            ]  # fmt: skip
        total, mean = sum(odds.values()), np.zeros(4)
        for following, last in ways:
            later = over if time + 1 == TINY["horizon"] else self.values(
                following, last, [], turns + 1, polite, time + 1
            )  # fmt: skip
            mean += sum(following.values()) / total * later
        return mean


@pytest.mark.parametrize("transparent", [False, True])
def test_optimum_is_that_of_all_histories_wishes_and_answers(transparent: bool) -> None:
    rows = np.log(np.random.default_rng(4).dirichlet(np.full(8, 1.5), size=9))
    reference = MarkovReference(rows[-1], rows[:-1])
    automaton = tiny_talk(transparent).automaton(8).trimmed()
    env = klrl_envs.exact_task(reference, automaton, horizon=TINY["horizon"], kl_coef=TINY["kl_coef"])
    best = optimum_of(env.unwrapped.task)
    wishes = {(genre, decade): 0.25 for genre in range(2) for decade in range(2)}
    recursion = Recursion(reference)
    if transparent:
        known = np.zeros(4)
        for place, wish in enumerate(wishes):
            odds = {other: float(other == wish) for other in wishes}
            known += 0.25 * recursion.values(odds, place, [], 0, False, 0)
    else:
        known = recursion.values(wishes, PLEASE, [], 0, False, 0)
    found = (best.value, best.expected_reward, best.kl, best.reference_value)
    np.testing.assert_allclose(found, known, atol=1e-10)


def test_beliefs_are_those_of_bayes() -> None:
    rng = np.random.default_rng(0)
    beliefs, wishes = beliefs_of((3, 2, 2), 0.9, 4), value_numbers((3, 2, 2))
    np.testing.assert_allclose(beliefs.posterior.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(beliefs.chance.sum(axis=2), 1.0, atol=1e-12)
    for _ in range(200):
        place, odds = 0, np.ones(12)
        for _ in range(rng.integers(0, 5)):
            number = int(rng.integers(3))
            size = (3, 2, 2)[number]
            value = int(rng.integers(size))
            likelihood = np.where(wishes[:, number] == value, 0.9, 0.1 / (size - 1))
            assert beliefs.chance[place, number, value] == pytest.approx(odds @ likelihood / odds.sum())
            odds = odds * likelihood
            place = int(beliefs.after[place, number, value])
        np.testing.assert_allclose(beliefs.posterior[place], odds / odds.sum(), atol=1e-12)
        for number in range(3):
            begin = sum((3, 2, 2)[:number])
            for value in range((3, 2, 2)[number]):
                own = odds[wishes[:, number] == value].sum() / odds.sum()
                assert beliefs.marginals[place, begin + value] == pytest.approx(own)


ANSWERS = (
    ("a comedy , please .", "a thriller , please .", "science fiction , please ."),
    ("from the sixties .", "from the nineties ."),
    ("something light .", "something dark ."),
)


class User:
    """A user with a wish, as the page describes one, who knows of no belief."""

    def __init__(self, task: Any, rng: np.random.Generator) -> None:
        self.rng, self.words = rng, task.vocabulary
        self.wish = tuple(int(rng.integers(size)) for size in SIZES)
        self.right = task.vocabulary.words[task.vocabulary.words.index("Playtime.") + self.number]

    @property
    def number(self) -> int:
        genre, decade, mood = self.wish
        return (genre * 2 + decade) * 2 + mood

    def answer(self, turn: list[str]) -> str:
        """What is said to a turn without a film."""
        asked = {word for word in turn if word in ("genre", "decade", "mood")}
        if len(asked) != 1:
            return "sorry , I did not understand ."
        number = ("genre", "decade", "mood").index(asked.pop())
        value, size = self.wish[number], SIZES[number]
        if self.rng.random() >= 0.9:
            value = int(self.rng.choice([other for other in range(size) if other != value]))
        return ANSWERS[number][value]

    def verdict(self, film: str) -> bool:
        """Whether it praises a film."""
        return bool(self.rng.random() < (0.9 if film == self.right else 0.1))


def converse(task: Any, policy: Any, episodes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rewards and rights of conversations of pi* with such users; the automaton only says where pi* is."""
    rng = np.random.default_rng(seed)
    words, automaton, replies = task.vocabulary.words, task.automaton, task.automaton.replies
    texts = [tuple(words[t] for t in row if t >= 0) for row in replies.texts.tolist()]
    users = [User(task, rng) for _ in range(episodes)]
    stop = words.index(".")
    state = np.full(episodes, int(task.starts[1][0]))
    context = np.full(episodes, stop)
    said: list[list[str]] = [[] for _ in range(episodes)]
    turns, polite = np.zeros(episodes), np.zeros(episodes)
    reward, right = np.full(episodes, np.nan), np.zeros(episodes)
    for time in range(task.horizon):
        going = np.flatnonzero(np.isnan(reward))
        if not len(going):
            break
        rows = policy.log_probs(context[going], state[going], np.full(len(going), time))
        for lane, token in zip(going.tolist(), sample_rows(rows, rng).tolist()):
            word, user = words[token], users[lane]
            polite[lane] = polite[lane] or word in ("please", "thanks")
            pay = -0.03 * turns[lane] + 0.05 * polite[lane]
            state[lane], context[lane] = automaton.transition[state[lane], token], token
            if word[0].isupper() and word.endswith("."):
                reward[lane] = user.verdict(word) + pay
                right[lane] = word == user.right
            elif word in (".", "?", "!"):
                turns[lane] += 1
                if turns[lane] == 5:
                    reward[lane] = pay - 0.03
                    continue
                heard = tuple(user.answer(said[lane]).split())
                outcomes = np.flatnonzero(replies.state == state[lane])
                (found,) = [one for one in outcomes if texts[replies.text[one]] == heard]
                state[lane], context[lane], said[lane] = replies.after[found], stop, []
            else:
                said[lane].append(word)
            if time + 1 == task.horizon and np.isnan(reward[lane]):
                reward[lane] = -0.03 * turns[lane] + 0.05 * polite[lane]
    return reward, right


@pytest.mark.slow
def test_a_user_with_a_wish_pays_what_the_solver_says() -> None:
    task = evaluation_task("Dialogue-v0")
    best = optimum_of(task)
    reward, right = converse(task, best.policy, 6000, seed=0)
    assert reward.mean() == pytest.approx(best.expected_reward, abs=4 * reward.std() / 6000**0.5)
    engine, paid = play(task, 6000, seed=1)
    assert paid.mean() == pytest.approx(best.expected_reward, abs=4 * paid.std() / 6000**0.5)
    rights = task.final_metrics["right"][engine.state]
    assert right.mean() == pytest.approx(rights.mean(), abs=4 * (2 * right.var() / 6000) ** 0.5)


def test_a_conversation_reads_as_the_page_says() -> None:
    env: Any = gym.make("klrl/Dialogue-v0")
    vocabulary = env.unwrapped.task.vocabulary
    env.reset(seed=3)
    info: dict[str, Any] = {}
    reward = 0.0
    for token in vocabulary.encode("Which genre would you like? Thanks. Certainly, try Clueless."):
        _, reward, terminated, _, info = env.step(token)
    assert terminated and info["turns"] == 3 and info["polite"] == 1
    assert reward == pytest.approx(info["liked"] - 2 * 0.03 + 0.05)
    lines = info["text"].split("\n")
    assert lines[0] == "user: Hello, I am looking for a film."
    assert lines[1] == "shop: Which genre would you like?"
    assert lines[2] in [f"user: {genre}, please." for genre in ("A comedy", "A thriller", "Science fiction")]
    assert lines[3:6] == [
        "shop: Thanks.", "user: Sorry, I did not understand.", "shop: Certainly, try Clueless."
    ]  # fmt: skip
    assert lines[6] == (
        "user: That is the one, thank you!" if info["liked"] else "user: No, that is not for me."
    )
    env.reset(seed=3)
    for token in vocabulary.encode("Genre mood? Genre. Decade. Mood! ?"):
        _, reward, terminated, _, info = env.step(token)
    assert terminated and info["turns"] == 6 and info["text"].endswith("user: I have to go now.")
    assert "Sorry, I did not understand." in info["text"].split("\n")[2]
    assert reward == pytest.approx(-0.15)


def test_what_the_wish_is_can_be_shown() -> None:
    plain, shown = evaluation_task("Dialogue-v0"), evaluation_task("Dialogue-v0", transparent=True)
    assert plain.fingerprint != shown.fingerprint
    assert optimum_of(shown).value > optimum_of(plain).value + 0.2
    assert optimum_of(shown).reference_value == pytest.approx(optimum_of(plain).reference_value, abs=1e-12)
    engine = Engine(shown, 400)
    engine.seed_lanes(np.random.default_rng(0))
    engine.reset(np.arange(400))
    openings = {shown.text(row) for row in engine.tokens}
    assert len(openings) == 12 and "user: Hello, I want a comedy, dark and from the nineties." in openings
    assert {"truth": 0.8}.keys() <= shown.source.arguments.keys()
    assert evaluation_task("Dialogue-v0", truth=0.8).fingerprint != plain.fingerprint


def test_task_is_worth_playing() -> None:
    task = evaluation_task("Dialogue-v0")
    best = optimum_of(task)
    assert 1 <= best.kl <= 15 and best.value - best.reference_value > 0.3
    scores = probe_scores(task)
    assert scores.pop("maximiser") <= 0.8
    assert max(scores.values()) <= 0.3


def test_the_frontier_is_a_dynamic_programme_for_each_coefficient() -> None:
    task = evaluation_task("Dialogue-v0", turns=2, horizon=8, kl_coef=0.02)
    best = optimum_of(task)
    prices = [0.01, 0.02, 0.05, 0.2]
    points = best.frontier(prices)
    for price, point in zip(prices, points, strict=True):
        assert point.value == pytest.approx(solve_problem(problem_of(task), price).value, abs=1e-12)
        assert point.value == pytest.approx(point.expected_reward - price * point.kl, abs=1e-12)
    kls = [point.kl for point in points]
    assert kls == sorted(kls, reverse=True) and kls[0] > kls[-1] + 0.5
    # dR / dKL = beta between neighbours, as the curve is concave
    for one, other in pairwise(points):
        slope = (one.expected_reward - other.expected_reward) / (one.kl - other.kl)
        assert one.kl_coef <= slope <= other.kl_coef


@pytest.mark.slow
def test_the_reference_scores_zero_and_the_optimum_one() -> None:
    for policy, score in (("reference", 0.0), ("optimal", 1.0)):
        found = klrl_envs.evaluate(policy, "klrl/Dialogue-v0", episodes=512, seed=2)
        assert found.score.lower - 1e-9 <= score <= found.score.upper + 1e-9
        assert found.metrics["turns"] > 1


def test_features_tell_the_states_apart() -> None:
    task = evaluation_task("Dialogue-v0")
    own = np.flatnonzero(~task.automaton.replies.speaks)
    features = task.state_features[own]
    assert features.min() >= 0 and features.max() <= 1
    assert len(np.unique(features, axis=0)) == len(features)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"turns": 0}, "turns must be a whole number from 1 to 6, got 0"),
        ({"turns": 2.5}, "turns must be a whole number from 1 to 6, got 2.5"),
        ({"turns": 7}, "turns must be a whole number from 1 to 6, got 7"),
        ({"truth": 1.0}, "truth must be above .5 and below 1, got 1.0"),
        ({"truth": math.nan}, "truth must be above .5 and below 1"),
        ({"reference": "words"}, "reference must be 'shop'"),
        ({"transparent": "yes"}, "transparent must be True or False, got 'yes'"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluation_task("Dialogue-v0", **arguments)
