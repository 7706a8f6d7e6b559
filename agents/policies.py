"""What the torch agents share that is no algorithm: the two policies, and how they write episodes.

Both start at the reference. On exact tasks the logits are log pi0(.|s) plus a residual that is zero at
first; on neural tasks the policy is a copy of the reference's weights, of which all blocks are trained.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from klrl_envs.engine import Engine
from klrl_envs.observation import observer_of
from klrl_envs.policies import LanesPolicy, TorchPolicy
from klrl_envs.reference.transformer import TransformerLanes, TransformerReference, with_start
from klrl_envs.tasks.base import AutomatonTask, Task, TextTask

TIME_WAVES = 8


@dataclass(frozen=True)
class Episodes:
    """N finished episodes of at most T steps, on the policy's device.

    Attributes:
        inputs: what the policy reads: features float32 [N, T, D], or tokens int64 [N, L].
        reference: pi0's hidden states float32 [N, T, width], or nothing where the features hold its rows.
        actions: int64 [N, T].
        mask: bool [N, T], the steps that were taken.
        rewards: float32 [N, T], of the task alone.
        log_ratios: float32 [N, T], log pi - log pi0 of the tokens taken, nats, zero after the end.
        log_probs: float32 [N, T], log pi of the tokens taken, under the policy that took them.
        kl: float32 [N, T], exact KL(pi(.|s) || pi0(.|s)) at each step, nats, zero after the end.
        base: float32 [N, T], what the critic's values are added to, nats.
        texts: of the episodes.
        metrics: the task's, arrays [N].
    """

    inputs: Tensor
    reference: Tensor | None
    actions: Tensor
    mask: Tensor
    rewards: Tensor
    log_ratios: Tensor
    log_probs: Tensor
    kl: Tensor
    base: Tensor
    texts: list[str]
    metrics: Mapping[str, NDArray[Any]]

    @property
    def tokens(self) -> int:
        """Tokens written, the end tokens among them."""
        return int(self.mask.sum())

    def paid(self, kl_coef: float) -> Tensor:
        """What each step is worth in nats, k1 inside, float32 [N, T]: r / kl_coef - (log pi - log pi0)."""
        return self.rewards / kl_coef - self.log_ratios


@dataclass(frozen=True)
class Step:
    """One step of N lanes; ``active`` are those that took it."""

    active: NDArray[np.bool_]
    actions: Tensor
    rewards: NDArray[np.float64]
    log_probs: Tensor
    reference_log_probs: NDArray[np.float64]
    kl: Tensor
    base: Tensor


def collect(
    inputs: Tensor, reference: Tensor | None, steps: list[Step], metrics: dict[str, NDArray[Any]]
) -> Episodes:
    """Episodes from their steps."""
    device = inputs.device
    mask = torch.as_tensor(np.stack([step.active for step in steps], axis=1), device=device)

    def column(name: str) -> Tensor:
        values = [torch.as_tensor(getattr(step, name), device=device) for step in steps]
        return torch.where(mask, torch.stack(values, dim=1), 0)

    log_probs = column("log_probs")
    return Episodes(
        inputs=inputs,
        reference=reference,
        actions=column("actions"),
        mask=mask,
        rewards=column("rewards").float(),
        log_ratios=log_probs - column("reference_log_probs").float(),
        log_probs=log_probs,
        kl=column("kl"),
        base=column("base"),
        texts=[str(text) for text in metrics.pop("text")],
        metrics=metrics,
    )


def divergence(rows: Tensor, reference: Tensor) -> Tensor:
    """Exact KL(pi || pi0) [...], nats, of rows [..., V] of log-probs, in float32."""
    return (rows.exp() * (rows - reference)).sum(dim=-1)


def scatter(store: dict[str, NDArray[Any]], lanes: int, finished: NDArray[np.int64], metrics: Any) -> None:
    """Put metrics [K] of finished lanes into arrays [N]."""
    for name, values in metrics.items():
        if name not in store:
            store[name] = np.zeros((lanes, *values.shape[1:]), dtype=values.dtype)
        store[name][finished] = values


def draw(log_probs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A token [N] of each row of log_probs [N, V] by its inverse distribution, and its log-prob [N].

    Far cheaper than ``multinomial``, which prepares for drawing without replacement.
    """
    cumulative = log_probs.exp().cumsum(dim=-1)
    uniform = torch.rand((len(log_probs), 1), generator=generator, device=log_probs.device)
    tokens = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
    tokens = tokens.clamp_max(log_probs.shape[1] - 1)
    return tokens.squeeze(-1), log_probs.gather(-1, tokens).squeeze(-1)


class ResidualPolicy(nn.Module):
    """Exact tasks: logits = log pi0(.|s) + f(automaton state, time), from the features id's observation.

    That is all that the optimum needs: its residual is the value that a token leads to, over kl_coef,
    and the n-gram context matters through pi0 alone. The same identity gives the critic: with logits
    log pi0 + f, V = kl_coef log sum exp(logits) + v(automaton state, time), v = 0 at the optimum of f.

    Args:
        task: an exact task.
        width: of the two hidden layers.
    """

    def __init__(self, task: AutomatonTask, width: int = 128) -> None:
        super().__init__()
        self.task = task
        self.features = task.state_features.shape[1]
        inputs = self.features + 1 + TIME_WAVES
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

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """log pi [..., V], exact KL [...] and log sum exp(logits) [...], in nats, of features [..., D]."""
        reference = observations[..., self.features + 1 :]
        logits = reference + self.actor(self.encode(observations))
        total = logits.logsumexp(dim=-1, keepdim=True)
        rows = logits - total
        return rows, divergence(rows, reference), total.squeeze(-1)

    def encode(self, observations: Tensor) -> Tensor:
        """Automaton state and time [..., F], the time left also as waves."""
        state = observations[..., : self.features + 1]
        waves = torch.arange(1, TIME_WAVES + 1, device=state.device) * math.pi
        return torch.cat((state, torch.cos(state[..., -1:] * waves)), dim=-1)

    def scores(self, episodes: Episodes, index: Tensor) -> tuple[Tensor, Tensor]:
        """log pi of the tokens taken and exact KL, each [n, T], of the episodes ``index`` [n]."""
        rows, kl, _ = self(episodes.inputs[index])
        return rows.gather(-1, episodes.actions[index][..., None]).squeeze(-1), kl

    def values(self, episodes: Episodes, index: Tensor) -> Tensor:
        """What is still to come [n, T], nats, as the critic has it."""
        own = self.critic(self.encode(episodes.inputs[index])).squeeze(-1)
        return episodes.base[index] + own

    @torch.no_grad()
    def write(self, engine: Engine, prompts: NDArray[np.int64], generator: torch.Generator) -> Episodes:
        """An episode in each lane [N] of an engine."""
        device = generator.device
        observer = observer_of(self.task, features=True)
        engine.reset(np.arange(engine.lanes), prompts)
        inputs: list[Tensor] = []
        steps: list[Step] = []
        metrics: dict[str, NDArray[Any]] = {}
        while not engine.done.all():
            active = ~engine.done
            inputs.append(torch.from_numpy(observer.observe(engine)).to(device))
            rows, kl, base = self(inputs[-1])
            tokens, log_prob = draw(rows, generator)
            result = engine.step(tokens.cpu().numpy(), active)
            scatter(metrics, engine.lanes, result.finished, result.metrics)
            reference = cast(NDArray[np.float64], result.reference_log_prob)
            steps.append(Step(active, tokens, result.reward, log_prob, reference, kl, base))
        return collect(torch.stack(inputs, dim=1), None, steps, metrics)


class TextCritic(nn.Module):
    """Values of text so far: the reference's hidden state, its mean so far, and a bag of the tokens so far.

    Apart from the policy and cheap beside it, so that it can take many steps on each batch: the better
    it knows which words the reward likes, the less noise is left in the advantages.

    Args:
        reference: whose hidden states are read.
        embedding: size of the learnt embeddings whose sum is the bag.
        hidden: of the two layers.
    """

    def __init__(self, reference: TransformerReference, embedding: int = 64, hidden: int = 256) -> None:
        super().__init__()
        self.embedding = nn.Embedding(reference.vocab_size, embedding)
        nn.init.normal_(self.embedding.weight, std=0.1)
        last = nn.Linear(hidden, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(
            nn.Linear(2 * reference.width + embedding + 1, hidden), nn.SiLU(),
            nn.Linear(hidden, hidden), nn.SiLU(), last,
        )  # fmt: skip

    def forward(self, tokens: Tensor, states: Tensor) -> Tensor:
        """Values [N, T] before each of the last T of tokens [N, P + T]; states [N, T, width] are pi0's."""
        length, steps = tokens.shape[1], states.shape[1]
        seen = torch.arange(length - steps, length, device=tokens.device).clamp_min(1)
        bag = nn.functional.pad(self.embedding(tokens), (0, 0, 1, 0)).cumsum(dim=1)[:, length - steps : -1]
        bag = bag / seen[:, None].sqrt()
        mean = states.cumsum(dim=1) / torch.arange(1, steps + 1, device=tokens.device)[:, None]
        time = torch.linspace(0, 1, steps, device=tokens.device)[None, :, None].expand(len(tokens), -1, -1)
        return self.layers(torch.cat((states, mean, bag, time), dim=-1)).squeeze(-1)


class TransformerPolicy(nn.Module):
    """Neural tasks: a copy of the reference's weights, its blocks trained, and a critic apart.

    Args:
        task: a neural task whose reference is ``nano``.
        embeddings: train the token embeddings too, which are the output's weights as well. Adam gives rare
            tokens, whose gradients are all noise, steps as large as the others', and that is KL for nothing.

    Raises:
        ValueError: the reference is another network, of which these agents keep no trainable copy.
    """

    reference_unembedding: Tensor

    def __init__(self, task: TextTask, *, embeddings: bool = False) -> None:
        super().__init__()
        if not isinstance(task.reference, TransformerReference):
            raise ValueError(f"reference must be 'nano' for this agent, got {task.reference.name!r}")
        self.task = task
        self.model = copy.deepcopy(task.reference.model).requires_grad_(True)
        if not embeddings:
            self.model.embedding.requires_grad_(False)
        self.register_buffer(
            "reference_unembedding", task.reference.model.embedding.weight.detach().clone(), persistent=False
        )
        self.critic = TextCritic(task.reference)
        self.middle = sum(task.reward_range) / 2 / task.kl_coef

    def hidden(self, tokens: Tensor) -> Tensor:
        """Hidden states [N, T, width] from which the T tokens after the prompt are drawn."""
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=tokens.is_cuda):
            return self.model.hidden(with_start(tokens)[:, :-1])[:, self.task.prompt_length :]

    def rows(self, hidden: Tensor) -> Tensor:
        """log pi [..., V], float32, of hidden states [..., width]."""
        with torch.autocast(hidden.device.type, torch.bfloat16, enabled=hidden.is_cuda):
            logits = self.model.unembed(hidden)
        return logits.float().log_softmax(dim=-1)

    def reference_rows(self, hidden: Tensor) -> Tensor:
        """log pi0 [..., V], float32, of the reference's hidden states [..., width]."""
        return (hidden @ self.reference_unembedding.T).log_softmax(dim=-1)

    def scores(self, episodes: Episodes, index: Tensor) -> tuple[Tensor, Tensor]:
        """log pi of the tokens taken and exact KL, each [n, T], of the episodes ``index`` [n]."""
        assert episodes.reference is not None
        mask = episodes.mask[index]
        rows = self.rows(self.hidden(episodes.inputs[index])[mask])
        with torch.no_grad():
            reference = self.reference_rows(episodes.reference[index][mask])
        taken = rows.gather(-1, episodes.actions[index][mask][:, None]).squeeze(-1)
        blank = torch.zeros(mask.shape, device=mask.device)
        return blank.masked_scatter(mask, taken), blank.masked_scatter(mask, divergence(rows, reference))

    def values(self, episodes: Episodes, index: Tensor) -> Tensor:
        """What is still to come [n, T], nats, as the critic has it."""
        assert episodes.reference is not None
        return episodes.base[index] + self.critic(episodes.inputs[index], episodes.reference[index])

    @torch.no_grad()
    def write(self, engine: Engine, prompts: NDArray[np.int64], generator: torch.Generator) -> Episodes:
        """An episode in each lane [N], of the given prompts [N]; equal prompts are read once."""
        device = generator.device
        lanes = np.arange(engine.lanes)
        engine.reset(lanes, prompts)
        cache = self.model.cache(engine.lanes, self.task.max_length + 1)
        unique, inverse = np.unique(prompts, return_inverse=True)
        lengths = self.task.prompts.lengths[unique][inverse] + 1
        starts = torch.as_tensor(self.task.prompts.tokens[unique], device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            hidden = self.model.prefill(
                with_start(starts),
                cache,
                lanes=torch.as_tensor(lanes, device=device),
                rows=torch.as_tensor(inverse, device=device),
                lengths=torch.as_tensor(lengths, device=device),
            )
        steps: list[Step] = []
        states: list[Tensor] = []
        metrics: dict[str, NDArray[Any]] = {}
        while True:
            active = ~engine.done
            # the engine's cached rows are those that score the token; its hidden states make them again
            reference_rows = torch.from_numpy(engine.reference_log_probs()).to(device)
            states.append(torch.from_numpy(engine.reference_lanes.hidden()).to(device, copy=True))
            rows = self.rows(hidden)
            tokens, log_prob = draw(rows, generator)
            result = engine.step(tokens.cpu().numpy(), active)
            scatter(metrics, engine.lanes, result.finished, result.metrics)
            reference = cast(NDArray[np.float64], result.reference_log_prob)
            kl = divergence(rows, reference_rows)
            base = torch.full_like(kl, self.middle)
            steps.append(Step(active, tokens, result.reward, log_prob, reference, kl, base))
            if engine.done.all():
                break
            # lanes that have ended go on unread: together, all need no mask
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                hidden = self.model.decode(tokens, cache)
        length = self.task.prompt_length + len(steps)
        inputs = torch.as_tensor(engine.tokens[:, :length].copy(), device=device)
        return collect(inputs, torch.stack(states, dim=1), steps, metrics)


Policy = ResidualPolicy | TransformerPolicy


def make_policy(task: Task) -> Policy:
    """The policy that fits a task."""
    if isinstance(task, AutomatonTask):
        return ResidualPolicy(task)
    assert isinstance(task, TextTask)
    return TransformerPolicy(task)


def make_engine(task: Task, lanes: int, seed: int) -> Engine:
    """An engine whose lanes are seeded from ``seed``."""
    engine = Engine(task, lanes)
    for lane in range(lanes):
        engine.seed(lane, np.random.default_rng((seed, lane)))
    return engine


def for_evaluation(policy: Policy, task: Task) -> tuple[Any, bool]:
    """The policy on the CPU as ``klrl_envs.evaluate`` takes it, and whether it reads the features id.

    Args:
        task: on the evaluation prompts.
    """
    policy = policy.to("cpu").eval()
    if isinstance(policy, ResidualPolicy):
        return TorchPolicy(policy, "log_probs", select=lambda output: output[0]), True
    model = policy.model
    return LanesPolicy(lambda count, length: TransformerLanes(model, count, length), task), False


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
