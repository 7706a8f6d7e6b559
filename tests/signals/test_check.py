"""`check_signal`: what is right is called right, and each planted mistake is found."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from klrl_envs.signals import Report, TinyTask, check_signal, random_task, reinforce
from klrl_envs.signals.variants import Setting, variants
from tests.signals import losses

FEW = random_task(words=1, horizon=3)
"""Of 4 texts, with groups of 2: quick."""


def quick(loss, **arguments) -> Report:
    return check_signal(loss, **{"group": 2, "task": FEW} | arguments)


def number(value: float | None) -> float:
    """A number that is there."""
    assert value is not None
    return value


def test_leave_one_out_is_called_right() -> None:
    report = check_signal(reinforce)
    assert report.verdict == (
        "Right: on average it is the gradient of the objective, and it ends at the optimum."
    )
    assert report.calls == 420 and report.exact and report.vectorised and report.texts == 7
    assert report.follows == "E[r] - kl_coef KL(pi || pi0)"
    for one in report.gradients:
        if one.policy == "pi*":
            assert one.cosine is one.ratio is one.variance is None
            assert one.length < 1e-12 and one.deviation < 1e-12
        else:
            assert one.cosine == pytest.approx(1, abs=1e-9) and one.ratio == pytest.approx(1, abs=1e-9)
            assert one.variance == pytest.approx(1, abs=1e-9) and one.cosine_margin == 0
    assert report.score == pytest.approx(1, abs=1e-9) and report.end.found and report.padding == 0
    assert number(report.moved) < 1e-6
    moved = {one.name: number(one.moved) for one in report.moves if one.kind == "condition"}
    assert moved["texts tokenised anew, some to other tokens"] > 0.01
    assert moved["the reference set to the policy at its end, once"] > 0.01
    json.loads(report.to_json())
    assert report.verdict in str(report) and "leave-one-out REINFORCE's being 1" in str(report)


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (losses.wrong_sign, "It is the gradient of E[r] + kl_coef KL(pi || pi0)."),
        (losses.uphill, "It is the gradient of the opposite of E[r] - kl_coef KL(pi || pi0)."),
        (losses.mask_off_by_one, "Log-probs at padding have a part in it: the mask is wrong."),
        (losses.last_token_left_out, "The last token of a text has no part in it: the mask may be off."),
        (losses.first_token_left_out, "The first token of a text has no part in it: the mask may be off."),
        (losses.end_token_left_out, "The end token of a text has no part in it: the mask may be off."),
        (losses.last_column_left_out, "The last column of a text has no part in it: the mask may be off."),
        (losses.last_token_left_out_of_the_kl, "The last token of a text has no part in its KL: the mask"),
        (losses.gradient_at_padding, "Log-probs at padding have a part in it: the mask is wrong."),
        (losses.coefficient_of_one_s_own, "rewards and kl_coef times 10"),
        (losses.no_mask, "Log-probs at padding have a part in it: the mask is wrong."),
        (losses.kl_divided_by_padding, "2 columns of padding"),
        (losses.kl_detached_in_the_loss, "It is the gradient of E[r]."),
        (losses.k1_in_the_loss, "It is the gradient of E[r]."),
        (losses.coefficient_squared, "rewards and kl_coef times 10"),
        (losses.normalised_by_the_group, "the last prompt's rewards times 0.2"),
    ],
)
def test_a_planted_mistake_is_found(loss, found: str) -> None:
    known = [one.name for one in variants(Setting(loss, FEW, 2, 1), 0.1)]
    report = quick(loss, changes=[one for one in known if one == found])
    assert report.score < 0.999 or number(report.moved) > 0.01 or report.padding > 0
    assert not report.verdict.startswith("Right") and found in report.verdict


def test_a_price_with_a_gradient_that_should_be_detached_is_found() -> None:
    report = quick(losses.kl_with_its_gradient, changes=())
    assert number(report.cosine) < 0.999 and not report.verdict.startswith("Right")


def test_what_ends_right_by_another_way_is_told_so() -> None:
    """Each text over its own length: nothing moves at pi*, where all texts are worth the same."""
    report = quick(losses.mean_over_tokens, changes=())
    assert number(report.cosine) < 0.999 and report.score == pytest.approx(1, abs=1e-6)
    assert "by another way than the gradient of the objective" in report.verdict


def test_another_way_to_the_optimum_is_told_from_the_gradient() -> None:
    def halved_along_the_text(batch) -> torch.Tensor:
        """The first token learns half as fast: the same rest, by another way."""
        price = losses.log_ratio(batch).sum(dim=1).detach()
        advantage = batch.rewards - batch.kl_coef * price
        grouped = advantage.reshape(-1, batch.group_size)
        advantage = (grouped - grouped.mean(dim=1, keepdim=True)).reshape(-1)
        speed = torch.ones_like(batch.mask)
        speed = torch.cat([0.5 * speed[:, :1], speed[:, 1:]], dim=1)
        return -(advantage * (speed * batch.log_probs * batch.mask).sum(dim=1)).mean()

    report = quick(halved_along_the_text, changes=())
    assert number(report.cosine) < 0.99 and report.score > 0.9999
    assert report.verdict.startswith("It ends at the optimum") and "by another way" in report.verdict


def test_losses_that_couple_prompts_are_given_several() -> None:
    def by_the_batch(batch) -> torch.Tensor:
        """k1 in the reward, over the standard deviation of the whole batch."""
        reward = batch.rewards - batch.kl_coef * losses.log_ratio(batch).sum(dim=1).detach()
        return losses.paid(batch, reward / (reward.std() + 1e-3))

    alone, coupled = (quick(loss, batch=2, changes=()) for loss in (reinforce, by_the_batch))
    assert alone.verdict.startswith("Right") and alone.batch == 2
    assert coupled.calls == 100 and number(coupled.cosine) < 0.999
    with pytest.raises(ValueError, match="batch must be 1 or a multiple of the 2 prompts, got 3"):
        quick(reinforce, batch=3)


def test_too_many_cases_are_sampled_and_said_to_be() -> None:
    task = random_task(words=2, horizon=3)
    report = check_signal(reinforce, task=task, group=6, changes=())
    assert not report.exact and "a stratified sample" in report.head()
    for one in report.gradients:
        if one.cosine is not None:
            assert 0 < one.cosine_margin < 0.05 and one.cosine > 1 - 2 * one.cosine_margin
    # at the optimum every text is worth the same: whatever is sampled, the end is exact
    assert report.score == pytest.approx(1, abs=1e-6)
    assert report.verdict == (
        "Right, as far as the sample tells: "
        "on average it is the gradient of the objective, and it ends at the optimum."
    )


@pytest.mark.parametrize(
    ("loss", "beginning"),
    [
        (losses.sequence_k2, "Right, as far as the sample tells: "),
        (losses.k1_alone, "No gradient on average, as far as the sample tells: "),
        (losses.mean_over_tokens, "It ends at the optimum "),
        (losses.token_k3, "Wrong: "),
    ],
)
def test_a_verdict_on_a_sample_goes_no_further_than_it_tells(monkeypatch, loss, beginning: str) -> None:
    monkeypatch.setattr("klrl_envs.signals.calls.MOST_CALLS", 10)
    for name, value in (
        ("calls.SAMPLED_CALLS", 2_048),
        ("check.SAMPLED_CALLS", 2_048),
        ("check.END_CALLS", 512),
    ):
        monkeypatch.setattr(f"klrl_envs.signals.{name}", value)
    report = quick(loss, changes=())
    assert not report.exact and report.verdict.startswith(beginning)
    # noise keeps it off the optimum, and further than rounding: without its margin it would not be right
    assert loss is not losses.sequence_k2 or report.score < 1 - 1e-6 < report.score + report.end.score_margin


def test_a_loss_without_a_gradient_on_average_goes_nowhere() -> None:
    for loss, group in (
        (losses.k1_alone, 1),
        (losses.k1_alone, 2),
        (lambda batch: 0 * batch.log_probs.sum(), 2),
    ):
        report = quick(loss, group=group)
        assert report.verdict == "No gradient on average: it goes nowhere." and report.silent
        numbers = json.loads(report.to_json())["numbers"]
        assert numbers["cosine"] is numbers["ratio"] is None and numbers["score"] == report.score == 0
        assert report.moves == [] and report.follows is None and "it goes nowhere" in str(report)


def test_steps_on_a_batch_without_a_slope_at_pi0_are_steps_of_some_length() -> None:
    def k2_alone(batch) -> torch.Tensor:
        return (losses.log_ratio(batch).sum(dim=1) ** 2).mean()

    (move,) = quick(k2_alone, changes=["4 steps on each batch"]).moves
    assert move.found and move.score == 0


def test_how_long_its_steps_are_is_told() -> None:
    report = quick(losses.group_mean, changes=())
    assert report.verdict.startswith("Right: ") and report.numbers()["ratio"] == pytest.approx(0.5, abs=1e-9)
    assert report.verdict.endswith("Its gradient is 0.5 times as long as the objective's.")
    assert "It is the gradient of: E[r] - kl_coef KL(pi || pi0)" in str(report)


def test_right_is_said_of_nothing_that_a_change_moves_or_padding_has_a_part_in() -> None:
    for loss in (losses.coefficient_of_one_s_own, losses.gradient_at_padding):
        report = quick(loss, changes=["rewards and kl_coef times 10"])
        assert report.cosine == pytest.approx(1, abs=1e-9) and report.score == pytest.approx(1, abs=1e-9)
        assert report.verdict.startswith(
            "Not yet right, though on average it is the gradient of the objective"
        )
        assert number(report.moved) > 0.01 or report.padding > 0


def test_a_change_under_which_a_loss_fails_is_named_and_the_rest_told() -> None:
    changes = ["every reward + 3", "rewards and kl_coef times 10", "a word cloned"]
    report = quick(losses.logarithm_of_the_reward, changes=changes)
    failed = {one.name: one.failed for one in report.moves if one.failed}
    assert set(failed) == {"every reward + 3", "rewards and kl_coef times 10"}
    assert "the loss is nan on a batch of the texts" in failed["every reward + 3"]
    assert report.moved is None and json.loads(report.to_json())["numbers"]["moved"] is None
    assert "Could not be computed: every reward + 3 (the loss is nan" in report.verdict
    assert "failed" in str(report)

    def of_one_size(batch) -> torch.Tensor:
        return losses.group_mean(batch) if batch.group_size == 4 else batch.rewards.reshape(-1, 4).sum()

    report = quick(of_one_size, group=4, changes=["groups of 2"])
    assert report.verdict.startswith("Not yet right") and report.numbers()["moved"] is None
    assert "RuntimeError: shape '[-1, 4]' is invalid for input of size 2" in report.verdict
    assert f"({__file__}, line " in report.verdict


def test_a_loss_that_is_called_one_by_one_is_told_why() -> None:
    report, told = check_signal(losses.by_the_number, changes=()), []
    assert report.texts == 4 and report.verdict.startswith("Right")  # of the small task
    assert not report.vectorised and "item() on a Tensor" in report.one_by_one
    assert "losses.py, line " in report.one_by_one and report.one_by_one in report.head()
    quick(losses.by_the_number, changes=(), progress=lambda done, total, what: told.append(what))
    assert told[0] == "expected gradients, one call after the other"
    assert check_signal(reinforce, changes=()).one_by_one == ""


def test_progress_is_told_and_threads_are_left_as_they_were() -> None:
    threads, told = torch.get_num_threads(), []
    quick(
        reinforce,
        changes=["a word cloned"],
        progress=lambda done, total, what: told.append((done, total, what)),
    )
    assert torch.get_num_threads() == threads
    assert [done for done, _, _ in told] == list(range(len(told))) and told[-1][0] == told[-1][1]


def test_rewards_without_stakes_are_refused() -> None:
    flat = TinyTask(**{**vars(FEW), "rewards": np.ones_like(FEW.rewards)})
    with pytest.raises(ValueError, match="the rewards of the task are all alike"):
        check_signal(reinforce, task=flat, group=2)


def test_numbers_that_can_be_asserted_are_those_of_the_report() -> None:
    report = quick(losses.reward_alone, changes=())
    numbers = report.numbers()
    assert numbers["score"] == report.end.score < 0 and numbers["texts_left"] == pytest.approx(1, abs=1e-3)
    assert numbers["found"] == 1.0 and numbers["kl"] == report.end.kl
    assert "it ends with one text a prompt" in report.verdict


def test_changes_can_be_chosen() -> None:
    chosen = ("a word cloned", "texts of pi0 in place of its own")
    assert [one.name for one in quick(reinforce, changes=chosen).moves] == list(chosen)
    alone = quick(reinforce, changes=())
    assert alone.moves == [] and alone.moved == 0.0 and alone.verdict.startswith("Right")
    with pytest.raises(ValueError, match=r"changes must be of .*a word cloned.*, got \['cloned'\]"):
        quick(reinforce, changes=["a word cloned", "cloned"])
