"""Arithmetic: its closed form and its hints."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

import math

import numpy as np
import pytest

from klrl_envs.optima.optimum import optimum_of
from klrl_envs.tasks.arithmetic import hashed_pairs, hint_of
from tests.oracles import evaluation_task


def test_arithmetic_in_closed_form() -> None:
    """One text of each prompt is right: its probability is all that J* depends on."""
    task = evaluation_task("Arithmetic-v0")
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


def test_hints_are_noisy_and_a_function_of_the_prompt() -> None:
    pairs = hashed_pairs()
    assert len(set(pairs)) == len(pairs) == 3240
    assert all(min(pair) >= 10 and sum(pair) <= 99 for pair in pairs)
    hints = [hint_of(*pair) for pair in pairs]
    assert set(hints) == set(range(1, 10))
    wrong = [hint != int(str(sum(pair))[0]) for hint, pair in zip(hints, pairs)]
    assert np.mean(wrong) == pytest.approx(0.3, abs=0.02)
    for split, count in (("train", 2048), ("evaluation", 128)):
        task = evaluation_task("Arithmetic-v0", prompts=split)
        assert task.prompts.tokens.shape == (count, 7)
    shown = task.text(task.prompts.tokens[0])
    assert shown == f"{pairs[0][0]}+{pairs[0][1]}=~{hints[0]}:"
    assert task.vocabulary.encode(shown) == task.prompts.tokens[0].tolist()
