"""Tasks whose environment writes itself: the optimum against every history, written out."""

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs.optima.forward import final_states
from klrl_envs.optima.terminal_law import has_law, terminal_law
from tests.oracles import Instance, every_lane
from tests.talk import enumerated, outcomes, talkative

SEEDS = range(60)


def instances(**kinds: bool) -> list[Instance]:
    return [task for task in (talkative(seed, **kinds) for seed in SEEDS) if task is not None]


@pytest.mark.parametrize("kinds", [{}, {"terminal": True}, {"peaked": True}, {"context_reward": True}])
def test_optimum_is_that_of_every_history(kinds: dict[str, bool]) -> None:
    tasks = instances(**kinds)
    assert len(tasks) > 20
    for task in tasks:
        solution = task.solve()
        found = (solution.value, solution.expected_reward, solution.kl, solution.reference_value)
        np.testing.assert_allclose(found, enumerated(task), atol=1e-10, rtol=1e-10, err_msg=str(task))


def test_optimal_rows_reach_the_value_whatever_the_history() -> None:
    for task in instances():
        solution = task.solve()

        def row(history: tuple[int, ...], state: int, time: int, *, task=task, solution=solution):
            return solution.log_probs([task.context(history)], [state], [time])[0]

        value, reward, kl, _ = enumerated(task, row)
        np.testing.assert_allclose(
            (value, reward, kl), (solution.value, solution.expected_reward, solution.kl), atol=1e-9
        )


def test_forward_passes_agree_with_the_histories() -> None:
    for task in instances():
        rng = np.random.default_rng(1)
        logits = rng.normal(size=(task.reference.contexts, task.automaton.states, 3, task.tokens))
        rows = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        own = task.evaluate(lambda context, state, time, rows=rows: rows[context, state, time])
        known = enumerated(
            task, lambda history, state, time, task=task, rows=rows: rows[task.context(history), state, time]
        )
        found = (own.objective, own.expected_reward, own.kl)
        np.testing.assert_allclose(found, known[:3], atol=1e-10, rtol=1e-10)
        assert own.final_states.sum() == pytest.approx(1.0, abs=1e-12)
        solution = task.solve()
        ideal = task.evaluate(solution.log_probs)
        assert ideal.objective == pytest.approx(solution.value, abs=1e-9)
        np.testing.assert_allclose(ideal.final_states, final_states(task.problem, solution), atol=1e-12)


def test_values_and_rows_belong_together() -> None:
    """V_t is the soft maximum of what the rows say: log pi* - log pi0 = (X - V) / kl_coef sums to one."""
    for task in instances():
        solution = task.solve()
        lanes = every_lane(solution)
        rows = solution.log_probs(*lanes)
        np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1.0, atol=1e-12)
        assert np.isfinite(solution.values(*lanes)).all()


def test_replies_that_are_certain_keep_the_law() -> None:
    seen = 0
    for task in instances(terminal=True):
        if not task.automaton.deterministic:
            with pytest.raises(ValueError, match="needs an automaton without"):
                terminal_law(task.problem)
            continue
        law = terminal_law(task.problem)
        value, reward, kl = law.optimum(task.kl_coef)
        np.testing.assert_allclose((value, reward, kl, law.reference_value), enumerated(task), atol=1e-9)
        seen += has_law(task.problem)
    assert seen > 1


def test_luck_is_no_choice() -> None:
    """With replies at random J* is below kl_coef log Z, which would let the agent choose its luck."""
    below = 0
    for task in instances():
        solution = task.solve()

        def log_z(history, state: int, time: int, task=task) -> float:
            terms = []
            for token in range(task.tokens):
                for chance, text, after in outcomes(task, task.transition[state][token]):
                    now = task.reward[state][token] + task.own_reward(history, token)
                    if token == task.end_token or task.absorbing[after]:
                        later = task.final[after] / task.kl_coef
                    elif time + 1 == task.horizon:
                        later = task.at_horizon[after] / task.kl_coef
                    else:
                        later = log_z((*history, token, *text), after, time + 1)
                    terms.append(task.log_prob(history, token) + np.log(chance) + now / task.kl_coef + later)
            return float(np.logaddexp.reduce(terms))

        known = 0.0
        for state in np.flatnonzero(task.automaton.start).tolist():
            for chance, text, after in outcomes(task, state):
                known += float(task.automaton.start[state]) * chance * log_z(text, after, 0)
        assert solution.value <= task.kl_coef * known + 1e-9
        below += solution.value < task.kl_coef * known - 1e-6
    assert below > 10
