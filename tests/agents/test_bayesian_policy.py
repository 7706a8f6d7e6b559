"""The Bayesian loop: its posterior against closed forms, its plan against the library's optimum."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import klrl_envs
from agents import bayesian_policy
from agents.bayesian_policy import BayesianArguments, Belief, Model, as_table, plan
from agents.networks.certain_belief import UNKNOWN, CertainBelief, CertainModel
from agents.networks.lanes import StateEpisodes, write_episodes
from agents.networks.trajectories import make_engine
from klrl_envs import AutomatonTask, RewardAutomaton, evaluate_exactly
from tests.agents.test_best_of_n import env_of
from tests.agents.tiny import SMALL_GRID, tiny_task


def truth(task: AutomatonTask) -> Model:
    """The model that is the task's own automaton."""
    automaton, states = task.automaton, task.automaton.states
    after, rewards = automaton.transition, np.stack([automaton.reward, automaton.reward])
    ends = automaton.absorbing[after]
    if task.end_token is not None:
        ends[:, task.end_token] = True
    settled = np.where(ends, automaton.final_reward[after], 0.0)
    rewards = rewards + np.stack([settled, np.where(ends, settled, automaton.horizon_reward[after])])
    chances = np.eye(states + 1)[np.where(ends, states, after)]
    if automaton.execution is not None:
        chances = np.einsum("ab,qbk->qak", automaton.execution, chances)
        rewards = np.einsum("ab,tqb->tqa", automaton.execution, rewards)
    return Model(chances, rewards)


def played(task: AutomatonTask, lanes: int, seed: int = 0):
    """Episodes of the reference."""
    engine = make_engine(task, lanes, seed)
    return write_episodes(
        engine, lambda context, state, time: task.reference.rows(context), np.random.default_rng(seed)
    )


def test_the_plan_of_the_truth_is_the_optimum() -> None:
    task = tiny_task()
    found = evaluate_exactly(as_table(task, plan(task, truth(task))), env_of(task))
    assert found.score == pytest.approx(1.0, abs=1e-9)
    for settings in (SMALL_GRID, {**SMALL_GRID, "slip": 0.2}):
        grid = klrl_envs.make_task("GridNavigation-v0", **settings).exact
        assert grid is not None
        table = as_table(grid, plan(grid, truth(grid)))
        found = evaluate_exactly(table, "klrl/GridNavigation-v0", **settings)
        assert found.score == pytest.approx(1.0, abs=1e-9)


def test_the_belief_comes_to_the_truth() -> None:
    task = tiny_task()
    belief, exact = Belief(task), truth(task)
    written = played(task, 4096)
    belief.learn(written)
    assert belief.visits.sum() == written.steps
    model = belief.mean()
    inner, last = belief.told[0] > 0, belief.told[1] > 0
    assert inner.sum() == 3 and last.sum() == 6, "one state before the last step, two in it"
    np.testing.assert_allclose(model.chances[inner], exact.chances[inner], atol=1e-3)
    np.testing.assert_allclose(model.rewards[0][inner], exact.rewards[0][inner], atol=0.01)
    np.testing.assert_allclose(model.rewards[1][last], exact.rewards[1][last], atol=0.01)
    np.testing.assert_allclose(model.chances[~inner], 0.25)
    score = evaluate_exactly(as_table(task, plan(task, model)), env_of(task)).score
    assert score == pytest.approx(1.0, abs=1e-3)


def test_the_posterior_is_that_of_closed_forms() -> None:
    task = tiny_task()
    belief = Belief(task, concentration=2.0, prior=3.0, noise=0.4)
    belief.told[0, 1, 2], belief.paid[0, 1, 2] = 3, 1.8
    belief.counts[1, 2] = (0, 2, 0, 1)
    model = belief.mean()
    # of the Normal by a grid: prior times likelihood of the three rewards
    prior, noise = 3.0 * task.kl_coef, 0.4 * task.kl_coef
    at = np.linspace(-8, 8, 400_001)
    log_density = -0.5 * (at / prior) ** 2 - 0.5 * sum(
        ((reward - at) / noise) ** 2 for reward in (0.5, 0.6, 0.7)
    )
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    center = float(density @ at)
    deviation = float(density @ (at - center) ** 2) ** 0.5
    assert model.rewards[0, 1, 2] == pytest.approx(center, abs=1e-6)
    np.testing.assert_allclose(model.chances[1, 2], np.array([0.5, 2.5, 0.5, 1.5]) / 5)
    draws = [belief.draw(np.random.default_rng(seed)) for seed in range(4000)]
    rewards = np.array([draw.rewards[0, 1, 2] for draw in draws])
    assert rewards.mean() == pytest.approx(center, abs=5 * deviation / 4000**0.5)
    assert rewards.std() == pytest.approx(deviation, rel=0.06)
    chances = np.array([draw.chances[1, 2] for draw in draws])
    share = np.array([0.5, 2.5, 0.5, 1.5]) / 5
    spread = (share * (1 - share) / 6) ** 0.5  # of a Dirichlet of 5 in all
    np.testing.assert_allclose(chances.mean(axis=0), share, atol=5 * spread.max() / 4000**0.5)
    np.testing.assert_allclose(chances.std(axis=0), spread, rtol=0.06)
    unseen = np.array([draw.rewards[1, 0, 0] for draw in draws])
    assert unseen.std() == pytest.approx(prior, rel=0.06)


def test_before_anything_is_seen_its_mean_is_the_reference() -> None:
    task = tiny_task()
    for belief in (Belief(task), CertainBelief(task, prior=5.0, noise=0.01)):
        found = evaluate_exactly(as_table(task, plan(task, belief.mean())), env_of(task))
        assert found.kl == pytest.approx(0.0, abs=1e-12)


def certain_truth(task: AutomatonTask) -> CertainModel:
    """The deterministic model that is the task's own automaton."""
    automaton, states = task.automaton, task.automaton.states
    ends = automaton.absorbing[automaton.transition]
    if task.end_token is not None:
        ends[:, task.end_token] = True
    steps = automaton.reward + np.where(ends, automaton.final_reward[automaton.transition], 0.0)
    after = np.where(ends, states, automaton.transition)
    return CertainModel(after, steps, np.append(automaton.horizon_reward, 0.0))


def small_tasks() -> dict[str, AutomatonTask]:
    """A task that pays at the end, one that pays otherwise where the horizon ends it, and one on the way."""
    known = tiny_task().automaton
    final = np.asarray(known.final_reward)
    steps = np.array([[0.0, 0.0, 0.3], [0.0, 0.2, 0.0], [0.0, 0.0, 0.0]])
    apart = RewardAutomaton(known.transition, final_reward=final + 1, horizon_reward=final)
    on_the_way = RewardAutomaton(known.transition, final_reward=final, reward=steps)
    return {
        "short": tiny_task(),
        "at the end": replace(tiny_task(), horizon=4),
        "apart": replace(tiny_task(), automaton=apart, horizon=4),
        "on the way": replace(tiny_task(), automaton=on_the_way, horizon=4),
    }


@pytest.mark.parametrize("lanes", [4, 512])
@pytest.mark.parametrize("name", ["short", "at the end", "apart", "on the way"])
def test_without_luck_the_belief_comes_to_the_truth_and_to_the_optimum(name: str, lanes: int) -> None:
    """In batches large or small; of "short" the last state is reached by last tokens alone."""
    task = small_tasks()[name]
    exact = certain_truth(task)
    found = evaluate_exactly(as_table(task, plan(task, exact)), env_of(task))
    assert found.score == pytest.approx(1.0, abs=1e-6)
    belief = CertainBelief(task, prior=5.0, noise=0.01)
    for seed in range(2048 // lanes):
        belief.learn(played(task, lanes, seed))
    for model in (belief.mean(), belief.draw(np.random.default_rng(0))):
        visited = belief.visits > 0
        np.testing.assert_array_equal(model.after[visited], exact.after[visited])
        assert visited[:2].all()
        reached = np.unique(exact.after[visited])
        np.testing.assert_allclose(model.horizon[reached], exact.horizon[reached], atol=0.02)
        found = evaluate_exactly(as_table(task, plan(task, model)), env_of(task))
        assert found.score == pytest.approx(1.0, abs=1e-3)


def test_a_state_in_which_a_text_ended_is_the_end_from_then_on() -> None:
    """Reached by a last token it was taken for one that goes on."""
    automaton = RewardAutomaton(
        np.array([[0, 1], [1, 1]]), final_reward=np.array([0.0, 1.0]), absorbing=np.array([False, True])
    )
    reference = klrl_envs.BigramReference(np.log([0.5, 0.5]), np.log(np.full((2, 2), 0.5)))
    env = klrl_envs.exact_task(reference, automaton, horizon=3, kl_coef=0.5)
    task = env.unwrapped.task  # pyright: ignore[reportAttributeAccessIssue]
    written = played(task, 64)
    late = (written.mask.sum(axis=1) == 3) & (written.actions[:, -1] == 1)
    belief = CertainBelief(task, prior=5.0, noise=0.01)
    belief.learn(some_of(written, late))
    assert belief.after[0, 1] == 1 and belief.mean().horizon[1] == pytest.approx(1.0, abs=0.01)
    belief.learn(written)
    mean = belief.mean()
    assert mean.after[0, 1] == 2 and mean.steps[0, 1] == pytest.approx(1.0, abs=0.01) and mean.horizon[1] == 0
    found = evaluate_exactly(as_table(task, plan(task, mean)), env_of(task))
    assert found.score == pytest.approx(1.0, abs=1e-3)


def some_of(written: StateEpisodes, chosen: np.ndarray) -> StateEpisodes:
    """Some of the episodes."""
    columns = {item.name: getattr(written, item.name) for item in fields(written) if item.name != "texts"}
    return StateEpisodes(**{name: column[chosen] for name, column in columns.items()}, texts=[])


def test_a_token_that_was_never_tried_is_taken_for_one_of_the_others() -> None:
    """Six tokens: 1 and 2 lead on from state 0, and 2 pays; 3 leads nowhere, 4 and 5 are unknown, 0 ends."""
    reward = np.zeros((2, 6))
    reward[0, 2] = 0.75
    automaton = RewardAutomaton(
        np.array([[0, 1, 1, 0, 0, 1], [1] * 6]), reward=reward, final_reward=np.array([0.0, 1.0])
    )
    reference = klrl_envs.BigramReference(np.log(np.full(6, 1 / 6)), np.log(np.full((6, 6), 1 / 6)))
    env = klrl_envs.exact_task(reference, automaton, horizon=3, kl_coef=0.5, end_token=0)
    task = env.unwrapped.task  # pyright: ignore[reportAttributeAccessIssue]
    belief = CertainBelief(task, prior=5.0, noise=0.01)
    written = played(task, 64)
    few = np.logical_not(np.isin(written.actions, [4, 5]).any(axis=1))
    belief.learn(some_of(written, few))
    mean = belief.mean()
    assert (mean.after[0] == [2, 1, 1, 0, UNKNOWN, UNKNOWN]).all()
    assert mean.shares is not None
    np.testing.assert_allclose(mean.shares[0], [0.5, 0.5, 0.0], err_msg="two lead on, one and the prior stay")
    np.testing.assert_allclose(mean.steps[0, 1:], [0, 0.75, 0, 0.75 / 4, 0.75 / 4], atol=1e-3)
    assert mean.steps[1, 0] == pytest.approx(1, abs=0.01), "what an end pays is its own"
    draws = [belief.draw(np.random.default_rng(seed)) for seed in range(800)]
    likes = np.array([(draw.after[0, 4], draw.steps[0, 4] > 0.5) for draw in draws])
    for kind, share in (((1, 0), 0.25), ((1, 1), 0.25), ((0, 0), 0.5)):
        assert (likes == kind).all(axis=1).mean() == pytest.approx(share, abs=0.06)
    assert np.std([draw.steps[0, 2] for draw in draws]) < 0.01
    values = np.arange(18.0).reshape(6, 3)
    worth = mean.worth(values) - mean.steps
    assert belief.draw(np.random.default_rng(0)).shares is None
    assert worth[0, 1] == values[1, 1] and worth[0, 3] == values[3, 0] and worth[1, 0] == values[0, 2]
    assert worth[0, 4] == pytest.approx(values[4, :2].mean())


@pytest.mark.slow
def test_it_learns_a_vocabulary(tmp_path: Path) -> None:
    args = BayesianArguments(env_id="klrl/Recall-v0", tokens=50_000, out=str(tmp_path), episodes=512)
    score = bayesian_policy.train(args).score_estimate
    assert score is not None and 0.9 < score <= 1.02


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "slip", "tokens", "least"),
    [("thompson", 0.0, 10_000, 0.95), ("mean", 0.0, 10_000, 0.95), ("thompson", 0.2, 40_000, 0.9)],
)
def test_it_learns_a_grid(act: str, slip: float, tokens: int, least: float, tmp_path: Path) -> None:
    args = BayesianArguments(
        env_kwargs={**SMALL_GRID, "slip": slip}, act=act, tokens=tokens, out=str(tmp_path), episodes=64
    )
    score = bayesian_policy.train(args).score_estimate
    assert score is not None and least < score <= 1 + 1e-9


def test_what_it_needs_is_said(tmp_path: Path) -> None:
    for env_id, wanted in {
        "klrl/Sentiment-v0": "needs an exact environment",
        "klrl/Dialogue-v0": "needs an environment that never writes itself",
        "klrl/Topic-v0": "needs rewards of state and token",
        "klrl/Arithmetic-v0": "a table of states knows nothing of other states, and Arithmetic-v0 has",
    }.items():
        with pytest.raises(ValueError, match=wanted):
            bayesian_policy.train(BayesianArguments(env_id=env_id, tokens=10, out=str(tmp_path)))
    large = klrl_envs.make_task("GridNavigation-v0", size=70).exact
    assert large is not None
    with pytest.raises(ValueError, match="bayesian_policy needs an environment of few states"):
        CertainBelief(large, prior=5.0, noise=0.01)
    slippery = klrl_envs.make_task("GridNavigation-v0", size=32, slip=0.1).exact
    assert slippery is not None
    with pytest.raises(ValueError, match="bayesian_policy needs an environment of few states"):
        Belief(slippery)
    with pytest.raises(ValueError, match="act must be one of thompson, mean, got 'maximum'"):
        bayesian_policy.train(BayesianArguments(act="maximum", tokens=10, out=str(tmp_path)))
