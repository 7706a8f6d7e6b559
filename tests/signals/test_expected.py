"""Expected gradients: those of the objective where a signal is right, else those that sampling nears."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from klrl_envs.signals import Batch, random_task, reinforce
from klrl_envs.signals.calls import EveryCall, calls_of
from klrl_envs.signals.directions import objective
from klrl_envs.signals.expected import Sampler, Signal
from klrl_envs.signals.policy import log_law, optimal, random_policy
from tests.signals import losses

TASK = random_task()
TINY = random_task(words=1, horizon=3)


def signal(loss, group: int = 4, batch: int = 1, task=TASK, sampler: Sampler | None = None) -> Signal:
    return Signal(loss, task, calls_of(task.prompts, task.texts, group, batch), sampler)


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("policy", ["pi0", "random", "pi*"])
def test_leave_one_out_has_the_objective_s_gradient(group: int, policy: str) -> None:
    rows = {"pi0": TASK.reference, "random": random_policy(TASK, 4), "pi*": optimal(TASK)}[policy]
    found, known = signal(reinforce, group).gradients(rows), objective(TASK, rows)
    np.testing.assert_allclose(-found.mean[:, :-1], known[:, :-1], atol=1e-12)
    assert (found.mean[:, -1] == 0).all()
    if policy == "pi*" and group > 1:  # every text is worth the same there
        assert np.linalg.norm(found.mean) < 1e-12 and found.deviation < 1e-12


def test_several_groups_a_call_have_it_too() -> None:
    rows = random_policy(TINY, 4)
    found = signal(reinforce, group=2, batch=2, task=TINY).gradients(rows)
    np.testing.assert_allclose(-found.mean[:, :-1], objective(TINY, rows)[:, :-1], atol=1e-12)


def normalised(batch: Batch) -> torch.Tensor:
    """Over the standard deviation of the whole batch: prompts are coupled."""
    reward = batch.rewards - batch.kl_coef * losses.log_ratio(batch).sum(dim=1).detach()
    advantage = (reward - reward.mean()) / (reward.std() + 0.1)
    return -(advantage * losses.text_log_prob(batch)).sum() / batch.mask.sum()


@pytest.mark.parametrize(
    ("loss", "group", "batch"), [(losses.normalised_by_the_group, 3, 1), (normalised, 2, 2)]
)
def test_enumeration_is_what_sampling_nears(loss, group: int, batch: int) -> None:
    rows = random_policy(TINY, 1)
    each = signal(loss, group, batch, TINY)
    known = each.gradients(rows).mean
    law = np.exp(log_law(TINY, rows))
    generator, draws = np.random.default_rng(0), 4_000
    places = np.tile([[0, 1]], (draws, 1)) if batch == 2 else generator.integers(2, size=(draws, 1))
    prompts = np.repeat(places, group, axis=1)
    texts = np.array([[generator.choice(len(law[0]), p=law[prompt]) for prompt in call] for call in prompts])
    table = torch.from_numpy(np.concatenate([rows[:, :-1], each.beyond], axis=1))
    found = []
    for call in zip(torch.from_numpy(prompts), torch.from_numpy(texts)):
        logits = table.clone().requires_grad_()
        value = loss(each.batch(logits.log_softmax(dim=2), table, *call))
        found.append(torch.autograd.grad(value, logits)[0].numpy())
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / draws**0.5
    away = np.abs(mean - known)[error > 1e-9] / error[error > 1e-9]
    assert away.max() < 4.5 and (away**2).mean() < 2.5
    assert np.linalg.norm(known) > 10 * np.linalg.norm(error) / 3


def one_by_one(batch: Batch) -> torch.Tensor:
    """The same as ``reinforce``, by what no vectorising survives."""
    total = batch.log_probs.new_zeros(())
    price = losses.log_ratio(batch).sum(dim=1).detach()
    worth = [float(one) for one in batch.rewards - batch.kl_coef * price]
    for text, value in enumerate(worth):
        others = (sum(worth) - value) / (len(worth) - 1)
        total = total - (value - others) * batch.log_probs[text][batch.mask[text].bool()].sum()
    return total / len(worth)


def test_a_loss_with_control_flow_is_called_once_for_each() -> None:
    slow, fast = signal(one_by_one, 3, task=TINY), signal(reinforce, 3, task=TINY)
    assert fast.vectorised and not slow.vectorised
    rows = random_policy(TINY, 2)
    np.testing.assert_allclose(slow.gradients(rows).mean, fast.gradients(rows).mean, atol=1e-12)


def test_what_the_trainer_is_given_is_what_was_written() -> None:
    seen: list[Batch] = []

    def loss(batch: Batch) -> torch.Tensor:
        seen.append(batch)
        return batch.log_probs.sum()

    signal(loss, 2, batch=2)
    batch = seen[0]
    assert batch.log_probs.shape == batch.mask.shape == (4, 2) and batch.logits.shape == (4, 2, 3)
    assert batch.groups.tolist() == [0, 0, 1, 1] and batch.group_size == 2
    assert batch.kl_coef == TASK.kl_coef and batch.log_probs.dtype == torch.float64
    inside = batch.mask.bool()
    torch.testing.assert_close(batch.log_probs.detach()[inside], batch.reference_log_probs[inside])
    assert not batch.old_log_probs.requires_grad
    texts = list(TASK.sequences())
    for tokens, mask, rewards, group in zip(batch.tokens, batch.mask, batch.rewards, batch.groups):
        text = texts.index(tuple(tokens[mask.bool()].tolist()))
        assert rewards == TASK.rewards[int(group), text]


def test_padding_holds_log_probs_that_differ_from_the_reference_s() -> None:
    found = signal(losses.no_mask).gradients(TASK.reference)
    assert np.linalg.norm(found.mean[:, -1]) == 0  # detached
    right = signal(reinforce).gradients(TASK.reference)
    assert np.linalg.norm(found.mean - right.mean) > 0.01


def test_a_sampler_of_its_own_is_told_or_not() -> None:
    noise = np.random.default_rng(0).normal(size=TASK.reference.shape)
    rows = random_policy(TASK, 1)
    weighted = signal(losses.token_k3_weighted, sampler=Sampler(noise=noise)).gradients(rows).mean
    silent = signal(losses.token_k3_weighted, sampler=Sampler(noise=noise, told=False)).gradients(rows).mean
    assert np.linalg.norm(weighted - silent) > 1e-3
    plain = signal(losses.token_k3_weighted).gradients(rows).mean
    same = signal(losses.token_k3_weighted, sampler=Sampler(noise=0 * noise)).gradients(rows).mean
    np.testing.assert_allclose(same, plain, atol=1e-12)


def test_steps_on_one_batch_are_the_way_that_they_go() -> None:
    task, rate = TINY, 0.7
    one = Signal(reinforce, task, EveryCall(2, task.texts, 2, 1))
    two = Signal(reinforce, task, EveryCall(2, task.texts, 2, 1), Sampler(steps=2, rate=rate))
    rows = task.reference
    first, both = one.gradients(rows), two.gradients(rows)
    call = 5
    start = torch.from_numpy(np.concatenate([rows[:, :-1], one.beyond], axis=1))
    moved = (start - rate * torch.from_numpy(first.each[call])).requires_grad_()
    of = torch.from_numpy(first.drawn.prompts[call]), torch.from_numpy(first.drawn.texts[call])
    value = reinforce(one.batch(moved.log_softmax(dim=2), start, *of))
    second = torch.autograd.grad(value, moved)[0].numpy()
    np.testing.assert_allclose(both.each[call], (first.each[call] + second) / 2, atol=1e-12)


class Counting:
    """A baseline that follows the batches."""

    mean = 0.0

    def __call__(self, batch: Batch) -> torch.Tensor:
        self.mean = 0.9 * self.mean + 0.1 * float(batch.rewards.mean())
        return -((batch.rewards - self.mean) * losses.text_log_prob(batch)).mean()


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda batch: batch.log_probs, "must return a tensor with one number"),
        (lambda batch: 1.0, "must return a tensor with one number, got 1.0"),
        (lambda batch: batch.rewards.mean(), "has no gradient in batch.log_probs or batch.logits"),
        (lambda batch: (batch.log_probs.sum() * 0).log(), "the loss is -inf on a batch of the texts "),
        (
            losses.slope_of_a_deviation,
            "the loss's gradient is nan on a batch where all texts of a group are alike",
        ),
        (losses.at_random, "the loss is not a function of its batch: .* fix its random numbers"),
        (Counting(), "the loss is not a function of its batch: .* keep nothing from call to call"),
        (
            lambda batch: batch.logprobs.sum(),
            "the loss raised AttributeError: .*'logprobs' .*test_expected.py, ",
        ),
        (
            lambda batch: batch.log_probs @ batch.tokens,
            "the loss raised RuntimeError: .*test_expected.py, line ",
        ),
    ],
)
def test_what_is_no_loss_is_refused(loss, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        signal(loss)


def test_a_loss_that_is_no_number_on_its_way_is_refused_there() -> None:
    def steep(batch: Batch) -> torch.Tensor:
        """Far from pi0 the logarithm has no number."""
        return reinforce(batch) * (1 + 1e-3 * torch.log(1.5 - losses.log_ratio(batch).abs().amax()))

    each = signal(steep, 2, task=TINY)
    with pytest.raises(ValueError, match="the loss's gradient is not finite on a batch"):
        each.gradients(random_policy(TINY, 1, spread=3.0))


def test_a_loss_of_one_number_in_a_list_is_computed_at_once_too() -> None:
    one = signal(lambda batch: reinforce(batch).reshape(1), 2, task=TINY)
    assert one.vectorised
    rows = random_policy(TINY, 2)
    known = signal(reinforce, 2, task=TINY).gradients(rows)
    np.testing.assert_array_equal(one.gradients(rows).each, known.each)


def test_a_batch_without_a_gradient_is_none_of_the_loss_s_doing() -> None:
    """Groups of one text are left out, as some trainers do."""

    def of_several(batch: Batch) -> torch.Tensor:
        if len(set(batch.rewards.tolist())) == 1:
            return torch.zeros(())
        return losses.reward_alone(batch)

    each, plain = signal(of_several, 2, task=TINY), signal(losses.reward_alone, 2, task=TINY)
    assert not each.vectorised
    rows = random_policy(TINY, 2)
    np.testing.assert_allclose(each.gradients(rows).mean, plain.gradients(rows).mean, atol=1e-12)


def test_a_call_s_steps_are_the_same_one_by_one_and_a_loss_may_write_into_its_batch() -> None:
    def writing(batch: Batch) -> torch.Tensor:
        batch.rewards.sub_(batch.rewards.mean())
        batch.log_probs.mul_(batch.mask)
        assert float(batch.mask.sum()) > 0
        return losses.token_k3_weighted(batch)

    sampler = Sampler(steps=3, rate=0.5)
    slow, fast = (signal(one, 2, task=TINY, sampler=sampler) for one in (writing, losses.token_k3_weighted))
    assert fast.vectorised and not slow.vectorised
    rows = random_policy(TINY, 2)
    np.testing.assert_allclose(slow.gradients(rows).each, fast.gradients(rows).each, atol=1e-12)
