"""The plain gradient's flow, against texts written out."""

from __future__ import annotations

import numpy as np

from benchmarks.claims import gradient_flow
from klrl_envs.optima.forward import evaluate_markov
from tests.benchmarks.studies.signals import Signal, k1_in_the_reward
from tests.benchmarks.studies.texts import Array, draw, written_out
from tests.oracles import Instance


def weights(task: Instance, seed: int) -> list[Array]:
    """log pi - log pi0 of a random policy, for each time [C, V, Q_t]."""
    rng = np.random.default_rng(seed)
    rows = task.reference.rows(np.arange(task.reference.contexts))[:, :, None]
    found = []
    for states in task.problem.reached:
        moved = rows + rng.normal(size=(*rows.shape[:2], states.size))
        found.append(moved - np.log(np.exp(moved).sum(axis=1, keepdims=True)) - rows)
    return found


def test_a_visit_has_the_gradient_and_the_numbers_of_all_texts() -> None:
    for seed in range(6):
        task = draw(seed)
        texts, tilted = written_out(task), weights(task, seed)
        found = gradient_flow.visit(task.problem, tilted, task.kl_coef)
        place = [
            task.problem.places[time][state] for time, state in zip(texts.times, texts.states, strict=True)
        ]
        at = list(zip(texts.times, texts.contexts, place, strict=True))
        rows = np.array([tilted[time][context, :, q] for time, context, q in at])
        rows = rows + task.reference.rows(texts.contexts)
        signal = Signal(texts, rows, task)
        known = signal.gradient(k1_in_the_reward(signal))
        gradient = np.array([found.gradients[time][context, :, q] for time, context, q in at])
        mass = np.array([found.occurs[time][context, :, q].sum() for time, context, q in at])
        np.testing.assert_allclose(gradient / mass[:, None], known, atol=1e-10)

        def policy(context: Array, state: Array, time: Array) -> Array:
            lanes = zip(context, state, time, strict=True)
            own = [tilted[t][c, :, task.problem.places[t][q]] for c, q, t in lanes]  # noqa: B023
            return np.array(own) + task.reference.rows(context)  # noqa: B023

        value = evaluate_markov(task.problem, policy, kl_coef=task.kl_coef)
        np.testing.assert_allclose((found.objective, found.kl), (value.objective, value.kl), atol=1e-10)
        np.testing.assert_allclose(found.final_states, value.final_states, atol=1e-12)


def test_the_flow_climbs_from_pi0_and_shared_logits_are_shared() -> None:
    task = draw(2)
    for logits in (gradient_flow.free(task.problem), gradient_flow.shared(task.problem)):
        way = gradient_flow.flow(task.problem, task.kl_coef, logits, steps=12)
        assert way[0].kl == 0 and len(way) > 3
        assert (np.diff([one.objective for one in way]) > 0).all()
    gradients = gradient_flow.visit(task.problem, weights(task, 0), task.kl_coef).gradients
    tied = gradient_flow.shared(task.problem)(gradients)
    assert all(np.ptp(one, axis=0).max() == 0 for one in tied)
