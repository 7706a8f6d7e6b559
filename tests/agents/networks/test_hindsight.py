"""Texts that are cut short: which, where, and that what they tell is true of the task."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from agents.networks.hindsight import Hindsight
from agents.networks.make import make_network
from agents.networks.replay import joined
from agents.networks.residual import ResidualPolicy, visited_by
from agents.networks.trajectories import Trajectories
from klrl_envs import AutomatonTask, RewardAutomaton, make_task
from klrl_envs.tasks.recall import recall_task
from tests.agents.tiny import tiny_task
from tests.oracles import letter_reference

CLASSES = np.array([-1, 0, 0, 1, 1])


def small_recall() -> AutomatonTask:
    """Six words of five; the last shall be of the first one's class."""
    return recall_task(letter_reference("abcde", None), CLASSES, 2, kl_coef=0.5, horizon=6)


def written(task: Any, count: int, seed: int = 0) -> Trajectories:
    """Texts of pi0."""
    policy = make_network(task)
    engine = policy.engine(task, count, seed)
    return policy.write(engine, np.zeros(count, dtype=np.int64), torch.Generator().manual_seed(seed))


def read(task: AutomatonTask, texts: Trajectories) -> tuple[torch.Tensor, torch.Tensor]:
    """Automaton state and time [N, T] that the inputs of each step show."""
    visited = visited_by(texts)
    inputs, features = visited.inputs[visited.state], task.state_features.shape[1]
    distance = (inputs[..., None, :features] - torch.from_numpy(task.state_features)).abs().sum(-1)
    assert float(distance.min(-1).values[texts.mask].max()) < 1e-6
    left = inputs[..., features]
    expected = ResidualPolicy.encode_time(left[..., None])
    assert torch.equal(inputs[..., features:][texts.mask], expected[texts.mask])
    return distance.argmin(-1), ((1 - left) * task.horizon).round().long()


def test_a_cut_text_is_one_that_began_later() -> None:
    """It goes through the states that its tokens lead to, at the last times, and is paid as the last says."""
    task = small_recall()
    texts, hindsight = written(task, 400), Hindsight(task, 0.5)
    hindsight.learn(texts)
    cut = hindsight.cut(texts, np.random.default_rng(1))
    lengths = cut.mask.sum(1)
    assert 150 < int((lengths < 6).sum()) < 250 and set(lengths.tolist()) == set(range(1, 7))
    state, time = read(task, cut)
    final = np.asarray(task.automaton.final_reward)
    assert {0.0, 1.0} == set(cut.rewards.sum(1)[lengths < 6].tolist())
    for row, length in enumerate(lengths.tolist()):
        now = 0
        for step in range(length):
            assert int(state[row, step]) == now and int(time[row, step]) == 6 - length + step
            now = task.automaton.transition[now, int(cut.actions[row, step])]
            assert float(cut.rewards[row, step]) == (final[now] if step == length - 1 else 0)


def test_nothing_is_left_behind_the_cut_and_what_is_kept_is_as_it_was() -> None:
    task = small_recall()
    texts, hindsight = written(task, 64), Hindsight(task, 1.0)
    hindsight.learn(texts)
    cut = hindsight.cut(texts, np.random.default_rng(1))
    assert (cut.mask.sum(1) < 6).all() and not (cut.mask & ~texts.mask).any()
    for name in ("log_probs", "log_ratios", "kl", "base", "rewards"):
        assert not getattr(cut, name)[~cut.mask].any()
    assert torch.equal(cut.log_probs[cut.mask], texts.log_probs[cut.mask])
    assert torch.equal(cut.actions, texts.actions)


def test_a_text_is_cut_where_the_horizons_pay_is_known() -> None:
    task = small_recall()
    texts, hindsight = written(task, 300), Hindsight(task, 1.0)
    assert hindsight.cut(texts, np.random.default_rng(0)).mask.all(), "nothing is known yet"
    reached = visited_by(texts).reached
    few = reached[:, -1] == reached[0, -1]
    hindsight.learn(joined([(texts, few.nonzero().squeeze(1))]))
    cut = hindsight.cut(texts, np.random.default_rng(0))
    short = cut.mask.sum(1) < 6
    assert short.any() and not short.all()
    last = (cut.mask.sum(1) - 1)[short]
    assert (reached[short].gather(1, last[:, None]) == reached[0, -1]).all()


def test_rare_states_are_cut_at_the_rather() -> None:
    """A text that could be cut behind either of two states is so as often behind each."""
    task = small_recall()
    texts, hindsight = written(task, 4000), Hindsight(task, 1.0)
    hindsight.learn(texts)
    cut = hindsight.cut(texts, np.random.default_rng(0))
    reached = visited_by(texts).reached
    last = reached.gather(1, (cut.mask.sum(1) - 1)[:, None]).squeeze(1)
    first = torch.from_numpy(CLASSES)[texts.actions[:, 0]] == 0
    inside, states = reached[first][:, :-1], torch.tensor([2, 3])
    places = (inside[..., None] == states).sum(1)
    both = (places > 0).all(1)
    weights = 1 / (reached[..., None] == states).sum((0, 1))
    expected = (places * weights)[both]
    expected = (expected / expected.sum(1, keepdim=True)).sum(0)
    found = (last[first][both][:, None] == states).sum(0)
    assert float(found[0]) == pytest.approx(float(expected[0]), abs=4 * float(both.sum()) ** 0.5 / 2)
    even = (places / places.sum(1, keepdim=True))[both].sum(0)
    assert abs(float(found[0] - even[0])) > 6 * float(both.sum()) ** 0.5 / 2, "and not as by chance"


def test_none_is_cut_where_a_step_pays_luck_has_a_part_or_the_task_writes() -> None:
    whole, slippery = small_recall(), make_task("GridNavigation-v0", size=4, horizon=12, slip=0.2)
    for task in (make_task("Topic-v0"), slippery, make_task("Dialogue-v0"), whole):
        hindsight = Hindsight(task, float(task is not whole))
        texts = written(task, 32)
        hindsight.learn(texts)
        assert not hindsight.cuts
        assert torch.equal(hindsight.cut(texts, np.random.default_rng(0)).mask, texts.mask)


def test_none_is_cut_where_the_horizon_pays_differently_in_one_state() -> None:
    """One letter pays by itself, and at the end alone was any written."""
    task = small_recall()
    texts, hindsight = written(task, 200), Hindsight(task, 1.0)
    hindsight.learn(texts)
    assert hindsight.cuts
    lucky = texts.rewards.clone()
    lucky[:, -1] += 0.5 * (texts.actions[:, -1] == 1)
    hindsight.learn(replace(texts, rewards=lucky))
    assert not hindsight.cuts
    noisy = Hindsight(replace(task, reward_noise=0.1), 1.0)
    noisy.learn(replace(texts, rewards=lucky))
    assert noisy.cuts


def test_an_end_token_says_nothing_of_the_horizon() -> None:
    """Ended by itself a text is paid 5 more, with its last token, too."""
    known = tiny_task().automaton
    final = np.asarray(known.final_reward)
    automaton = RewardAutomaton(known.transition, final_reward=final + 5, horizon_reward=final)
    task = replace(tiny_task(), automaton=automaton)
    texts, hindsight = written(task, 300), Hindsight(task, 1.0)
    hindsight.learn(texts)
    cut = hindsight.cut(texts, np.random.default_rng(0))
    alone = texts.mask.sum(1) == 1
    assert alone.any() and torch.equal(cut.rewards[alone], texts.rewards[alone])
    shortened = cut.mask.sum(1) < texts.mask.sum(1)
    assert shortened.any() and (texts.actions[shortened, 1] == 0).any()
    paid = final[visited_by(texts).reached[shortened, 0]]
    np.testing.assert_allclose(cut.rewards[shortened, 0], paid)


def test_it_goes_on_from_a_checkpoint() -> None:
    task = small_recall()
    texts, hindsight, other = written(task, 64), Hindsight(task, 0.5), Hindsight(task, 0.5)
    hindsight.learn(texts)
    other.restore(hindsight.state())
    hindsight.learn(texts)
    other.learn(texts)
    found = [each.cut(texts, np.random.default_rng(3)) for each in (hindsight, other)]
    assert torch.equal(found[0].mask, found[1].mask) and torch.equal(found[0].rewards, found[1].rewards)


def test_what_does_not_fit_is_refused() -> None:
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"cut must be a share in \[0, 1\]"):
            Hindsight(small_recall(), share)
    with pytest.raises(ValueError, match="cut must be 0 on Sentiment-v0"):
        Hindsight(make_task("Sentiment-v0"), 0.5)
    Hindsight(make_task("Sentiment-v0"), 0.0)
