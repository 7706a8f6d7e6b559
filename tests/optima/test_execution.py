"""Tasks whose automaton reads another token than the one chosen."""

from __future__ import annotations

import numpy as np

from klrl_envs.reward.automaton import RewardAutomaton
from tests.oracles import Instance, draw, every_lane, starts


def soft_bellman(task: Instance, tokens: tuple[int, ...], state: int) -> tuple[float, float, float, float]:
    """(V, E*[r], KL*, E_0[r]) to go of a history, luck averaged inside the soft maximum."""
    choices = []
    for token in range(task.tokens):
        outcome = [0.0, 0.0, 0.0, 0.0]
        for executed, chance in enumerate(task.execution[token]):
            after = task.transition[state][executed]
            now = task.reward[state][executed]
            later = (0.0, 0.0, 0.0, 0.0)
            if token == task.end_token or task.absorbing[after]:
                now += task.final[after]
            elif len(tokens) + 1 == task.horizon:
                now += task.at_horizon[after]
            else:
                later = soft_bellman(task, (*tokens, token), after)
            for place, value in enumerate((now + later[0], now + later[1], later[2], now + later[3])):
                outcome[place] += chance * value
        choices.append((task.log_prob(tokens, token), *outcome))
    weight, soft, reward, kl, linear = np.array(choices).T
    tilted = weight + soft / task.kl_coef
    log_z = float(np.logaddexp.reduce(tilted))
    log_policy = tilted - log_z
    policy, reference = np.exp(log_policy), np.exp(weight)
    return (
        task.kl_coef * log_z,
        float(policy @ reward),
        float(policy @ (log_policy - weight + kl)),
        float(reference @ linear),
    )


def test_stochastic_execution_equals_the_soft_bellman_tree():
    for seed in range(40):
        task = draw(seed, execution=True)
        solution = task.solve()
        known = np.zeros(4)
        for state, chance in starts(task):
            known += chance * np.array(soft_bellman(task, (), state))
        found = (solution.value, solution.expected_reward, solution.kl, solution.reference_value)
        np.testing.assert_allclose(found, known, atol=1e-10, err_msg=str(task))


def test_execution_of_the_chosen_token_is_no_execution():
    for seed in range(20):
        task = draw(seed)
        sure = RewardAutomaton(
            task.automaton.transition,
            task.automaton.reward,
            task.automaton.final_reward,
            task.automaton.start,
            absorbing=task.automaton.absorbing,
            horizon_reward=task.automaton.horizon_reward,
            execution=np.eye(task.automaton.vocab_size),
        )
        plain = task.solve()
        other = Instance(task.reference, sure, task.horizon, task.end_token, task.kl_coef).solve()
        lanes = every_lane(plain)
        np.testing.assert_allclose(other.values(*lanes), plain.values(*lanes), atol=1e-12)
        np.testing.assert_allclose(other.log_probs(*lanes), plain.log_probs(*lanes), atol=1e-12)
