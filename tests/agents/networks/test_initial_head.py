"""A head on an initial policy: what it keeps of that is trained, and why."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import klrl_envs
from agents.networks.residual import ResidualPolicy
from klrl_envs.optima.optimum import problem_of
from tests.oracles import evaluation_task


def test_scores_and_their_slopes_are_those_of_rows_written_out() -> None:
    torch.manual_seed(0)
    task = evaluation_task("DiagnosticReference-v0")
    policy = ResidualPolicy(task)
    generator = torch.Generator().manual_seed(0)
    prompts = np.zeros(8, dtype=np.int64)
    trajectories = policy.write(policy.engine(task, 8, seed=0), prompts, generator)
    with torch.no_grad():
        policy.kept.fill_(0.4)
        for weight in policy.actor.parameters():
            weight.add_(torch.randn_like(weight) / 4)
    assert trajectories.visited is not None and task.initial_policy is not None
    mask, visited = trajectories.mask, trajectories.visited
    context, actions = visited.context[mask], trajectories.actions[mask]
    reference = torch.tensor(task.reference.rows(np.arange(task.reference.contexts)))
    change = torch.tensor(task.initial_policy) - reference
    residual = policy.actor(visited.inputs[visited.state[mask]]).double()
    logits = reference[context] + policy.kept * change[context] + residual
    rows = logits.log_softmax(dim=-1)
    expected = (
        rows.gather(1, actions[:, None]).squeeze(1),
        (rows.exp() * (rows - reference[context])).sum(dim=-1),
        logits.logsumexp(dim=-1),
    )
    found = policy.scores_and_levels(trajectories, torch.arange(8))
    weights = policy.actor_weights()
    for ours, theirs in zip((each[mask] for each in found), expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=1e-5)
        slopes, wanted = (
            torch.autograd.grad(each.double().square().sum(), weights, retain_graph=True)
            for each in (ours, theirs)
        )
        for one, other in zip(slopes, wanted, strict=True):
            torch.testing.assert_close(one, other, atol=1e-2, rtol=1e-3)
    assert weights[-1] is policy.kept


def test_who_kept_all_of_the_initial_policy_would_fall_short_of_the_optimum() -> None:
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
