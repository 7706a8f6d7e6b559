"""What a head on an initial policy can be at best, beside the optimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import klrl_envs
from klrl_envs.optima.optimum import problem_of
from tests.oracles import evaluation_task


def test_no_head_on_the_initial_policy_of_the_diagnostic_holds_its_optimum() -> None:
    """The best policy initial exp(f(state, time)) / Z, found by exact gradients, falls short of pi*."""
    best = klrl_envs.optimum("klrl/DiagnosticReference-v0")
    task = evaluation_task("DiagnosticReference-v0")
    problem, automaton = problem_of(task), task.automaton
    assert task.initial_policy is not None and task.end_token is not None and automaton.terminal
    started = torch.tensor(task.initial_policy)[:, :, None]
    reference = torch.tensor(task.reference.rows(np.arange(task.reference.contexts)))[:, :, None]
    after = torch.tensor(automaton.transition.T)
    ended, late = (torch.tensor(each) for each in (automaton.final_reward, automaton.horizon_reward))
    ends = (torch.arange(task.vocab_size) == task.end_token)[:, None]
    head = torch.zeros(task.horizon, *after.shape, dtype=torch.float64, requires_grad=True)

    def score() -> torch.Tensor:
        values: torch.Tensor | None = None
        for time in reversed(range(task.horizon)):
            rows = (started + head[time]).log_softmax(dim=1)
            going_on = late[after] if values is None else values.gather(1, after)
            earned = torch.where(ends, ended[after], going_on) - task.kl_coef * (rows - reference)
            values = (rows.exp() * earned).sum(dim=1)
        assert values is not None
        context, state, chance = problem.starts
        objective = (values[context, state] * torch.tensor(chance)).sum()
        return (objective - best.reference_value) / (best.value - best.reference_value)

    steps = torch.optim.LBFGS([head], max_iter=400, history_size=50, line_search_fn="strong_wolfe")

    def descend() -> torch.Tensor:
        steps.zero_grad()
        loss = -100 * score()
        loss.backward()
        return loss

    assert score().item() == pytest.approx(-0.978, abs=1e-3), "where agents start"
    steps.step(descend)
    assert score().item() == pytest.approx(0.564, abs=1e-3)
