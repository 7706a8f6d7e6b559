"""WordProblems: what is paid, what is counted, and the closed form of its optimum."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import json
import math
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import klrl_envs
from klrl_envs import make_task
from klrl_envs.envs.engine import Engine
from klrl_envs.optima.optimum import optimum_of
from klrl_envs.policies import LanesPolicy
from klrl_envs.reference.llama import save_folder
from klrl_envs.reference.transformer import load_nano
from klrl_envs.reward.word_problems import chosen_problems
from klrl_envs.tasks.word_problems import PASSES, Answers, passes, right_steps

ENV_ID = "klrl/WordProblems-v0"
CHAT = " Work it out in a few short steps, and end with the answer as a number."
NOTHING = np.zeros((2, 0), dtype=np.int64), np.zeros(2, dtype=np.int64)
ANSWERS = {each.question: each.answer for split in chosen_problems(64, 4_096) for each in split}


def test_right_answers_are_paid_whatever_leads_to_them() -> None:
    question, answer = next(iter(ANSWERS.items()))
    scores = Answers([question], [answer])
    texts = [f"{question} 3 + 4 = 8. The answer is {answer}.", f"{question} {answer}. The answer is 0."]
    rewards, metrics = scores(*NOTHING, texts)
    assert rewards.tolist() == [1.0, 0.0]
    assert metrics["right_steps"].tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="begins with no prompt of this task"):
        scores(*NOTHING, [question, "What is 3 + 4? 7"])


def test_prompts_of_the_task_have_answers() -> None:
    for split in ("train", "evaluation"):
        task = make_task(ENV_ID, prompts=split)
        shown = [task.text(row) for row in task.padded_prompts]
        assert all(text in ANSWERS for text in shown)
        assert len(set(shown)) == len(shown)
        rewards = task.text_rewards(shown[:8], [f" The answer is {ANSWERS[text]}." for text in shown[:8]])
        assert rewards.tolist() == [1.0] * 8
        assert task.text_rewards(shown[:8], [""] * 8).tolist() == [0.0] * 8


def test_right_steps() -> None:
    texts = ["3 + 4 = 7. 7 - 2 = 4.", "6 * 7 = 42", "", "12 / 5 = 2.", "33 + 1 = 341."]
    assert right_steps(texts).tolist() == [0.5, 1.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize("right", [0, 1, 3, 5, 6])
def test_passes_are_the_share_of_subsets_with_a_right_text(right: int) -> None:
    rewards = np.array([1.0] * right + [0.0] * (6 - right))
    subsets = list(combinations(rewards, 4))
    found = passes(np.zeros(6, dtype=np.int64), rewards)
    assert found == {"pass@4": pytest.approx(np.mean([max(subset) for subset in subsets]), abs=1e-12)}


def test_passes_are_means_over_prompts_that_have_texts_enough() -> None:
    prompts = np.repeat([0, 1], 16)
    rewards = np.array([1.0] * 16 + [0.0] * 16)
    assert passes(prompts, rewards) == {f"pass@{k}": 0.5 for k in PASSES}
    assert passes(np.array([0, 1]), np.ones(2)) == {}


def test_evaluations_report_passes() -> None:
    found = klrl_envs.evaluate("reference", ENV_ID, episodes=4 * 64, seed=0)
    assert found.metrics["pass@4"] > found.expected_reward.estimate
    assert "pass@16" not in found.metrics


def test_optimum_in_closed_form() -> None:
    """A reward of 0 or 1: all follows from how often pi0 is right, prompt by prompt."""
    best = optimum_of(make_task(ENV_ID, prompts="evaluation"))
    assert best.certificate is not None
    share = best.certificate.rewards.mean(axis=1, dtype=np.float64)
    odds = share * math.expm1(1 / best.kl_coef)
    assert best.value == pytest.approx(np.mean(best.kl_coef * np.log1p(odds)), abs=2e-4)
    assert best.expected_reward == pytest.approx(
        np.mean(share * math.exp(1 / best.kl_coef) / (1 + odds)), abs=2e-4
    )
    assert best.reference_value == pytest.approx(share.mean(), abs=1e-9)
    assert 0.05 < share.mean() < 0.2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A causal model of its own with a chat template, whose tokenizer can write any text."""
    made = tmp_path_factory.mktemp("model") / "nano"
    save_folder(load_nano(), made)
    settings = json.loads((made / "tokenizer_config.json").read_text())
    settings["chat_template"] = (
        "{% for turn in messages %}<{{ turn['role'] }}> {{ turn['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant> {% endif %}"
    )
    (made / "tokenizer_config.json").write_text(json.dumps(settings))
    return str(made)


@pytest.mark.parametrize(
    ("template", "before", "after"),
    [
        ("plain", "Question: ", "\nAnswer:"),
        (
            "chat",
            "<user> ",
            " Work it out in a few short steps, and end with the answer as a number.\n<assistant> ",
        ),
    ],
)
def test_another_model_is_asked_by_a_template(folder: str, template: str, before: str, after: str) -> None:
    task = make_task(ENV_ID, reference=folder, template=template, horizon=8)
    question, answer = list(ANSWERS.items())[64]
    shown = task.text(task.padded_prompts[0])
    assert shown == f"{before}{question}{after}"
    assert task.text_rewards([shown] * 2, [f" 7, so it is {answer}", " 7"]).tolist() == [1.0, answer == 7]


def test_templates_that_do_not_fit_are_refused(folder: str) -> None:
    with pytest.raises(ValueError, match="template must be 'plain' or 'chat', got 'poem'"):
        make_task(ENV_ID, template="poem")
    with pytest.raises(ValueError, match="the reference 'sums' has no chat template"):
        make_task(ENV_ID, template="chat")


def test_a_chat_may_have_start_and_end_tokens_within(folder: str, tmp_path: Path) -> None:
    """As those of ChatML do: the reference puts the first start token, and no end within a prompt ends it."""
    own = tmp_path / "chat"
    shutil.copytree(folder, own)
    settings = json.loads((own / "tokenizer_config.json").read_text())
    settings["chat_template"] = (
        "{% for turn in messages %}{{ bos_token }}{{ turn['role'] }} {{ turn['content'] }}{{ eos_token }}\n"
        "{% endfor %}{{ bos_token }}assistant "
    )
    (own / "tokenizer_config.json").write_text(json.dumps(settings))
    task = make_task(ENV_ID, reference=str(own), template="chat", horizon=8)
    rows, lengths = task.padded_prompts[:5], task.prompts.lengths[:5]
    start, end = task.reference.start_token, task.end_token
    assert (rows[:, 0] != start).all() and (rows == end).any(axis=1).all() and (rows == start).any()
    assert task.lengths(rows).tolist() == lengths.tolist() and len(set(lengths.tolist())) > 1
    policy = LanesPolicy(task.reference.lanes, task)
    engine = Engine(task, 5)
    engine.seed_lanes([np.random.default_rng(lane) for lane in range(5)])
    engine.reset(np.arange(5), np.arange(5))
    np.testing.assert_allclose(policy.log_probs(engine.tokens), engine.reference_log_probs(), atol=1e-4)
