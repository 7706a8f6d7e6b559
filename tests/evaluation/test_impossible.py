"""Policies that bend the number: each is refused, or marked, and honest ones are not."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportOptionalOperand=false, reportOperatorIssue=false

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from klrl_envs import (
    ImpossibleEvaluation,
    RejectionSampler,
    RewardAutomaton,
    UniformReference,
    evaluate,
    evaluation_task,
    exact_task,
    optimal_policy,
    optimum,
)
from klrl_envs.evaluation.assess import check, estimates_of
from klrl_envs.evaluation.evaluate import is_optimal, sampled_numbers
from klrl_envs.evaluation.impossible import freedman, refuse_foreknowledge, refuse_negative_kl
from klrl_envs.evaluation.rollout import roll_out
from klrl_envs.evaluation.seeds import evaluation_stream
from klrl_envs.policies import OptimalPolicy
from klrl_envs.reference.rows import TokenRows
from tests.oracles import RandomPolicy, random_env

TOKENS, HORIZON, TARGET, PRICE, EPISODES = 50, 8, 10, 0.1, 512


def target_env():
    """Uniform texts of 8 of 50 tokens; each time one of them is written pays 1/8."""
    reward = np.zeros((1, TOKENS))
    reward[0, TARGET] = 1 / HORIZON
    automaton = RewardAutomaton(np.zeros((1, TOKENS), dtype=int), reward)
    return exact_task(UniformReference(TOKENS), automaton, horizon=HORIZON, kl_coef=PRICE)


class Foreseeing:
    """Knows the uniform numbers by which an evaluation with this seed draws tokens, by inverse CDF.

    In a share of its episodes it moves its mass so that the draw falls on the token that pays. With little
    mass on that token it pays next to no KL, and M shows it; ``hidden``: with as much as keeps log pi - log
    pi0 of it at the KL of the row, so that M = 0. That costs a nat or so, where certainty costs log 50 = 3.9.
    """

    def __init__(self, seed: int, share: float, *, hidden: bool) -> None:
        self.stream = evaluation_stream(seed, 1)
        self.tricked = int(share * EPISODES)
        self.hidden = hidden

    def log_probs(self, observations):
        rows = np.full((len(observations), TOKENS), -np.log(TOKENS))
        if len(observations) == EPISODES:
            drawn = self.stream.random(EPISODES)
            for lane in range(self.tricked):
                rows[lane] = self.row(drawn[lane])
        return rows

    def row(self, drawn: float):
        def mass(own: float):
            row = np.empty(TOKENS)
            row[:TARGET] = drawn * (1 - own) / TARGET
            row[TARGET] = own
            row[TARGET + 1 :] = (1 - drawn) * (1 - own) / (TOKENS - TARGET - 1)
            return np.maximum(row, 1e-300)

        def excess(own: float) -> float:
            logs = np.log(mass(own) * TOKENS)
            return float(logs[TARGET] - mass(own) @ logs)

        own = brentq(excess, 1 / TOKENS, 0.999) if self.hidden else 1e-3
        return np.log(mass(own) / mass(own).sum())


def sampled_score(policy, seed: int) -> float:
    """The score of a policy as a task without a solver would have it: from its episodes alone."""
    env = target_env()
    task, best = env.unwrapped.task, optimum(env)
    sampled = roll_out(policy, task, episodes=EPISODES, seed=seed)
    refuse_foreknowledge(sampled)
    estimates = estimates_of(sampled, task, best)
    check(estimates, sampled, task, best)
    return sampled_numbers(estimates, sampled, task, best)["score"].estimate


def test_who_replays_the_draw_is_seen_by_the_alarm():
    with pytest.raises(ImpossibleEvaluation, match="knew the draw"):
        sampled_score(Foreseeing(5, 0.06, hidden=False), seed=5)
    with pytest.raises(ImpossibleEvaluation, match="knew the draw"):
        evaluate(Foreseeing(5, 1.0, hidden=False), target_env(), episodes=EPISODES, seed=5)


def test_the_alarm_is_no_defence_and_a_fresh_seed_is():
    """M = 0 and J below J*: nothing shows but where the randomness came from."""
    cheap = Foreseeing(5, 1.0, hidden=True)
    costs = [float(np.exp(row) @ (row + np.log(TOKENS))) for row in map(cheap.row, (0.1, 0.3, 0.5, 0.7, 0.9))]
    assert np.mean(costs) < 1.5 < np.log(TOKENS)
    assert sampled_score(Foreseeing(5, 0.06, hidden=True), seed=5) > 0.6, "the public seed is beaten, unseen"
    fresh = [evaluate(Foreseeing(5, 0.06, hidden=True), target_env(), episodes=EPISODES) for _ in range(5)]
    assert all(each.fresh and each.score.estimate < 0 for each in fresh), (
        "its trick costs KL and wins nothing"
    )
    assert len({each.seed for each in fresh}) == 5


def test_a_given_seed_is_told():
    assert not evaluate("uniform", target_env(), episodes=8, seed=1).fresh
    drawn = evaluate("uniform", target_env(), episodes=8)
    again = evaluate("uniform", target_env(), episodes=8, seed=drawn.seed)
    assert drawn.fresh and again.metrics == drawn.metrics and again.seed == drawn.seed


def test_a_seed_of_training_is_not_that_of_evaluation():
    first = evaluation_stream(3, 0).random(8)
    assert not np.isin(first, np.random.default_rng(3).random(1000)).any()
    assert not np.isin(first, evaluation_stream(3, 1).random(1000)).any()


class OneText:
    """Always one text, said to be as likely as under pi0: scores 4.93 on Sentiment, if it is believed."""

    def __init__(self, env, claim: float = 0.0) -> None:
        self.task, self.claim = env.unwrapped.task, claim

    def sample(self, prompts, rng):
        tokens = np.full((len(prompts), HORIZON), TARGET)
        return tokens, np.full(len(prompts), -HORIZON * np.log(TOKENS) + self.claim)


def test_one_text_that_claims_no_kl_is_refused():
    env = target_env()
    with pytest.raises(ImpossibleEvaluation, match="objective J is 1, above"):
        evaluate(OneText(env), env, episodes=64)
    with pytest.raises(ImpossibleEvaluation, match="negative KL"):
        evaluate(OneText(env, -3.0), env, episodes=64)


def test_log_probs_of_its_own_are_self_reported():
    env = target_env()
    honest = evaluate(OneText(env, HORIZON * np.log(TOKENS)), env, episodes=64)
    assert honest.log_probs == "self-reported" and honest.score.estimate < 0
    assert evaluate("uniform", env, episodes=8).log_probs == "checked"


def test_only_the_librarys_own_rejection_is_believed():
    task = evaluation_task("klrl/Sentiment-v0")
    best = optimum("klrl/Sentiment-v0")
    log_partition = best.log_partition
    own, forged = optimal_policy(task, best), RejectionSampler(task, log_partition + 0.5)
    assert is_optimal(own, best) and not is_optimal(forged, best)


class TwoFaced:
    """pi* where it is asked about all states, pi0 in its episodes."""

    def __init__(self, env) -> None:
        self.task = env.unwrapped.task
        self.best = optimum(env).policy

    def state_log_probs(self, context, state, time):
        if len(context) > EPISODES // 2:
            return self.task.reference.rows(context)
        return self.best.log_probs(context, state, time)


def test_what_is_computed_must_be_what_is_done():
    env = random_env(3, kl_coef=0.3)
    with pytest.raises(ImpossibleEvaluation, match="over all states"):
        evaluate(TwoFaced(env), env, episodes=EPISODES)


def test_a_wrong_optimum_cannot_hide():
    """Regret and optimum come from one solver: rewards and KL, which do not, contradict it."""
    env = random_env(3, kl_coef=0.3)
    task, best = env.unwrapped.task, optimum(env)
    policy = RandomPolicy(task, 4)
    other = replace(best.policy, kl_coef=0.3)
    sampled = roll_out(policy, task, episodes=4096, seed=1, other=OptimalPolicy(other))
    check(estimates_of(sampled, task, best), sampled, task, best)
    wrong = replace(best, value=best.value + 0.05 * best.gap)
    with pytest.raises(ImpossibleEvaluation, match="J from rewards and KL"):
        check(estimates_of(sampled, task, wrong), sampled, task, wrong)


def test_a_point_above_the_frontier_is_refused():
    """A KL that is reported too small by a little, at a price where J is below J*."""
    env = random_env(3, kl_coef=0.3)
    task, best = env.unwrapped.task, optimum(env)
    solution = OptimalPolicy(best.policy)
    sampled = roll_out(solution, task, episodes=4096, seed=1)
    check(estimates_of(sampled, task, best), sampled, task, best)
    shifted = replace(sampled, kl=sampled.kl * 0.8, log_ratio=sampled.log_ratio * 0.8)
    with pytest.raises(ImpossibleEvaluation, match="above"):
        check(estimates_of(shifted, task, best), shifted, task, best)


@pytest.mark.parametrize("seed", range(20))
def test_honest_policies_pass(seed: int):
    """Near and far from pi0, with few episodes and many: no alarm."""
    env = random_env(seed, kl_coef=0.3)
    policy = RandomPolicy(env.unwrapped.task, seed + 100, spread=[0.1, 1.0, 4.0][seed % 3])
    for episodes in (2, 16, 512):
        evaluate(policy, env, episodes=episodes, seed=seed)


def test_the_alarm_bounds_a_martingale():
    """Freedman's bound against sums of skewed steps with known variance: far more often inside than 1e-5."""
    rng = np.random.default_rng(0)
    chance, step = 1e-3, 5.0
    sums = (rng.binomial(1000, chance, size=200_000) - 1.0) * step
    limit = freedman(1000 * chance * (1 - chance) * step**2, step)
    assert np.abs(sums).max() < limit < 40 * np.sqrt(1000 * chance) * step


def test_negative_kls_of_true_log_probs_pass():
    """A fair coin that says so: l is 0 but for rounding, and never refused."""
    env = target_env()
    sampled = roll_out(OneText(env, 0.0), env.unwrapped.task, episodes=64, seed=0)
    refuse_negative_kl(sampled)
    with pytest.raises(ImpossibleEvaluation):
        refuse_negative_kl(replace(sampled, log_ratio=sampled.log_ratio - 1.0))
    refuse_negative_kl(replace(sampled, log_ratio=sampled.log_ratio - 1.0, kind="lower"))


class Agreeing:
    """Equal to everything, and uniform."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other):
        return True

    def state_log_probs(self, context, state, time):
        return np.full((len(context), 4), -np.log(4))


def test_who_is_equal_to_a_name_is_not_that_policy():
    honest = evaluate("uniform", "klrl/GridNavigation-v0", episodes=64)
    assert evaluate(Agreeing(), "klrl/GridNavigation-v0", episodes=64).score == honest.score


def test_who_hands_over_the_optimum_with_other_answers_gets_the_optimum():
    env = random_env(3, kl_coef=0.3)
    policy = OptimalPolicy(optimum(env).policy)
    asked = []
    policy.state_log_probs = lambda context, state, time: asked.append(1)
    assert evaluate(policy, env, episodes=16).score.estimate == pytest.approx(1) and not asked


class Rewriting:
    """pi0 that moves the states it is shown to another one, in place."""

    def __init__(self, env) -> None:
        self.task = env.unwrapped.task

    def state_log_probs(self, context, state, time):
        rows = self.task.reference.rows(context)
        context[:], state[:], time[:] = 0, 0, 0
        return rows


def test_states_that_a_policy_is_shown_are_its_own_copies():
    env = random_env(3, kl_coef=0.3)
    rewritten, honest = evaluate(Rewriting(env), env, episodes=16), evaluate("reference", env)
    # computed over all states, in another order of sums
    assert rewritten.objective.estimate == pytest.approx(honest.objective.estimate, abs=1e-12)


class Moody(np.ndarray):
    """An array that answers the library's questions as it likes."""

    def __array_ufunc__(self, *inputs, **kwargs):
        raise AssertionError("the library asked the policy's own array")


def test_rows_are_copied_to_plain_arrays():
    rows = np.full((8, 4), -np.log(4)).view(Moody)
    assert type(TokenRows(rows, (8, 4)).rows) is np.ndarray


def test_log_prob_kinds_are_plain_words():
    class Word(str):
        __slots__ = ()

    env = target_env()
    policy = OneText(env)
    policy.log_prob_kind = Word("lower")
    with pytest.raises(ValueError, match="log_prob_kind must be one of"):
        evaluate(policy, env, episodes=16)


@pytest.mark.parametrize("seed", range(12))
def test_lucky_starts_are_no_alarm(seed: int):
    """pi* on a grid of random starts with a short horizon: few episodes start well, and nothing is wrong."""
    for episodes in (8, 16, 32):
        evaluate("optimal", "klrl/GridNavigation-v0", episodes=episodes, seed=seed, horizon=8)
