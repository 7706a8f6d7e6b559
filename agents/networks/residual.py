"""The policy and the critic of exact tasks: two small networks on the automaton's state and the time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.networks.categorical import SharedScores, draw_weighted
from agents.networks.policy import PolicyNetwork
from agents.networks.trajectories import Trajectories, Visited, Writer
from klrl_envs import AutomatonTask, Engine, Task
from klrl_envs.networks.residual import ResidualNetwork, tanh_network

LARGEST_TABLE = 2**25
"""Entries of the largest table of a reference that is kept whole."""
LEAST = -60.0
"""Nats: float32 holds no less than e^-87, of a sum over a vocabulary of probabilities above and tilts."""


class ResidualPolicy(ResidualNetwork, PolicyNetwork):
    """Exact tasks: a ``ResidualNetwork`` and a critic.

    The identity of the optimum gives the critic, in nats. With logits log pi0 + f, what is still to come is
    log sum exp(logits) + v(automaton state, time), and v = 0 at the optimum of f. The KL of the present
    step comes on top, as it is not paid yet.

    Steps of the same state and time have the same residual, which is computed once: see ``SharedScores``.

    Args:
        task: an exact task.
        width: of the two hidden layers.
        **sizes: others, of a network that has them.
    """

    observes: ClassVar = "automaton's state, time"

    def __init__(self, task: Task, width: int = 128, **sizes: Any) -> None:
        super().__init__(task, width, **sizes)
        self.critic = tanh_network(self.inputs, width, 1)
        self._tables: Tables | None = None

    def actor_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``."""
        return [*self.actor.parameters(), *([self.kept] if self.starts_elsewhere else [])]

    def critic_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``."""
        return list(self.critic.parameters())

    def correction(self, inputs: Tensor) -> Tensor:
        """v [..., 1] of inputs [..., D]."""
        return self.critic(inputs[..., : self.inputs])

    def scores(self, trajectories: Trajectories, index: Tensor) -> tuple[Tensor, Tensor]:
        """See ``PolicyNetwork``."""
        log_probs, kl, _ = self.scores_and_levels(trajectories, index)
        return log_probs, kl

    def scores_and_levels(self, trajectories: Trajectories, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The scores, and log sum exp of the logits, [n, T] each, nats, zero after the end.

        What a logit has above log pi of its token is the level, whichever the token is.
        """
        visited, mask = visited_by(trajectories), trajectories.mask[index]
        used, state = torch.unique(visited.state[index][mask], return_inverse=True)
        context, actions = visited.context[index][mask], trajectories.actions[index][mask]
        base, changed = visited.base, visited.changed
        if self.starts_elsewhere:  # where it starts has moved since the texts were written
            tables = self.tables_on(mask.device)
            base, changed, context = *tables.start(self.kept), context % len(tables.change)
        residual = self.actor(visited.inputs[used]).to(base.dtype)
        ratios, kl = SharedScores.apply(  # pyright: ignore[reportGeneralTypeIssues]
            residual, base, changed, state, context, actions
        )
        log_probs, levels = ratios + base[context, actions].log(), residual[state, actions] - ratios
        if self.starts_elsewhere:
            slopes = tables.slopes(residual, state, context, actions)
            moved = self.kept - self.kept.detach()
            log_probs, kl, levels = (
                each + moved * slope for each, slope in zip((log_probs, kl, levels), slopes, strict=True)
            )
        blank = torch.zeros(mask.shape, device=mask.device)
        found = (blank.masked_scatter(mask, each.float()) for each in (log_probs, kl, levels))
        return next(found), next(found), next(found)

    @torch.no_grad()
    def softened(self, trajectories: Trajectories) -> Trajectories:
        """See ``PolicyNetwork``: the critic is added to log sum exp of the logits alone."""
        every = torch.arange(len(trajectories.mask), device=trajectories.mask.device)
        return replace(trajectories, base=self.scores_and_levels(trajectories, every)[2])

    def values(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """See ``PolicyNetwork``."""
        visited, state = visited_by(trajectories), visited_by(trajectories).state[index]
        used, place = torch.unique(state, return_inverse=True)
        corrections = self.correction(visited.inputs[used]).squeeze(-1)
        return trajectories.base[index] + corrections.index_select(0, place.view(-1)).view(place.shape)

    @torch.no_grad()
    def write(
        self,
        engine: Engine,
        prompts: NDArray[np.int64],
        generator: torch.Generator,
        given: NDArray[np.int64] | None = None,
        greedy: bool = False,
        by_reference: NDArray[np.bool_] | None = None,
    ) -> Trajectories:
        """See ``PolicyNetwork``."""
        device = generator.device
        writer, tables = Writer(engine, prompts, device, given), self.tables_on(device)
        if self.starts_elsewhere:
            tables.start(self.kept)
        state, context, reached = np.zeros((3, engine.lanes, self.task.horizon), dtype=np.int64)
        inputs: list[Tensor] = []
        scores: list[Tensor] = []
        count = time = 0
        while not engine.done.all():
            lanes = writer.lanes
            states, place = np.unique(engine.state[lanes], return_inverse=True)
            state[lanes, time], context[lanes, time] = count + place, engine.context[lanes]
            inputs.append(tables.inputs(states, time))
            residual = self.actor(inputs[-1])
            if by_reference is not None:
                place[by_reference[lanes, time]] = len(residual)
                residual = torch.cat((residual, torch.zeros_like(residual[:1])))
            drawn, scored = tables.draw(
                residual, tables.number(place), context[lanes, time], generator,
                writer.given(lanes), greedy,
            )  # fmt: skip
            scores.append(scored)
            tokens = np.zeros(engine.lanes, dtype=np.int64)
            tokens[lanes] = drawn.cpu().numpy()
            writer.take(tokens)
            reached[:, time] = engine.state
            count, time = count + len(states), time + 1
        mask = writer.column("mask")
        columns = torch.zeros((3, *mask.T.shape), device=device)
        columns.masked_scatter_(mask.T, torch.cat(scores, dim=1))
        log_probs, kl, level = columns.transpose(1, 2)
        steps = (column[:, :time] for column in (state, context, reached))
        visited = tables.visited(torch.cat(inputs), *steps)
        return writer.finished(log_probs=log_probs, kl=kl, base=level + kl, visited=visited)

    def tables_on(self, device: torch.device) -> Tables:
        """What the policy looks up as it writes, made when first asked for."""
        if self._tables is None or self._tables.device != device:
            self._tables = Tables(self.exact, device)
        return self._tables


class Tables:
    """What does not change of an exact task, on a device: its inputs, and where the policy starts.

    Args:
        task: the task.
        device: of the tables.

    Attributes:
        base, changed: as in ``Visited``, of all contexts of the reference, or None where these are too many;
            of what is kept now, and ``started`` the two of where the policy started, where that is not pi0.
        log_reference, change: log pi0, and log of the initial policy less it, [C, V], where there is one.
    """

    def __init__(self, task: AutomatonTask, device: torch.device) -> None:
        self.device = device
        self._reference = task.reference
        self._states = torch.as_tensor(task.state_features, device=device)
        self._times = times_of(task.horizon, device)
        self.base: Tensor | None = None
        self.changed: Tensor | None = None
        self.started: tuple[Tensor, Tensor] | None = None
        self._dtype = precision(task.reference.least)
        contexts = np.arange(task.reference.contexts)
        if task.initial_policy is not None:
            self._dtype = precision(float(task.initial_policy.min()))
            self.log_reference = self._on_device(task.reference.rows(contexts))
            self.change = self._on_device(task.initial_policy) - self.log_reference
            self.started = self.start(torch.ones(1, device=device))
        elif task.reference.contexts * task.vocab_size <= LARGEST_TABLE:
            self.base = self._on_device(np.exp(task.reference.rows(contexts)))

    @torch.no_grad()
    def start(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """``base`` and ``changed`` where so much of the initial policy is kept."""
        change = kept * self.change
        self.base = (self.log_reference + change).exp()
        self.changed = self.base * change
        return self.base, self.changed

    @torch.no_grad()
    def slopes(
        self, residual: Tensor, state: Tensor, context: Tensor, actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of log pi, of the KL and of log sum exp of the logits, [M] each, by how much is kept.

        Args:
            residual: [U, V].
            state, context, actions: int64 [M], as of ``SharedScores``.
        """
        assert self.base is not None
        rows = (self.base.log()[context] + residual[state]).log_softmax(dim=-1)
        chance, change = rows.exp(), self.change[context]
        mean = (chance * change).sum(dim=-1, keepdim=True)
        of_kl = (chance * (change - mean) * (rows - self.log_reference[context])).sum(dim=-1)
        return (change.gather(1, actions[:, None]) - mean).squeeze(-1), of_kl, mean.squeeze(-1)

    def number(self, array: NDArray[np.int64]) -> Tensor:
        """An array of integers on the device."""
        return torch.as_tensor(array, device=self.device)

    def inputs(self, states: NDArray[np.int64], time: int) -> Tensor:
        """What the policy reads [U, D] in automaton states [U] at a time."""
        times = self._times[time].expand(len(states), -1)
        return torch.cat((self._states.index_select(0, self.number(states)), times), dim=-1)

    def draw(
        self,
        residual: Tensor,
        place: Tensor,
        context: NDArray[np.int64],
        generator: torch.Generator,
        given: Tensor | None,
        greedy: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """A token [N] of N states, and [3, N] its log pi, the exact KL, log sum exp of the logits, nats.

        Args:
            residual: [U, V].
            place: int64 [N], which residual is each one's.
            context: int64 [N].
            generator: draws.
            given: int64 [N], the tokens in place of those that are drawn.
            greedy: takes the likeliest tokens.
        """
        shifted = residual.to(self._dtype).log_softmax(dim=-1)
        rows = self.rows(context)
        weights = shifted.exp().index_select(0, place) * rows
        if given is None:
            given = weights.argmax(dim=-1) if greedy else draw_weighted(weights, generator)
        tokens = given[:, None]
        taken = weights.gather(1, tokens)
        total = weights.sum(dim=-1)
        kl = weights.mul_(shifted.index_select(0, place)).sum(dim=-1)
        if self.changed is not None:
            changed = self.changed.index_select(0, self.number(context))
            kl += changed.mul_(shifted.exp().index_select(0, place)).sum(dim=-1)
        log_total = total.log()
        level = log_total + (residual[:, 0] - shifted[:, 0]).index_select(0, place)
        scores = torch.stack((taken.squeeze(-1).log() - log_total, kl / total - log_total, level))
        return tokens.squeeze(-1), scores.float()

    def rows(self, context: NDArray[np.int64]) -> Tensor:
        """Probabilities [N, V] that the residual starts from, in contexts [N]."""
        if self.base is None:
            return self._on_device(np.exp(self._reference.rows(context)))
        return self.base.index_select(0, self.number(context))

    def visited(
        self,
        inputs: Tensor,
        state: NDArray[np.int64],
        context: NDArray[np.int64],
        reached: NDArray[np.int64],
    ) -> Visited:
        """What steps share, of inputs [S, D], states [N, T] among them, contexts [N, T] and states behind."""
        base, changed = (self.base, None) if self.started is None else self.started
        if base is None:  # only the rows of the contexts that occur
            occurring, place = np.unique(context, return_inverse=True)
            base, context = self.rows(occurring), place.reshape(context.shape)
        numbers = map(self.number, (context, reached))
        return Visited(inputs, self.number(state), base, changed, *numbers)

    def _on_device(self, array: NDArray[np.float64]) -> Tensor:
        return torch.as_tensor(array, dtype=self._dtype, device=self.device)


def times_of(horizon: int, device: torch.device) -> Tensor:
    """What the policy reads of each time, [T, 1 + ``TIME_WAVES``]."""
    left = 1 - torch.arange(horizon, dtype=torch.float64)[:, None] / horizon
    return ResidualNetwork.encode_time(left.float().to(device))


def at_times(visited: Visited, times: Tensor, horizon: int) -> Visited:
    """The same steps at other times int64 [N, T], in 0 to horizon - 1."""
    pairs, place = torch.unique(visited.state * horizon + times, return_inverse=True)
    every = times_of(horizon, times.device)
    features = visited.inputs[pairs // horizon, : -every.shape[1]]
    return replace(visited, inputs=torch.cat((features, every[pairs % horizon]), dim=-1), state=place)


def precision(least: float) -> torch.dtype:
    """Of tables of probabilities whose logarithms are at least this: float32 holds no smaller than e^-87."""
    return torch.float32 if least > LEAST else torch.float64


def visited_by(trajectories: Trajectories) -> Visited:
    """What the steps share, of trajectories that a ``ResidualPolicy`` has written."""
    assert trajectories.visited is not None
    return trajectories.visited
