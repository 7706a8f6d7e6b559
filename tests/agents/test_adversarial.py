"""The discriminator learns log pi* - log pi0 whatever the agent does, and the agent comes to pi*."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import klrl_envs
from agents.adversarial import AdversarialArguments, Adversary
from agents.networks.judge import Judge, first_of_each
from agents.networks.trajectories import last_steps
from klrl_envs.optima.optimum import optimum_of
from tests.agents.tiny import exact_objective, tiny_task


def adversary(**settings: object) -> Adversary:
    torch.manual_seed(0)
    args = AdversarialArguments(batch=128, group=128, shown=8_192, judge_learning_rate=1e-2, **settings)  # type: ignore[arg-type]
    return Adversary(args, tiny_task(), torch.device("cpu"))


@pytest.mark.slow
def test_the_discriminator_comes_to_the_log_ratio_of_pi_star_and_pi0_while_the_agent_moves() -> None:
    learner = adversary()
    task = learner.task
    for update in range(400):
        written = learner.write()
        learner.discriminate(written)
        learner.descend(written, learner.advantages(written), update / 400)
    best = optimum_of(task)
    texts = torch.tensor([[0, 0], [1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2]])
    final = torch.tensor([0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 1.0])
    wanted = (final - best.value) / task.kl_coef
    with torch.no_grad():
        found = learner.judge(texts)
    assert (found - wanted).abs().max() < 0.45  # of what lies between -.9 and 1.1
    reached = task.kl_coef * exact_objective(learner.policy, task).item()  # type: ignore[arg-type]
    assert (reached - best.reference_value) / (best.value - best.reference_value) > 0.97


def test_nobody_is_paid_for_the_texts_that_are_shown() -> None:
    before = klrl_envs.ledger.counts()
    learner = adversary()
    found = klrl_envs.ledger.counts() - before
    # a run is refused that certifies, and one that has more tokens of training than it says
    assert {account.purpose for account in found.accounts} == {"evaluation"}
    assert len(learner.shown) == 64 and all(len(batch.texts) == 128 for batch in learner.shown)


def test_a_judge_begins_at_zero_and_sees_tokens_and_pairs_once() -> None:
    task = klrl_envs.make_task("Keywords-v0")
    torch.manual_seed(0)
    judge = Judge(task)
    texts = torch.tensor([[3, 4, 3, 4, task.pad], [3, 4, task.pad, task.pad, task.pad]])
    assert judge(texts).tolist() == [0.0, 0.0]
    assert first_of_each(texts, texts != task.pad).tolist() == [
        [True, True, False, False, False],
        [True, True, False, False, False],
    ]
    with torch.no_grad():
        judge.weights.weight.normal_()
        judge.pairs.weight.normal_()
        expected = judge.weights.weight[[3, 4]].sum()
    pair = (3 * task.vocab_size + 4) * 0x9E3779B1 % judge.pairs.num_embeddings
    with torch.no_grad():
        assert judge(texts)[1].item() == pytest.approx(
            (expected + judge.pairs.weight[pair, 0]).item(), abs=1e-4
        )


def test_a_judge_reads_ends_within_a_text_and_none_behind_it() -> None:
    judge = Judge(klrl_envs.make_task("Keywords-v0"))
    pad = judge.pad
    with torch.no_grad():
        for part in judge.parameters():
            part.normal_()
    texts = torch.tensor([[3, pad, 4, pad, pad], [3, pad, 4, pad, pad], [3, 4, pad, pad, pad]])
    found, shorter = judge(texts).tolist(), judge(texts[:, :3]).tolist()
    assert found == pytest.approx(shorter) and found[0] == pytest.approx(found[1])
    assert abs(found[0] - found[2]) > 0.1, "the turns of a chat end with the token that pads, too"


def test_last_steps() -> None:
    mask = torch.tensor([[True, True, False], [True, True, True], [True, False, False]])
    assert last_steps(mask).tolist() == [[False, True, False], [False, False, True], [True, False, False]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 8, "group": 3}, "group must be at least 2 and divide batch 8"),
        ({"shown": 5}, "shown must be"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Adversary(AdversarialArguments(**settings), tiny_task(), torch.device("cpu"))  # type: ignore[arg-type]


def test_shown_texts_are_those_of_the_seed() -> None:
    first, second = adversary(), adversary()
    assert np.array_equal(first.shown[0].tokens, second.shown[0].tokens)
