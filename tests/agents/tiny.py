"""A task so small that every text can be counted, and what agents are worth on it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import klrl_envs
from agents.networks.hindsight import Hindsight
from agents.networks.residual import ResidualPolicy
from agents.networks.trajectories import Trajectories, make_engine
from klrl_envs import AutomatonTask, Engine, observer_of
from klrl_envs.optima.dynamic_programme import solve

SMALL_GRID = {"size": 4, "horizon": 12}

MODEL_BASED: dict[str, Any] = {"batch": 16, "minibatch": 8, "unpaid_updates": 2, "imitation_batches": 2}
"""Of the model-based agent, as quick as it can be."""


def tiny_task() -> AutomatonTask:
    """Three tokens, two steps; the reward counts token 2, and token 0 ends the text."""
    reference = klrl_envs.BigramReference(
        np.log([0.2, 0.5, 0.3]), np.log([[0.3, 0.4, 0.3], [0.1, 0.6, 0.3], [0.25, 0.25, 0.5]])
    )
    automaton = klrl_envs.RewardAutomaton(
        np.array([[0, 0, 1], [1, 1, 2], [2, 2, 2]]), final_reward=np.array([0.0, 0.5, 1.0])
    )
    env = klrl_envs.exact_task(reference, automaton, horizon=2, kl_coef=0.5, end_token=0)
    return env.unwrapped.task  # pyright: ignore[reportAttributeAccessIssue]


def tilted_policy(task: AutomatonTask) -> ResidualPolicy:
    """A policy away from the reference."""
    torch.manual_seed(3)
    policy = ResidualPolicy(task, width=8)
    torch.nn.init.normal_(policy.actor[-1].weight, std=0.5)  # type: ignore[arg-type]
    return policy


def exact_objective(policy: torch.nn.Module, task: AutomatonTask) -> torch.Tensor:
    """J / kl_coef of a policy by enumeration of every text, differentiable."""
    total = torch.zeros(())
    observer = observer_of(task, features=True)
    for text in itertools.product(range(3), repeat=2):
        written = text[:1] if text[0] == 0 else text
        if len(written) == 1 and text[1] != 0:
            continue
        engine = Engine(task, 1)
        engine.seed(0, np.random.default_rng(0))
        engine.reset(np.zeros(1, dtype=np.int64))
        log_pi, log_pi0, reward = torch.zeros(()), 0.0, 0.0
        for token in written:
            features = torch.from_numpy(observer.observe(engine))
            log_pi = log_pi + policy(features)[0, token]
            result = engine.step(np.array([token]))
            log_pi0 += float(result.reference_log_prob[0])  # type: ignore[index]
            reward += float(result.reward[0])
        total = total + log_pi.exp() * (reward / task.kl_coef - (log_pi - log_pi0))
    return total


def gradient_of(policy: ResidualPolicy) -> torch.Tensor:
    """Of the policy's weights, in a row."""
    return torch.cat([weight.grad.flatten() for weight in policy.actor.parameters()])  # type: ignore[union-attr]


def weighted_texts(policy: ResidualPolicy) -> tuple[Trajectories, torch.Tensor]:
    """Each text of ``tiny_task`` once, and their probabilities under a policy, [7]."""
    found = every_text(policy)
    return found, found.log_probs.sum(1).exp()


def cut_short(task: AutomatonTask, texts: Trajectories) -> Trajectories:
    """The texts, cut wherever they can be; some are shorter."""
    hindsight = Hindsight(task, 1.0)
    hindsight.learn(texts)
    shorter = hindsight.cut(texts, np.random.default_rng(0))
    assert int(shorter.mask.sum()) < int(texts.mask.sum())
    return shorter


def expected_gradient(
    policy: ResidualPolicy, probabilities: torch.Tensor, add: Callable[[torch.Tensor], object]
) -> torch.Tensor:
    """The mean over texts of the gradient that ``add`` gives the policy for the text of an index [1]."""
    total = torch.zeros(())
    for place, probability in enumerate(probabilities):
        policy.zero_grad()
        add(torch.tensor([place]))
        total = total + probability * gradient_of(policy)
    return total


def random_critic(policy: ResidualPolicy) -> None:
    """Give a policy's critic numbers that mean nothing."""
    torch.manual_seed(5)
    torch.nn.init.normal_(policy.critic[-1].weight, std=1.0)  # type: ignore[arg-type]


def solution_of(task: AutomatonTask) -> Any:
    """The exact solution of the task."""
    return solve(
        task.reference, task.automaton, horizon=task.horizon, end_token=task.end_token, kl_coef=task.kl_coef
    )


class OptimalResidual(torch.nn.Module):
    """What each token leads to at the optimum, nats, as a table [time, state, token]: a ``ResidualPolicy``
    whose f it is has logits log pi0 + f and the value log sum exp(logits).
    """

    def __init__(self, task: AutomatonTask, solution: Any) -> None:
        super().__init__()
        self.states = torch.from_numpy(task.state_features)
        horizon, states = task.horizon, len(self.states)
        # NaN where no text leads: to read it there would spoil every gradient
        table = torch.full((horizon, states, task.vocab_size), torch.nan)
        for time, reached in enumerate(solution.problem.reached):
            at = np.zeros_like(reached), reached, np.full_like(reached, time)
            value = solution.values(*at)[:, None] / task.kl_coef
            residual = solution.log_probs(*at) - task.reference.rows(np.zeros(1, dtype=np.int64)) + value
            table[time, reached] = torch.from_numpy(residual).float()
        self.table = torch.nn.Parameter(table)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """f [..., V] of inputs [..., D]."""
        features = self.states.shape[1]
        state = (inputs[..., None, :features] - self.states).abs().sum(-1).argmin(-1)
        return self.table[((1 - inputs[..., features]) * len(self.table)).round().long(), state]


def optimal_policy(task: AutomatonTask) -> ResidualPolicy:
    """A policy that is pi*, and whose critic adds nothing."""
    policy = ResidualPolicy(task, width=8)
    policy.actor = OptimalResidual(task, solution_of(task))  # type: ignore[assignment]
    return policy


EVERY_TEXT = np.array([[0, 0], [1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2]])
"""All texts of ``tiny_task``; the first ends with its first token."""


def every_text(policy: ResidualPolicy) -> Trajectories:
    """Each text of ``tiny_task`` once, as a policy reads it."""
    engine = make_engine(policy.task, len(EVERY_TEXT), 0)
    prompts = np.zeros(len(EVERY_TEXT), dtype=np.int64)
    return policy.write(engine, prompts, torch.Generator().manual_seed(0), EVERY_TEXT)


def text_log_probs(policy: ResidualPolicy) -> torch.Tensor:
    """log pi of each of them, differentiable."""
    return policy.scores(every_text(policy), torch.arange(len(EVERY_TEXT)))[0].sum(1)


def optimal_log_probs(policy: ResidualPolicy) -> torch.Tensor:
    """log pi* of each of them, by enumeration."""
    texts = every_text(policy)
    tilted = texts.log_probs - texts.log_ratios + texts.rewards / policy.task.kl_coef
    return tilted.sum(1).log_softmax(0)


def forward_kl(policy: ResidualPolicy) -> torch.Tensor:
    """KL(pi* || pi) by enumeration, differentiable, nats."""
    best = optimal_log_probs(policy)
    return (best.exp() * (best - text_log_probs(policy))).sum()


def reverse_kl(policy: ResidualPolicy) -> float:
    """KL(pi || pi*) by enumeration, nats."""
    with torch.no_grad():
        own = text_log_probs(policy)
        return float((own.exp() * (own - optimal_log_probs(policy))).sum())
