"""The model-based agent: its budget is what was rewarded, and at pi* nothing moves it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import klrl_envs
from agents.model_based import ModelBased, ModelBasedArguments, pay, train
from agents.networks.imitation import Imitation, student_of, write_as_student
from agents.networks.self_written import SelfWritten, heads_read
from agents.networks.soft_value import judged
from agents.run import Training
from klrl_envs import RunRecord
from tests.agents.tiny import MODEL_BASED


def learner() -> ModelBased:
    task = klrl_envs.find_row("klrl/Sentiment-v0").make(horizon=6)
    torch.manual_seed(0)
    made = ModelBased(ModelBasedArguments(**MODEL_BASED), task)
    made.keep(["a good film", "a bad film"] * 8, np.array([0.9, 0.1] * 8))
    return made


@pytest.mark.parametrize("trained", ["heads", "all"])
def test_a_run_counts_what_was_rewarded_and_nothing_else(tmp_path: Path, trained: str) -> None:
    before = klrl_envs.ledger.counts()
    args = ModelBasedArguments(
        env_id="klrl/Sentiment-v0", tokens=600, episodes=64, out=str(tmp_path), threads=1, train=trained,
        **MODEL_BASED,
    )  # fmt: skip
    evaluation = train(args)
    record = RunRecord.load(tmp_path / "result.json")
    assert record.score == evaluation.score_estimate
    spent = klrl_envs.ledger.counts() - before
    assert spent.total(purpose="training") == spent.total(purpose="training", split="train")
    assert spent.total(purpose="training").tokens == record.tokens
    # a text is rewarded only where the budget has room for all of what is written of it
    assert 600 - 24 <= record.tokens <= 600
    lines = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert sum(line["length"] for line in lines) <= 600 and all(line["length"] <= 24 for line in lines)
    assert (tmp_path / "policy.safetensors").exists()


def test_the_policy_starts_at_the_reference_and_knows_the_model() -> None:
    made = learner()
    made.write(reference=True)
    made.fit_reward()
    texts = made.write()
    assert texts.log_ratios.abs().max() < 1e-4
    assert made.policy.words.table.abs().max() > 0


def test_where_the_policy_follows_the_values_its_log_ratios_are_what_is_wanted() -> None:
    made = learner()
    texts = made.write()
    values = torch.randn(len(texts), made.task.horizon + 1).cumsum(1) / 4
    values = torch.where(
        torch.cat((texts.mask, torch.zeros_like(texts.mask[:, :1])), dim=1), values, values[:, -1:]
    )
    consistent = replace(texts, log_ratios=values.diff(dim=1) * texts.mask)
    wanted, targets = made.estimates(consistent, values)
    torch.testing.assert_close(wanted, consistent.log_ratios)
    torch.testing.assert_close(targets[texts.mask], values[:, :-1][texts.mask])


def test_the_value_ends_at_what_the_model_says_of_the_whole_text() -> None:
    made = learner()
    texts = made.write(reference=True)
    made.fit_reward()
    found = judged(made.task, made.model, made.policy.words, texts)
    values = made.value.of_all(texts, found)
    expected = (torch.as_tensor(1 / (1 + np.exp(-made.model.logits(texts.texts)))) - 1) / made.task.kl_coef
    torch.testing.assert_close(values[:, -1], expected.float(), atol=1e-3, rtol=1e-3)
    assert (values <= 0).all()


def test_distilling_brings_the_policy_to_what_the_model_likes() -> None:
    made = learner()
    texts = made.write(reference=True)
    made.fit_reward()
    before = made.policy.actor[-1].weight.detach().clone()  # type: ignore[union-attr]
    made.distil(texts, 2.0)
    assert not torch.equal(before, made.policy.actor[-1].weight.detach())  # type: ignore[union-attr]


def test_it_refuses_what_it_cannot_learn(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="model_based needs a neural environment"):
        train(ModelBasedArguments(env_id="klrl/Keywords-v0", out=str(tmp_path)))
    with pytest.raises(ValueError, match=r"train must be one of .* got 'some'"):
        train(ModelBasedArguments(env_id="klrl/Sentiment-v0", train="some", tokens=10, out=str(tmp_path)))
    with pytest.raises(ValueError, match="group must divide batch 10, got 4"):
        train(ModelBasedArguments(env_id="klrl/Sentiment-v0", batch=10, tokens=10, out=str(tmp_path)))


def test_what_is_rewarded_is_the_beginning_of_a_text_or_all_of_it(tmp_path: Path) -> None:
    args = ModelBasedArguments(env_id="klrl/Sentiment-v0", tokens=150, out=str(tmp_path), **MODEL_BASED)
    training = Training(args, "model_based")
    made = ModelBased(args, training.task)
    texts = made.write(reference=True)
    before = klrl_envs.ledger.counts()
    pay(training, made, texts)
    counted = (klrl_envs.ledger.counts() - before).total()
    assert 0 < counted.texts == len(made.paid_texts) < len(texts)
    assert counted.tokens == training.tokens <= 150
    assert all(whole.startswith(paid) for whole, paid in zip(texts.texts, made.paid_texts))
    assert sum(map(len, made.paid_texts)) < sum(map(len, texts.texts[: counted.texts]))


def test_an_update_brings_the_log_ratios_of_tokens_to_what_is_wanted() -> None:
    made = learner()
    made.args.epochs = 4.0
    made.write(reference=True)
    made.fit_reward()
    texts = made.write()
    found = judged(made.task, made.model, made.policy.words, texts)
    wanted, _ = made.estimates(texts, made.value.of_all(texts, found))

    def error() -> float:
        reference, residual = heads_read(made.policy, texts, torch.arange(len(texts)))
        rows = (reference + residual).log_softmax(-1) - reference.log_softmax(-1)
        nats = rows.gather(-1, texts.actions[texts.mask][:, None])[:, 0]
        return (wanted[texts.mask] - nats).square().mean().item()

    before = error()
    made.update(texts, found, 1.0)
    assert error() < before


@pytest.mark.parametrize("trained", ["all", "lora"])
def test_a_language_model_learns_to_write_as_the_heads_do(trained: str) -> None:
    made = learner()
    with torch.no_grad():
        made.policy.actor[-1].weight += 0.2 * torch.randn_like(made.policy.actor[-1].weight)  # type: ignore
    made.write(reference=True)
    made.fit_reward()
    student = student_of(made.task, trained, 4, 8)
    imitation = Imitation(made.policy, student, 3e-3)
    texts = made.write()
    nats = list(imitation.learn(lambda own: texts, 30, len(texts), made.rng))
    assert nats[0] == pytest.approx(imitation_at_the_start(made, texts), rel=1e-3)
    assert nats[-1] < 0.5 * nats[0]
    with torch.no_grad():
        averaged = imitation.divergence(texts, torch.arange(len(texts)), own=False).item()
    assert averaged < nats[0]


def imitation_at_the_start(made: ModelBased, texts: SelfWritten) -> float:
    """KL of the heads from pi0 on texts, nats a text."""
    reference, residual = heads_read(made.policy, texts, torch.arange(len(texts)))
    rows, reference = (reference + residual).log_softmax(-1), reference.log_softmax(-1)
    return ((rows.exp() * (rows - reference)).sum() / len(texts)).item()


def test_what_a_student_writes_has_its_log_probs_and_those_of_pi0() -> None:
    made = learner()
    student = student_of(made.task, "all", 4, 8)
    with torch.no_grad():
        for weight in student.actor_weights():
            weight += 0.02 * torch.randn_like(weight)
    texts = write_as_student(student, made.prompts(4), made.generator)
    actions = texts.actions[texts.mask][:, None]
    _, own = student.read(texts.tokens, texts.first, texts.mask)
    reference = texts.hidden[texts.mask] @ made.policy.unembedding.T
    for logits, expected in ((own, texts.log_probs), (reference, texts.log_probs - texts.log_ratios)):
        found = logits.log_softmax(-1).gather(-1, actions)[:, 0]
        torch.testing.assert_close(found, expected[texts.mask], atol=1e-4, rtol=1e-4)
    assert texts.log_ratios.abs().max() > 0.01
    with torch.no_grad():
        nats = Imitation(made.policy, student, 1e-3).divergence(texts, torch.arange(len(texts)), own=True)
    assert nats.item() > 0
