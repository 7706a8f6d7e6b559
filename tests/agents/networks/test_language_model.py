"""The policy that is a language model: as it is written it is read, trained, saved and evaluated."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import klrl_envs
from agents.networks import language_model
from agents.networks.language_model import LanguageModelPolicy
from agents.networks.make import Trained, make_network
from agents.networks.reading import hidden_states
from agents.reinforce import descend, leave_one_out
from agents.run import Training, prepare
from klrl_envs import TextTask
from tests.agents.networks.models import WORDS, nano_reference, saved_llama, text_task, tiny_nano

PROMPTS = ((1, 2), (), (3,), (4, 4, 1), (2, 1))
KINDS = {"all": Trained("all"), "lora": Trained("lora", rank=2, alpha=4)}


@pytest.fixture(scope="module", params=["nano", "llama"])
def reference(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.param == "nano":
        return nano_reference(tiny_nano())
    pytest.importorskip("peft")
    return saved_llama(tmp_path_factory.mktemp("llama"))


def policy_of(task: TextTask, trained: Trained, *, critic: bool, moved: float = 0.0) -> LanguageModelPolicy:
    torch.manual_seed(0)
    policy = make_network(task, critic=critic, trained=trained)
    assert isinstance(policy, LanguageModelPolicy)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in policy.actor_weights():
            weight += moved * torch.randn(weight.shape, generator=generator)
    return policy


def gradient(policy: LanguageModelPolicy) -> Tensor:
    found = [
        torch.zeros(weight.shape) if weight.grad is None else weight.grad for weight in policy.actor_weights()
    ]
    return torch.cat([each.flatten() for each in found])


@pytest.mark.parametrize("train", KINDS)
@pytest.mark.parametrize("critic", [True, False])
def test_it_starts_as_the_reference(reference: Any, train: str, critic: bool) -> None:
    task = text_task(reference, horizon=5, prompts=PROMPTS)
    policy = policy_of(task, KINDS[train], critic=critic)
    assert policy.trains == {"all": "all weights", "lora": "LoRA of rank 2"}[train]
    prompts = np.repeat(np.arange(5), 20)
    texts = policy.write(policy.engine(task, 100, 0), prompts, torch.Generator().manual_seed(0))
    assert texts.log_ratios.abs().max() < 1e-5 and texts.kl.abs().max() < 1e-5
    scored, _ = policy.for_evaluation(task)
    rows = torch.from_numpy(np.asarray(scored.start(task.prompts.tokens)))
    lanes = reference.lanes(5, task.max_length)
    lanes.reset(np.arange(5), task.prompts.tokens, task.prompts.lengths)
    torch.testing.assert_close(rows, torch.from_numpy(lanes.log_probs()), atol=1e-5, rtol=0)


@pytest.mark.parametrize("train", KINDS)
@pytest.mark.parametrize("critic", [True, False])
def test_what_was_written_is_read_as_it_was_written(reference: Any, train: str, critic: bool) -> None:
    """Step by step, in one pass, and from the beginning as the evaluation does; pi0 as the engine has it."""
    task = text_task(reference, horizon=5, prompts=PROMPTS)
    policy = policy_of(task, KINDS[train], critic=critic, moved=0.3)
    engine = policy.engine(task, 100, 0)
    prompts = np.repeat(np.arange(5), 20)
    texts = policy.write(engine, prompts, torch.Generator().manual_seed(0))
    mask, index = texts.mask, torch.arange(100)
    assert 1 < mask.sum(1).min() + 1 < mask.sum(1).max() + 1 == 6, "some texts end early"
    with torch.no_grad():
        log_probs, kl = policy.scores(texts, index)
    torch.testing.assert_close(log_probs, texts.log_probs, atol=1e-5, rtol=0)
    torch.testing.assert_close(kl, texts.kl, atol=1e-5, rtol=0)
    assert texts.log_ratios.abs().sum(1).mean() > 0.1
    # what pi0 gives the tokens, asked without a policy
    first, lengths = texts.first.numpy(), (texts.first + mask.sum(1)).numpy()
    whole = reference.sequence_log_probs(texts.tokens.numpy(), first, lengths)
    np.testing.assert_allclose(
        (texts.log_probs - texts.log_ratios).sum(1), whole.sum(axis=1), atol=1e-4, rtol=0
    )
    np.testing.assert_allclose(engine.reference_nats, whole.sum(axis=1), atol=1e-4, rtol=0)
    np.testing.assert_array_equal(engine.tokens, texts.tokens.numpy())
    assert engine.taken == texts.steps
    shares = [((row == 4).sum() / length).item() for row, length in zip(texts.tokens, lengths, strict=True)]
    np.testing.assert_allclose(texts.rewards.sum(1), shares, rtol=1e-6)
    # the evaluation's rows
    scored, _ = policy.for_evaluation(task)
    shown = np.where(np.arange(3) < first[:, None], texts.tokens.numpy()[:, :3], 0)
    rows = [np.asarray(scored.start(shown))]
    rows += [np.asarray(scored.step(column)) for column in texts.actions.T[:-1].numpy()]
    taken = torch.from_numpy(np.stack(rows, 1)).gather(-1, texts.actions[..., None]).squeeze(-1)
    torch.testing.assert_close(taken[mask], texts.log_probs[mask], atol=1e-5, rtol=0)
    if critic:
        assert policy.values(texts, index).shape == mask.shape
        log_ratio = rows[0] - pi0_rows(reference, shown, first)
        np.testing.assert_allclose(texts.kl[:, 0], (np.exp(rows[0]) * log_ratio).sum(1), atol=1e-5)


def pi0_rows(reference: Any, tokens: Any, lengths: Any) -> Any:
    lanes = reference.lanes(len(tokens), 9)
    lanes.reset(np.arange(len(tokens)), tokens, lengths)
    return lanes.log_probs()


def exact_objective(policy: LanguageModelPolicy, task: TextTask) -> Tensor:
    """J / kl_coef by enumeration of every text of every prompt, differentiable."""
    texts = [
        written
        for length in range(1, task.horizon + 1)
        for written in itertools.product(range(len(WORDS)), repeat=length)
        if 0 not in written[:-1] and (length == task.horizon or written[-1] == 0)
    ]
    total, prompts = torch.zeros(()), task.prompts
    for prompt, size in zip(prompts.tokens, prompts.lengths, strict=True):
        rows = np.zeros((len(texts), task.max_length), dtype=np.int64)
        rows[:, :size] = prompt[:size]
        for row, text in zip(rows, texts, strict=True):
            row[size : size + len(text)] = text
        lengths = size + np.array([len(text) for text in texts])
        first = torch.full((len(texts),), int(size))
        mask = torch.arange(task.horizon) < torch.tensor(lengths)[:, None] - size
        actions = torch.tensor(rows)[:, size : size + task.horizon]
        log_pi = []
        for pi0 in (False, True):
            _, logits = policy.read(torch.tensor(rows), first, mask, reference=pi0)
            taken = logits.log_softmax(-1).gather(-1, actions[mask][:, None]).squeeze(-1)
            log_pi.append(torch.zeros(mask.shape).masked_scatter(mask, taken).sum(1))
        reward = torch.tensor(task.score(rows, lengths)[0], dtype=torch.float32)
        assert log_pi[0].exp().sum().item() == pytest.approx(1, abs=1e-4)
        total = total + (log_pi[0].exp() * (reward / task.kl_coef - log_pi[0] + log_pi[1].detach())).sum()
    return total / len(prompts.tokens)


@pytest.mark.parametrize("moved", [0.0, 0.3])
@pytest.mark.parametrize("train", KINDS)
def test_reinforce_descends_the_exact_gradient(train: str, moved: float) -> None:
    """At the start, and away from it, where the KL has a gradient, too."""
    task = text_task(nano_reference(tiny_nano()), prompts=((1, 2), (3, 1)))
    policy = policy_of(task, KINDS[train], critic=False, moved=moved)
    exact_objective(policy, task).backward()
    exact = -gradient(policy)
    policy.zero_grad()
    group = 20_000
    texts = policy.write(
        policy.engine(task, 2 * group, 0), np.repeat([0, 1], group), torch.Generator().manual_seed(0)
    )
    to_go = texts.paid(task.kl_coef).flip(1).cumsum(1).flip(1)
    descend(policy, texts, leave_one_out(to_go, texts.mask, group), 4_000)
    estimated = gradient(policy)
    assert not moved or texts.log_ratios.sum(1).mean() > 0.02, "the KL of it"
    assert torch.nn.functional.cosine_similarity(estimated, exact, dim=0) > 0.999
    assert (estimated.norm() / exact.norm()).item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("prompts", [PROMPTS, ((1, 2), (3, 1), (2, 2), (4, 1), (1, 1))])
def test_parts_have_the_gradient_of_the_whole(reference: Any, recomputed: bool, prompts: Any) -> None:
    """Also where layers keep no activations."""
    task = text_task(reference, horizon=5, prompts=prompts)
    found = []
    for micro_batch, again in ((0, False), (7, recomputed)):
        policy = policy_of(task, Trained("all", checkpoint_layers=again), critic=False, moved=0.2)
        engine = policy.engine(task, 20, 0)
        texts = policy.write(engine, np.repeat(np.arange(5), 4), torch.Generator().manual_seed(0))
        advantages = texts.rewards.sum(1, keepdim=True) * texts.mask
        descend(policy, texts, advantages, micro_batch)
        found.append(gradient(policy))
    assert found[0].norm() > 0.01
    torch.testing.assert_close(found[1], found[0], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_prompts_that_are_shared_are_read_as_if_alone(steps: int) -> None:
    """Hidden states and gradients."""
    found = []
    tokens = torch.tensor([[0, 1, 2], [0, 1, 2], [0, 4, 1], [0, 1, 2]]).repeat_interleave(2, dim=0)
    texts = torch.randint(1, 5, (8, steps), generator=torch.Generator().manual_seed(0))
    for alone in (False, True):
        model = tiny_nano().requires_grad_(True)
        whole = torch.cat((tokens, texts), dim=1)
        if alone:
            hidden = model.hidden(whole[:, :-1])[:, 2:]
        else:
            hidden = hidden_states(model, whole, torch.full((8,), 3), steps, shared=3)
        hidden.square().sum(dim=-1).sin().sum().backward()
        gradients = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
        found.append((hidden.detach(), torch.cat(gradients)))
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4)


def test_rows_that_are_too_many_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    task = text_task(nano_reference(tiny_nano()), horizon=5)
    policy = policy_of(task, KINDS["all"], critic=True, moved=0.3)
    monkeypatch.setattr(language_model, "MOST_ROWS", 10 * 5 * 5 - 1)
    texts = policy.write(policy.engine(task, 10, 0), np.zeros(10, dtype=np.int64), torch.Generator())
    assert not texts.exact_kl and texts.rows.numel() == 0 and texts.log_ratios.abs().max() > 0.01
    assert (policy.scores(texts, torch.arange(10))[1] == 0).all()
    assert all(episode.kl is None and episode.k1 is not None for episode in texts.episodes(1, 0.1))


@pytest.mark.parametrize("train", KINDS)
def test_what_was_saved_is_loaded(reference: Any, train: str, tmp_path: Path) -> None:
    task = text_task(reference, horizon=5, prompts=PROMPTS)
    policy = policy_of(task, KINDS[train], critic=True, moved=0.3)
    policy.save(tmp_path)
    path = next(tmp_path.glob("policy*"))
    assert not [file for file in tmp_path.rglob("*") if file.suffix in (".bin", ".pt", ".pkl")]
    before = torch.random.get_rng_state()
    loaded, features = klrl_envs.load_policy(path, task)
    assert (torch.random.get_rng_state() == before).all(), "loading draws nothing"
    expected, _ = policy.for_evaluation(task)
    assert not features
    observations = np.array([[1, 2, 0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 4, 4, 0, 0]])
    rows = np.asarray(loaded.log_probs(observations))  # type: ignore[union-attr]
    np.testing.assert_allclose(rows, np.asarray(expected.log_probs(observations)), atol=1e-5)
    lanes = reference.lanes(2, 8)
    lanes.reset(np.arange(2), observations, np.array([2, 6]))
    assert np.abs(rows - lanes.log_probs()).max() > 0.05


def test_folders_that_are_no_policy_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    task = text_task(saved_llama(tmp_path / "model"))
    with pytest.raises(ValueError, match="has neither adapter_config"):
        klrl_envs.load_policy(tmp_path, task)
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (tmp_path / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="must be an adapter of type LORA in adapter_model"):
        klrl_envs.load_policy(tmp_path, task)
    with pytest.raises(ValueError, match="needs a model of transformers"):
        klrl_envs.load_policy(tmp_path, text_task(nano_reference(tiny_nano())))


def test_what_does_not_fit_is_named() -> None:
    task = klrl_envs.make_task("Keywords-v0")
    with pytest.raises(
        ValueError, match="train must be 'heads' on Keywords-v0, got 'all': its reference is a t"
    ):
        make_network(task, trained=Trained("all"))
    with pytest.raises(ValueError, match="train must be one of"):
        make_network(task, trained=Trained("some"))
    text = text_task(nano_reference(tiny_nano()))
    with pytest.raises(ValueError, match="rank and alpha must be at least 1, got 0 and 16"):
        make_network(text, trained=Trained("lora", rank=0))


def kl_after(agent: str, out: Path, tokens: int, **size: int) -> float:
    """The KL of all weights of nano after a training without reward, nats, to second order."""
    module = importlib.import_module(f"agents.{agent}")
    kind = module.PPOArguments if agent == "ppo" else module.ReinforceArguments
    args = kind(env_id="klrl/Sentiment-v0", train="all", tokens=tokens, threads=1, out=str(out), **size)
    device = prepare(args)
    training = Training(args, agent)
    training.task = dataclasses.replace(
        training.task, score_texts=lambda tokens, lengths, texts: (np.zeros(len(texts)), {})
    )
    policy = module.learn(args, training, device)
    texts = policy.write(
        policy.engine(training.task, 256, 7), np.arange(256), torch.Generator().manual_seed(9)
    )
    assert texts.log_ratios.std() > 0
    return texts.log_ratios.sum(1).var().item() / 2


SIZES = {"reinforce": {"batch": 64}, "ppo": {"batch": 64, "minibatch": 32}}


@pytest.mark.slow
@pytest.mark.parametrize("agent", SIZES)
def test_without_reward_it_stays_at_the_reference(agent: str, tmp_path: Path) -> None:
    """What moves it is noise, and the KL pulls it back."""
    assert kl_after(agent, tmp_path, 40_000, **SIZES[agent]) < 0.05


@pytest.mark.slow
@pytest.mark.skipif(not any(shutil.which(name) for name in ("g++", "clang++")), reason="no compiler")
def test_compiled_layers_read_as_they_are() -> None:
    task = text_task(nano_reference(tiny_nano()), horizon=5, prompts=((1, 2), (3, 4)))
    found = []
    for compiled in (False, True):
        trained = Trained("all", compile_layers=compiled)
        policy = policy_of(task, trained, critic=False, moved=0.3)
        texts = policy.write(policy.engine(task, 12, 0), np.arange(12) % 2, torch.Generator().manual_seed(0))
        log_probs, _ = policy.scores(texts, torch.arange(12))
        log_probs.square().sum().backward()
        found.append((texts.actions, log_probs.detach(), gradient(policy)))
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-3)


def test_only_nano_is_compiled(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    with pytest.raises(ValueError, match="compile_layers must be False on"):
        make_network(text_task(saved_llama(tmp_path), horizon=3), trained=Trained("all", compile_layers=True))
