"""Brackets, Arithmetic and the diagnostics: each against its own page, read again in plain Python.

The oracles know nothing of automata or of the solver. They write out every text of a small version of the
task, price it as the page says, and add up; what is invariant or known in closed form is tested at full size.
"""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

import itertools
import math
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import klrl_envs
from klrl_envs.assets.build import brackets as brackets_build
from klrl_envs.envs.engine import Engine
from klrl_envs.evaluation.rejection import RejectionSampler
from klrl_envs.evaluation.rollout import roll_out
from klrl_envs.optima.forward import evaluate_markov, terminal_law
from klrl_envs.optima.optimum import optimum_of, problem_of
from klrl_envs.optima.probes import probe_scores
from klrl_envs.optima.problem import Problem
from klrl_envs.reference.sampling import sample_rows
from klrl_envs.reference.vocabulary import SymbolVocabulary
from klrl_envs.registry import REGISTRY, make_task
from klrl_envs.tasks.arithmetic import hashed_pairs, hint_of
from klrl_envs.tasks.base import AutomatonTask
from klrl_envs.tasks.brackets import code_bigram
from klrl_envs.tasks.diagnostics import gold, modes, sparsity

DIAGNOSTICS = [row.id for row in REGISTRY if "diagnostic" in row.tags]
IDS = ["Brackets-v0", "Arithmetic-v0", *DIAGNOSTICS]
Words = list[str]


def task_of(task_id: str, **arguments: Any) -> AutomatonTask:
    task = make_task(task_id, **{"prompts": "evaluation", **arguments})
    assert isinstance(task, AutomatonTask)
    return task


# What the pages say a text is worth: (words of the prompt, words written, end token left out) -> reward.


def wanted(prompt: Words, text: Words) -> float:
    return sum(word in {each.partition("_")[0] for each in text} for word in ("great", "best", "funny")) / 3


def opening(prompt: Words, text: Words) -> float:
    return float(bool(text) and text[0] in ("great", "good", "best", "funny", "well"))


def tune(prompt: Words, text: Words) -> float:
    scale = ("do", "re", "mi", "fa", "sol", "la", "si", "ut")
    return float(all(word == scale[place % 8] for place, word in enumerate(text)))


def emphatic(prompt: Words, text: Words) -> float:
    pairs = itertools.pairwise(text)
    return 0.5 * sum(
        a in ("very", "really", "so") and b in ("good", "great", "funny", "well") for a, b in pairs
    )


def praise(prompt: Words, text: Words) -> float:
    return min(sum(word in ("good", "great", "best", "funny", "well") for word in text), 6) / 6


def one_of_four(prompt: Words, text: Words) -> float:
    return float(" ".join(text[:2]) in ("this story", "a funny", "the great", "it really"))


def at_stake(prompt: Words, text: Words) -> float:
    return {"a": 0.1, "the": 1.0, "this": 10.0}[prompt[0]] * wanted(prompt, text)


def right_sum(prompt: Words, text: Words) -> float:
    first, second = "".join(prompt[:-2]).split("+")
    return float("".join(text) == str(int(first) + int(second)))


def well_formed(shortest: int, longest: int) -> Callable[[Words, Words], float]:
    def reward(prompt: Words, text: Words) -> float:
        stack: Words = []
        deepest = 0
        for symbol in text:
            if symbol in ("(", "[", "{"):
                stack.append(symbol)
            elif symbol not in ("x", ",") and (not stack or stack.pop() + symbol not in ("()", "[]", "{}")):
                return 0.0
            deepest = max(deepest, len(stack))
        return float(not stack and 2 <= deepest <= 5 and shortest <= len(text) <= longest)

    return reward


PAGES: dict[str, Callable[[Words, Words], float]] = {
    "Brackets-v0": well_formed(10, 16),
    "Arithmetic-v0": right_sum,
    "DiagnosticZeroReward-v0": lambda prompt, text: 0.0,
    "DiagnosticLength-v0": opening,
    "DiagnosticVocabulary-v0": wanted,
    "DiagnosticSparsity-v0": tune,
    "DiagnosticDelay-v0": emphatic,
    "DiagnosticNoise-v0": wanted,
    "DiagnosticCoefficient-v0": wanted,
    "DiagnosticReference-v0": wanted,
    "DiagnosticGold-v0": praise,
    "DiagnosticModes-v0": one_of_four,
    "DiagnosticPromptScale-v0": at_stake,
}


def texts(
    table: list[list[float]], context: int, horizon: int, end: int | None
) -> Iterator[tuple[list[int], float]]:
    """Every text and its log pi0, under a bigram whose row is the last token."""
    if horizon == 0:
        yield [], 0.0
        return
    for token, log_prob in enumerate(table[context]):
        if token == end:
            yield [token], log_prob
        else:
            for rest, more in texts(table, token, horizon - 1, end):
                yield [token, *rest], log_prob + more


def enumerated(
    task: AutomatonTask, prompt: int, page: Callable[[Words, Words], float]
) -> tuple[float, float, float]:
    """J*, J(pi0) and E*[r] of one prompt, by writing out every text."""
    words, table = task.vocabulary.words, task.reference.table.tolist()
    given = task.prompts.tokens[prompt].tolist()
    context = given[-1] if given else task.reference.start_context
    prompted = [words[token] for token in given]
    weights: dict[float, float] = {}
    for tokens, log_prob in texts(table, context, task.horizon, task.end_token):
        reward = page(prompted, [words[token] for token in tokens if token != task.end_token])
        weights[reward] = weights.get(reward, 0.0) + math.exp(log_prob)
    assert math.fsum(weights.values()) == pytest.approx(1, abs=1e-10)
    beta = task.kl_coef
    partition = math.fsum(p * math.exp(r / beta) for r, p in weights.items())
    tilted = math.fsum(p * math.exp(r / beta) * r for r, p in weights.items()) / partition
    return beta * math.log(partition), math.fsum(p * r for r, p in weights.items()), tilted


SMALL: list[tuple[str, dict[str, Any]]] = [
    ("Brackets-v0", {"horizon": 6, "shortest": 4, "longest": 5}),
    ("Brackets-v0", {"horizon": 5, "shortest": 4, "longest": 8, "kl_coef": 0.03}),
    ("DiagnosticZeroReward-v0", {"horizon": 3}),
    ("DiagnosticLength-v0", {"horizon": 3}),
    ("DiagnosticVocabulary-v0", {"horizon": 3, "clones": 1}),
    ("DiagnosticVocabulary-v0", {"horizon": 2, "clones": 4}),
    ("DiagnosticSparsity-v0", {"horizon": 5}),
    ("DiagnosticSparsity-v0", {"horizon": 4, "probability": 0.2, "kl_coef": 0.5}),
    *(("DiagnosticDelay-v0", {"horizon": 3, "delay": delay}) for delay in (0, 1, 3)),
    ("DiagnosticNoise-v0", {"horizon": 3}),
    ("DiagnosticCoefficient-v0", {"horizon": 3, "kl_coef": 0.02}),
    ("DiagnosticReference-v0", {"horizon": 3}),
    ("DiagnosticGold-v0", {"horizon": 3}),
    ("DiagnosticModes-v0", {"horizon": 3}),
]


@pytest.mark.parametrize(("task_id", "arguments"), SMALL)
def test_optimum_is_that_of_all_texts_written_out(task_id: str, arguments: dict[str, Any]) -> None:
    task = task_of(task_id, **arguments)
    page = PAGES[task_id]
    if task_id == "Brackets-v0":
        page = well_formed(arguments["shortest"], arguments["longest"])
    best = optimum_of(task)
    value, reference_value, expected_reward = enumerated(task, 0, page)
    assert best.value == pytest.approx(value, abs=1e-10)
    assert best.reference_value == pytest.approx(reference_value, abs=1e-10)
    assert best.expected_reward == pytest.approx(expected_reward, abs=1e-10)


@pytest.mark.parametrize(
    ("task_id", "horizon", "prompts"),
    [("Arithmetic-v0", 3, range(0, 128, 37)), ("DiagnosticPromptScale-v0", 2, range(12))],
)
def test_optimum_of_each_prompt_is_that_of_all_texts_written_out(
    task_id: str, horizon: int, prompts: range
) -> None:
    task = task_of(task_id, horizon=horizon)
    best = optimum_of(task)
    values = [enumerated(task, prompt, PAGES[task_id]) for prompt in prompts]
    np.testing.assert_allclose(
        best.policy.start_values[prompts], [v for v, _, _ in values], atol=1e-10, rtol=0
    )
    own = problem_of(task).reference_values
    np.testing.assert_allclose(own[prompts], [v for _, v, _ in values], atol=1e-10, rtol=0)
    if len(prompts) == len(task.prompts.tokens):
        assert best.value == pytest.approx(np.mean([v for v, _, _ in values]), abs=1e-10)
        assert best.expected_reward == pytest.approx(np.mean([v for _, _, v in values]), abs=1e-10)


def test_arithmetic_in_closed_form() -> None:
    """One text of each prompt is right: its probability is all that J* depends on."""
    task = task_of("Arithmetic-v0")
    words, table = task.vocabulary.words, task.reference.table
    chances = []
    for row in task.prompts.tokens.tolist():
        first, second = "".join(words[token] for token in row[:-2]).split("+")
        answer = [*(words.index(digit) for digit in str(int(first) + int(second))), task.end_token]
        chances.append(math.exp(sum(table[a, b] for a, b in zip([row[-1], *answer], answer))))
    beta, odds = task.kl_coef, np.array(chances) * math.expm1(1 / task.kl_coef)
    best = optimum_of(task)
    assert best.value == pytest.approx(np.mean(beta * np.log1p(odds)), abs=1e-10)
    assert best.reference_value == pytest.approx(np.mean(chances), abs=1e-10)
    assert best.expected_reward == pytest.approx(
        np.mean(np.array(chances) * math.exp(1 / beta) / (1 + odds)), abs=1e-10
    )


@pytest.mark.parametrize("task_id", IDS)
def test_what_is_paid_is_what_the_page_says(task_id: str) -> None:
    """Texts of the optimum at the defaults, so that rewards do occur, against the oracle's price."""
    task = task_of(task_id, **({"sigma": 0.0} if task_id == "DiagnosticNoise-v0" else {}))
    policy = optimum_of(task).policy
    lanes = 120
    engine = Engine(task, lanes)
    rng = np.random.default_rng(5)
    for lane in range(lanes):
        engine.seed(lane, np.random.default_rng(lane))
    engine.reset(np.arange(lanes), np.arange(lanes) % len(task.prompts.tokens))
    paid = np.zeros(lanes)
    while not engine.done.all():
        active = ~engine.done
        rows = policy.log_probs(engine.context[active], engine.state[active], engine.time[active])
        actions = np.zeros(lanes, dtype=np.int64)
        actions[active] = sample_rows(rows, rng)
        paid += engine.step(actions, active).reward
    words = task.vocabulary.words
    for lane in range(lanes):
        row = [words[token] for token in engine.tokens[lane] if token != task.pad]
        prompt, text = row[: task.prompt_length], row[task.prompt_length :]
        assert paid[lane] == pytest.approx(PAGES[task_id](prompt, text), abs=1e-12)
    assert np.unique(paid).size > (0 if task_id == "DiagnosticZeroReward-v0" else 1)


@pytest.mark.parametrize("task_id", IDS)
def test_task_is_worth_playing(task_id: str) -> None:
    task = task_of(task_id)
    best = optimum_of(task)
    if task_id == "DiagnosticZeroReward-v0":
        assert best.value == pytest.approx(0, abs=1e-12)
        assert best.kl == pytest.approx(0, abs=1e-10)
        return
    assert 1 <= best.kl <= 15
    assert best.value - best.reference_value > 0.1
    scores = probe_scores(task)
    assert max(scores.get(name, -1.0) for name in ("uniform", "repeat", "end")) <= 0.3
    assert scores["maximiser"] <= 0.8


@pytest.mark.parametrize("task_id", IDS)
def test_features_tell_the_states_apart(task_id: str) -> None:
    for split in ("train", "evaluation"):
        task = task_of(task_id, prompts=split)
        features = task.state_features
        assert features.dtype == np.float32 and features.shape[0] == task.automaton.states
        assert features.min() >= 0 and features.max() <= 1
        assert len(np.unique(features, axis=0)) == len(features)


@pytest.mark.parametrize("task_id", IDS)
def test_task_survives_a_pickle(task_id: str) -> None:
    task = task_of(task_id)
    again = pickle.loads(pickle.dumps(task))
    assert again.fingerprint == task.fingerprint and again.kl_coef == task.kl_coef
    assert again.reward_noise == task.reward_noise


SWEEPS: list[tuple[str, str, list[Any]]] = [
    ("DiagnosticLength-v0", "horizon", [4, 16, 64, 256]),
    ("DiagnosticVocabulary-v0", "clones", [1, 4, 16, 64]),
    ("DiagnosticDelay-v0", "delay", [0, 1, 2, 4, 8, 12]),
    ("DiagnosticNoise-v0", "sigma", [0.0, 0.3, 1.0, 3.0]),
    ("DiagnosticReference-v0", "temperature", [0.25, 0.5, 1.0, 2.0]),
    ("DiagnosticZeroReward-v0", "horizon", [1, 12, 64]),
    ("DiagnosticZeroReward-v0", "kl_coef", [0.02, 0.1, 2.0]),
]


@pytest.mark.parametrize(("task_id", "argument", "values"), SWEEPS)
def test_optimum_does_not_move_along_the_sweep(task_id: str, argument: str, values: list[Any]) -> None:
    first = klrl_envs.optimum(task_id, **{argument: values[0]})
    for value in values[1:]:
        other = klrl_envs.optimum(task_id, **{argument: value})
        for number in ("value", "reference_value", "expected_reward", "kl"):
            assert getattr(other, number) == pytest.approx(getattr(first, number), abs=1e-9)


@pytest.mark.parametrize("probability", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
@pytest.mark.parametrize("more", [{}, {"horizon": 3}, {"horizon": 20}, {"kl_coef": 0.05}, {"kl_coef": 1.0}])
def test_sparsity_in_closed_form(probability: float, more: dict[str, Any]) -> None:
    best = klrl_envs.optimum("DiagnosticSparsity-v0", probability=probability, **more)
    expected = best.kl_coef * math.log1p(probability * math.expm1(1 / best.kl_coef))
    assert best.value == pytest.approx(expected, abs=1e-9)
    assert best.reference_value == pytest.approx(probability, rel=1e-9)


def test_sparsity_at_equal_stakes() -> None:
    for probability in (1e-1, 1e-6):
        best = klrl_envs.optimum(
            "DiagnosticSparsity-v0", probability=probability, kl_coef=1 / math.log(2 / probability)
        )
        assert best.expected_reward == pytest.approx(2 / 3, abs=0.03)


def test_length_in_closed_form() -> None:
    task = task_of("DiagnosticLength-v0")
    words = task.vocabulary.words
    chance = np.exp(
        task.reference.table[-1, [words.index(w) for w in ("great", "good", "best", "funny", "well")]]
    )
    expected = task.kl_coef * math.log1p(chance.sum() * math.expm1(1 / task.kl_coef))
    assert optimum_of(task).value == pytest.approx(expected, abs=1e-10)


def test_clones_share_a_word_alike() -> None:
    one, many = (task_of("DiagnosticVocabulary-v0", clones=clones) for clones in (1, 5))
    assert many.vocab_size == 5 * 26 + 1
    words = many.vocabulary.words
    for previous in ("film", "film_4"):
        row = np.exp(many.reference.table[words.index(previous)])
        plain = np.exp(one.reference.table[one.vocabulary.words.index("film")])
        assert row[0] == pytest.approx(plain[0], rel=1e-12)
        np.testing.assert_allclose(
            row[1:].reshape(26, 5), np.repeat(plain[1:, None] / 5, 5, axis=1), rtol=1e-12
        )
    assert many.vocabulary.encode("film_4 the") == [words.index("film_4"), words.index("the")]


def test_pending_payments_are_paid_when_the_text_ends_early() -> None:
    env: Any = gym.make("klrl/DiagnosticDelay-v0", delay=4)
    encode = env.unwrapped.task.vocabulary.encode
    for delay_text, rewards in (
        ("very good so funny", [0, 0, 0, 0, 1.0]),
        ("very good film . . . so well", [0, 0, 0, 0, 0, 0.5, 0, 0, 0.5]),
    ):
        env.reset(seed=0)
        paid = [env.step(token)[1] for token in [*encode(delay_text), 0]]
        assert paid == rewards


def test_noise_has_mean_zero_and_the_deviation_asked_for() -> None:
    task = task_of("DiagnosticNoise-v0", sigma=2.0)
    assert task.reward_noise == 2.0
    count = 6_000
    episodes = roll_out("reference", task, episodes=count, seed=3)
    luck = episodes.reward - episodes.metrics["mean_reward"]
    assert abs(luck.mean()) < 4 * 2 / math.sqrt(count)
    assert luck.std() == pytest.approx(2.0, rel=0.05)
    mean = optimum_of(task).reference_value
    assert episodes.reward.mean() == pytest.approx(mean, abs=4 * 2.1 / math.sqrt(count))
    still = roll_out("reference", task_of("DiagnosticNoise-v0", sigma=0.0), episodes=50, seed=3)
    np.testing.assert_array_equal(still.reward, still.metrics["mean_reward"])


def test_coefficient_traces_a_frontier() -> None:
    coefficients = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]
    points = [klrl_envs.optimum("DiagnosticCoefficient-v0", kl_coef=c) for c in coefficients]
    nats, rewards = [p.kl for p in points], [p.expected_reward for p in points]
    assert nats == sorted(nats, reverse=True) and nats[0] > 7 and nats[-1] < 0.01
    assert rewards == sorted(rewards, reverse=True) and rewards[0] > 0.99
    for near, far in zip(points[1:], points):
        slope = (far.expected_reward - near.expected_reward) / (far.kl - near.kl)
        assert far.kl_coef < slope < near.kl_coef  # concave, and the slope is the coefficient


def test_gold_rises_and_then_falls() -> None:
    law = terminal_law(problem_of(task_of("DiagnosticGold-v0")))
    counts = np.rint(law.rewards * gold.MOST).astype(int)
    means = []
    for coefficient in (1e3, 1.0, 0.3, 0.15, 0.06, 0.03, 0.02):
        tilted = law.probabilities[0] * np.exp((law.rewards - 1) / coefficient)
        means.append(float(tilted @ np.array(gold.GOLD)[counts] / tilted.sum()))
    top = int(np.argmax(means))
    assert 0 < top < 4  # the default, .06, lies beyond it
    assert means[: top + 1] == sorted(means[: top + 1]) and means[top:] == sorted(means[top:], reverse=True)
    assert means[top] > means[0] + 0.2 and means[-1] < 0.05
    episodes = roll_out("uniform", task_of("DiagnosticGold-v0"), episodes=64, seed=0)
    proxies = np.rint(episodes.reward * gold.MOST).astype(int)
    np.testing.assert_allclose(episodes.metrics["gold"], np.array(gold.GOLD)[proxies])


def test_modes_keep_the_odds_of_the_reference() -> None:
    odds = []
    for coefficient in (0.1, 0.18, 1.0, 1e3):
        task = task_of("DiagnosticModes-v0", kl_coef=coefficient)
        policy, words = optimum_of(task).policy, task.vocabulary.words
        start = task.reference.start_context
        chances = []
        for number, (first, second) in enumerate(modes.OPENINGS):
            one, other = words.index(first), words.index(second)
            chance = policy.log_probs(start, 0, 0)[0, one] + policy.log_probs(one, 1 + number, 1)[0, other]
            chances.append(math.exp(chance))
        assert sum(chances) == pytest.approx(optimum_of(task).expected_reward, abs=1e-10)
        odds.append(np.array(chances) / chances[0])
    for row in odds[1:]:
        np.testing.assert_allclose(row, odds[0], rtol=1e-9)
    assert odds[0].max() / odds[0].min() > 3  # there is something to keep


def test_mode_metrics_say_which_opening_a_text_has() -> None:
    env: Any = gym.make("klrl/DiagnosticModes-v0")
    encode = env.unwrapped.task.vocabulary.encode
    texts_and_modes = [(" ".join(opening), letter) for opening, letter in zip(modes.OPENINGS, "abcd")]
    for text, letter in [*texts_and_modes, ("a great", None)]:
        env.reset(seed=0)
        for token in [*encode(text), 0]:
            *_, info = env.step(token)
        assert {name: info[f"mode_{name}"] for name in "abcd"} == {
            name: float(name == letter) for name in "abcd"
        }


def test_prompt_scales_differ_a_hundredfold() -> None:
    solution = optimum_of(task_of("DiagnosticPromptScale-v0")).policy
    gaps = (solution.start_values - solution.problem.reference_values).reshape(3, 4).mean(axis=1)
    assert gaps[1] > 20 * gaps[0] and gaps[2] > 20 * gaps[1]
    train = task_of("DiagnosticPromptScale-v0", prompts="train")
    assert train.prompts.tokens.shape == (24, 2)
    assert train.reward_fingerprint == task_of("DiagnosticPromptScale-v0").reward_fingerprint


def test_hints_are_noisy_and_a_function_of_the_prompt() -> None:
    pairs = hashed_pairs()
    assert len(set(pairs)) == len(pairs) == 3240
    assert all(min(pair) >= 10 and sum(pair) <= 99 for pair in pairs)
    hints = [hint_of(*pair) for pair in pairs]
    assert set(hints) == set(range(1, 10))
    wrong = [hint != int(str(sum(pair))[0]) for hint, pair in zip(hints, pairs)]
    assert np.mean(wrong) == pytest.approx(0.3, abs=0.02)
    for split, count in (("train", 2048), ("evaluation", 128)):
        task = task_of("Arithmetic-v0", prompts=split)
        assert task.prompts.tokens.shape == (count, 7)
    shown = task.text(task.prompts.tokens[0])
    assert shown == f"{pairs[0][0]}+{pairs[0][1]}=~{hints[0]}:"
    assert task.vocabulary.encode(shown) == task.prompts.tokens[0].tolist()


def test_symbols_are_written_without_spaces() -> None:
    vocabulary = SymbolVocabulary(("<end>", "1", "2", "~1:"), 0)
    assert vocabulary.decode([1, 2, 0]) == "12"
    assert vocabulary.encode("12~1:") == [1, 2, 3]
    with pytest.raises(ValueError, match="not written in the 4 symbols"):
        vocabulary.encode("1 2")
    with pytest.raises(ValueError, match="token is 4"):
        vocabulary.decode([4])


def test_the_initial_policy_is_published_and_is_not_the_reference() -> None:
    env: Any = gym.make("klrl/DiagnosticReference-v0")
    task, policy = env.unwrapped.task, env.unwrapped.initial_policy
    rows = policy.state_log_probs(np.arange(task.reference.contexts), 0, 0)
    np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1, atol=1e-12)
    assert np.abs(rows - task.reference.table).max() > 1
    observation, _ = env.reset(seed=0)
    np.testing.assert_allclose(policy.log_probs(observation[None]), rows[[task.reference.start_context]])
    observation, *_ = env.step(5)
    np.testing.assert_allclose(policy.log_probs(observation[None]), rows[[5]])
    vector: Any = gym.make_vec("klrl/DiagnosticReference-v0", num_envs=2)
    assert vector.unwrapped.initial_policy is not None
    assert gym.make("klrl/DiagnosticNoise-v0").unwrapped.initial_policy is None
    worth = evaluate_markov(problem_of(task), policy.state_log_probs, kl_coef=task.kl_coef)
    assert worth.objective < optimum_of(task).reference_value
    seen = klrl_envs.evaluate(policy, env, episodes=400)
    assert seen.objective.lower - 0.02 < worth.objective < seen.objective.upper + 0.02
    assert seen.score.estimate < 0


def test_agents_start_at_the_initial_policy() -> None:
    torch = pytest.importorskip("torch")
    from agents.networks.residual import ResidualPolicy, for_evaluation
    from agents.q_learning import SoftQ

    task = task_of("DiagnosticReference-v0")
    features: Any = gym.make("klrl/DiagnosticReferenceFeatures-v0")
    agent = ResidualPolicy(task)
    policy, on_features = for_evaluation(agent, task)
    assert on_features
    observation, _ = features.reset(seed=0)
    assert observation.shape == (3 + 1 + 2 * task.vocab_size,)
    for context in (task.reference.start_context, 5, 19):
        if context != task.reference.start_context:
            observation, *_ = features.step(context)
        np.testing.assert_allclose(
            policy.log_probs(observation[None])[0], task.initial_policy[context], atol=1e-5
        )
    table = SoftQ(task)
    context = np.arange(task.reference.contexts)
    rows = table.state_log_probs(context, np.full_like(context, 3), np.full_like(context, 7))
    np.testing.assert_allclose(rows, task.initial_policy, atol=1e-12)
    # what it writes is of the initial policy, and its KL is to the reference
    generator = torch.Generator().manual_seed(0)
    engine = Engine(task, 512)
    for lane in range(engine.lanes):
        engine.seed(lane, np.random.default_rng(lane))
    episodes = agent.write(engine, np.zeros(engine.lanes, dtype=np.int64), generator)
    expected = evaluate_markov(
        problem_of(task), lambda context, state, time: task.initial_policy[context], kl_coef=task.kl_coef
    )
    assert episodes.kl.sum(dim=1).mean().item() == pytest.approx(expected.kl, rel=0.05)
    index = torch.arange(engine.lanes)
    log_probs, kl = agent.scores(episodes, index)
    torch.testing.assert_close(
        log_probs, torch.where(episodes.mask, episodes.log_probs, 0), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(kl, episodes.kl, atol=1e-4, rtol=0)
    assert agent.values(episodes, index).shape == kl.shape


def test_stable_baselines_starts_at_the_initial_policy() -> None:
    pytest.importorskip("stable_baselines3")
    import torch

    from agents.sb3_ppo import networks_of

    task = task_of("DiagnosticReference-v0")
    actor, critic = networks_of(task)
    env: Any = gym.make("klrl/DiagnosticReferenceFeatures-v0")
    observation, _ = env.reset(seed=0)
    shown = torch.as_tensor(observation)[None]
    rows = actor(shown).log_softmax(dim=-1)[0].detach().numpy()
    np.testing.assert_allclose(rows, task.initial_policy[-1], atol=1e-5)
    assert critic(shown).shape == (1, 1)


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("Brackets-v0", {"shortest": 12, "longest": 10}, "shortest and longest must be"),
    ("Brackets-v0", {"longest": 12.5}, "shortest and longest must be"),
    ("DiagnosticVocabulary-v0", {"clones": 0}, "clones must be a whole number"),
    ("DiagnosticVocabulary-v0", {"clones": True}, "clones must be a whole number"),
    ("DiagnosticSparsity-v0", {"probability": 0.0}, "probability must be above 0 and below 1"),
    ("DiagnosticSparsity-v0", {"probability": 1.0}, "probability must be above 0 and below 1"),
    ("DiagnosticDelay-v0", {"delay": -1}, "delay must be a whole number of tokens"),
    ("DiagnosticDelay-v0", {"delay": 17}, "delay must be a whole number of tokens"),
    ("DiagnosticNoise-v0", {"sigma": -0.5}, "sigma must be a finite number"),
    ("DiagnosticNoise-v0", {"sigma": math.inf}, "sigma must be a finite number"),
    ("DiagnosticReference-v0", {"temperature": 0.0}, "temperature must be a number from 0.05 to 20"),
    *((task_id, {"reference": "no-such-model"}, "reference must be") for task_id in IDS),
]


@pytest.mark.parametrize(("task_id", "arguments", "message"), BAD)
def test_bad_arguments_are_refused_by_name(task_id: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(task_id, **arguments)


def test_diagnostics_say_what_must_hold() -> None:
    assert len(DIAGNOSTICS) == 11
    for row in REGISTRY:
        if row.id in IDS:
            page = row.function().__doc__
            assert page.startswith(row.id)
            assert ("## What must hold" in page) == (row.id in DIAGNOSTICS)


def test_statements_of_source_code_are_cut_as_the_card_says(tmp_path: Path) -> None:
    code = 'x = f(a, [1, 2],\n      {"k": 3})  # a comment, (with) brackets\n\nif x[0]:\n    pass\n'
    (tmp_path / "sample.py").write_text(code)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "left_out.py").write_text("(((")
    (tmp_path / "_sysconfigdata_here.py").write_text("x = 1")
    assert [path.name for path in brackets_build.source_files(tmp_path)] == ["sample.py"]
    symbols = brackets_build.SYMBOLS
    written = [
        "".join(symbols[s] for s in text[:-1]) for text in brackets_build.statements(tmp_path / "sample.py")
    ]
    assert written == ["x(x,[x,x],{x})", "x[x]x", "x"]
    nested = [[symbols.index(s) for s in text] for text in written]
    assert [brackets_build.depth_of(text) for text in nested] == [2, 1, 0]


def test_brackets_build_writes_what_the_task_reads(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    (tmp_path / "library").mkdir()
    for number in range(40):
        (tmp_path / "library" / f"module_{number}.py").write_text(f"a = [f({number}), (1, 2)]\nb = a[0]\n")
    measured = brackets_build.build(tmp_path, tmp_path / "library")
    table = load_file(os.fspath(tmp_path / "brackets.safetensors"))
    assert measured["files"] == 40
    assert measured["statements"] + measured["held_out_statements"] == 80
    assert table["pairs"].sum() == measured["training_pairs"] and table["pairs"][0].sum() == 0
    assert measured["held_out_perplexity_bigram"] < measured["held_out_perplexity_unigram"]
    with pytest.raises(FileNotFoundError, match="no Python source"):
        brackets_build.build(tmp_path, tmp_path / "nowhere")


def test_code_bigram_has_full_support_and_the_habits_of_code() -> None:
    symbols, bigram = code_bigram()
    assert symbols == brackets_build.SYMBOLS
    assert np.isfinite(bigram.table).all()
    after = np.exp(bigram.table[symbols.index("(")])
    assert after[symbols.index("x")] > 0.5 and after[symbols.index(")")] > 100 * after[symbols.index("]")]


def test_scale_is_the_lock_that_it_is_said_to_be() -> None:
    model = sparsity.scale(1e-4, 11)
    keys = [place % 8 for place in range(11)]
    contexts = [model.reference.start_context, *keys[:-1]]
    assert model.reference.log_prob(np.array(contexts), np.array(keys)).sum() == pytest.approx(math.log(1e-4))


def test_what_is_no_horizon_temperature_or_place_of_a_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="horizon must be a whole number of at least 1 token, got None"):
        task_of("DiagnosticDelay-v0", horizon=None)
    with pytest.raises(ValueError, match="temperature must be a number from"):
        task_of("DiagnosticReference-v0", temperature=1e-30)
    task = task_of("DiagnosticPromptScale-v0")
    for state in (-1, 99):
        with pytest.raises(ValueError, match="prompts must lead to a state in"):
            Problem(task.reference, task.automaton, 3, 0, (np.array([0]), np.array([state])))


def test_rejection_refuses_a_noisy_reward() -> None:
    with pytest.raises(ValueError, match="pays a noisy reward"):
        RejectionSampler(task_of("DiagnosticNoise-v0"), np.zeros(1))
