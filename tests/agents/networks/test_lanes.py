"""Episodes as arrays of states: they follow the automaton, and cost what their rows say."""

from __future__ import annotations

import numpy as np

import klrl_envs
from agents.networks.lanes import write_episodes
from agents.networks.trajectories import make_engine
from tests.agents.tiny import tiny_task


def test_episodes_follow_the_automaton_and_are_paid_as_it_pays() -> None:
    task = tiny_task()
    rows = np.log(np.array([0.2, 0.3, 0.5]))
    written = write_episodes(
        make_engine(task, 64, 0),
        lambda context, state, time: np.tile(rows, (len(context), 1)),
        np.random.default_rng(0),
    )
    assert written.mask[:, 0].all() and 0 < written.mask[:, 1].sum() < 64, "some end at once, and some do not"
    assert written.steps == written.mask.sum()
    ended = written.actions[:, 0] == task.end_token
    np.testing.assert_array_equal(written.mask[:, 1], ~ended)
    transition, mask = task.automaton.transition, written.mask
    np.testing.assert_array_equal(written.after[mask], transition[written.state[mask], written.actions[mask]])
    np.testing.assert_array_equal(written.state[~ended, 1], written.after[~ended, 0])
    np.testing.assert_array_equal(written.context[~ended, 1], written.actions[~ended, 0])
    last = np.where(ended, written.after[:, 0], written.after[:, 1])
    np.testing.assert_allclose(written.rewards.sum(axis=1), task.automaton.final_reward[last])
    reference = task.reference.rows(written.context[mask])[np.arange(mask.sum()), written.actions[mask]]
    np.testing.assert_allclose(written.log_ratios[mask], rows[written.actions[mask]] - reference)
    assert not written.log_ratios[~mask].any() and not written.rewards[~mask].any()
    episodes = written.episodes(100, task.kl_coef)
    assert [episode.length for episode in episodes] == mask.sum(axis=1).tolist()
    np.testing.assert_allclose(written.log_probs[mask], rows[written.actions[mask]])
    assert not written.log_probs[~mask].any()
    assert episodes[0].log_prob == written.log_probs[0].sum()
    first = episodes[0]
    assert first.k1 is not None and first.paid == first.task_reward - task.kl_coef * first.k1


def test_prompts_are_drawn() -> None:
    task = klrl_envs.make_task("DiagnosticPromptScale-v0").exact
    assert task is not None
    engine = make_engine(task, 64, 0)
    written = write_episodes(
        engine, lambda context, *_: task.reference.rows(context), np.random.default_rng(0)
    )
    assert len(set(written.state[:, 0].tolist())) == 3, "one for each scale"
    assert not written.log_ratios.any() and all(written.texts)
