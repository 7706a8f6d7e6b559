"""What the torch agents share that is no algorithm: a policy for each kind of task, and their average.

Both start at the reference: the logits are log pi0(.|s) plus a residual that is zero at first. Where the task
names an initial policy they start there, and the residual is the difference.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from agents.networks.episodes import Episodes, Writer, residual_scores
from agents.networks.heads import TextLanes, TextPolicy
from klrl_envs.envs.engine import Engine
from klrl_envs.envs.observation import observer_of
from klrl_envs.policies import LanesPolicy, TorchPolicy
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import Task
from klrl_envs.tasks.text_task import TextTask

TIME_WAVES = 8


class ResidualPolicy(nn.Module):
    """Exact tasks: logits = log pi0(.|s) + f(automaton state, time), from the features id's observation.

    That is all that the optimum needs: its residual is the value that a token leads to, over kl_coef,
    and the n-gram context matters through pi0 alone, unless the reward looks at the context itself
    (Topic-v0): there the best policy of this form is not quite the optimum.

    The same identity gives the critic, in nats: with logits log pi0 + f, what is still to come is
    log sum exp(logits) + v(automaton state, time), and v = 0 at the optimum of f. Before the present step's
    own KL is paid, that KL comes on top. Where the task names an initial policy, f is log of it less log pi0
    at first: the inputs [..., D] then hold that difference, too.

    Args:
        task: an exact task.
        width: of the two hidden layers.
    """

    def __init__(self, task: AutomatonTask, width: int = 128) -> None:
        super().__init__()
        self.task = task
        self.features = task.state_features.shape[1]
        self.starts_elsewhere = task.initial_policy is not None
        self.inputs = inputs = self.features + 1 + TIME_WAVES
        self.actor = nn.Sequential(
            nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(),
            nn.Linear(width, task.vocab_size),
        )  # fmt: skip
        self.critic = nn.Sequential(
            nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
        )
        for network in (self.actor, self.critic):
            nn.init.zeros_(cast(nn.Linear, network[-1]).weight)
            nn.init.zeros_(cast(nn.Linear, network[-1]).bias)

    def actor_weights(self) -> list[nn.Parameter]:
        """What the policy's gradient trains."""
        return list(self.actor.parameters())

    def critic_weights(self) -> list[nn.Parameter]:
        """What the critic's regression trains."""
        return list(self.critic.parameters())

    def forward(self, observations: Tensor) -> Tensor:
        """log pi [..., V], nats, of features [..., D]."""
        return self.logits(observations).log_softmax(dim=-1)

    def logits(self, observations: Tensor) -> Tensor:
        """log pi0 + f [..., V], nats, of features [..., D]."""
        return self.reference_rows(observations) + self.residual(self.encode(observations))

    def reference_rows(self, observations: Tensor) -> Tensor:
        """log pi0 [..., V] of features [..., D]."""
        return observations[..., self.features + 1 :][..., : self.task.vocab_size]

    def residual(self, inputs: Tensor) -> Tensor:
        """f [..., V] of encoded features."""
        change = self.actor(inputs[..., : self.inputs])
        return change + inputs[..., self.inputs :] if self.starts_elsewhere else change

    def correction(self, inputs: Tensor) -> Tensor:
        """v [..., 1] of encoded features."""
        return self.critic(inputs[..., : self.inputs])

    def encode(self, observations: Tensor) -> Tensor:
        """Automaton state and time, the time left also as waves; then f at first, where that is not zero."""
        state = observations[..., : self.features + 1]
        waves = torch.arange(1, TIME_WAVES + 1, device=state.device) * math.pi
        parts = [state, torch.cos(state[..., -1:] * waves)]
        if self.starts_elsewhere:
            parts.append(observations[..., -self.task.vocab_size :] - self.reference_rows(observations))
        return torch.cat(parts, dim=-1)

    def scores(self, episodes: Episodes, index: Tensor) -> tuple[Tensor, Tensor]:
        """log pi of the tokens taken and exact KL, each [n, T], of the episodes ``index`` [n]."""
        inputs = episodes.inputs[index][episodes.mask[index]]
        return residual_scores(episodes, index, self.residual(inputs))

    def values(self, episodes: Episodes, index: Tensor) -> Tensor:
        """What is still to come [n, T], nats, as the critic has it."""
        return episodes.base[index] + self.correction(episodes.inputs[index]).squeeze(-1)

    @torch.no_grad()
    def write(self, engine: Engine, prompts: NDArray[Any], generator: torch.Generator) -> Episodes:
        """An episode in each lane [N] of an engine."""
        writer = Writer(engine, prompts, generator.device)
        observer = observer_of(self.task, features=True)
        while not engine.done.all():
            observations = torch.from_numpy(observer.observe(engine)).to(generator.device)
            inputs, reference = self.encode(observations), self.reference_rows(observations)
            writer.step(inputs, reference, self.residual(inputs), None, generator)
        return writer.episodes()


Policy = ResidualPolicy | TextPolicy


def make_policy(task: Task, *, critic: bool = True) -> Policy:
    """The policy that fits a task, for an algorithm with a critic or without."""
    if isinstance(task, AutomatonTask):
        return ResidualPolicy(task)
    assert isinstance(task, TextTask)
    return TextPolicy(task, critic=critic)


def load_policy(task: Task, folder: str | Path) -> Policy:
    """The policy that ``agents.ppo`` or ``agents.reinforce`` left in its folder, as policy.safetensors."""
    weights = load_file(Path(folder) / "policy.safetensors")
    policy = make_policy(task, critic=any(name.startswith("critic.") for name in weights))
    policy.load_state_dict(weights)
    return policy


def for_evaluation(policy: Policy, task: Task) -> tuple[Any, bool]:
    """The policy on the CPU as ``klrl_envs.evaluate`` takes it, and whether it reads the features id.

    Args:
        task: on the evaluation prompts.
    """
    policy = policy.to("cpu").eval()
    if isinstance(policy, ResidualPolicy):
        return TorchPolicy(policy, "log_probs"), True
    return LanesPolicy(lambda count, length: TextLanes(policy, task, count, length), task), False


class WeightAverage:
    """The mean of a policy's weights over the updates since it began (Polyak and Juditsky 1992)."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._count = 0
        self._mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self) -> None:
        """Count the present weights in."""
        self._count += 1
        for name, weight in self._policy.state_dict().items():
            if name not in self._mean:
                self._mean[name] = weight.clone()
            else:
                self._mean[name] += (weight - self._mean[name]) / self._count

    def apply(self) -> None:
        """Give the policy the mean, if there is one."""
        if self._mean:
            self._policy.load_state_dict(self._mean)
