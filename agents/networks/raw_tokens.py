"""A policy that is shown the raw tokens alone: a recurrent network over what was written, and the time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.networks.perceptron import perceptron
from agents.networks.policy import PolicyNetwork
from agents.networks.trajectories import Trajectories, Writer, residual_scores
from klrl_envs import Engine, Task
from klrl_envs.policies import LanesPolicy

TIME_WAVES = 8


class Reader(nn.Module):
    """What a text says so far: a gated recurrent unit over embeddings of its tokens (Cho et al. 2014).

    Beside the unit's state [width] stand the last token's embedding [size], zero before the first token, and
    the time, so that neighbours and deadlines need no memory.

    Args:
        vocab_size: V.
        max_length: of a text, tokens.
        size: of the embeddings.
        width: of the state.
        outputs: of the head, zero at first.
    """

    def __init__(self, vocab_size: int, max_length: int, size: int, width: int, outputs: int) -> None:
        super().__init__()
        self.vocab_size, self.max_length = vocab_size, max_length
        self.embedding = nn.Embedding(vocab_size, size)
        self.unit = nn.GRU(size, width, batch_first=True)
        self.head = perceptron(width + size + 1 + TIME_WAVES, width, outputs)

    def read(self, texts: Tensor) -> Tensor:
        """What is known after the first 0 to L tokens of texts [N, L], [N, L + 1, width + size].

        Padding may be V: what stands behind it is known to no earlier place.
        """
        embedded = self.embedding(texts.clamp_max(self.vocab_size - 1))
        if not texts.shape[1]:  # which the unit does not take
            return embedded.new_zeros(len(texts), 1, self.unit.hidden_size + embedded.shape[-1])
        states, _ = self.unit(embedded)
        return nn.functional.pad(torch.cat((states, embedded), dim=-1), (0, 0, 1, 0))

    def after(self, known: Tensor, tokens: Tensor) -> Tensor:
        """What is known [N, width + size] after one more token [N]."""
        embedded = self.embedding(tokens)
        state = known[:, : self.unit.hidden_size].contiguous()
        _, following = self.unit(embedded[:, None], state[None])
        return torch.cat((following[0], embedded), dim=-1)

    def forward(self, known: Tensor, length: Tensor) -> Tensor:
        """The head [..., outputs] on what is known [..., width + size] after ``length`` [...] tokens."""
        share = (length / self.max_length)[..., None]
        waves = torch.arange(1, TIME_WAVES + 1, device=share.device) * math.pi
        return self.head(torch.cat((known, share, torch.cos(share * waves)), dim=-1))


class RawTokensPolicy(PolicyNetwork):
    """logits = log pi0(.|s) + f(tokens so far, time), f = 0 at first.

    Nothing else is seen: no automaton's state, no classifier's form, no hidden state of the reference. What
    the reward depends on has to be found in the tokens. The critic is a reader of its own, and its values are
    added to log sum exp(logits) plus the present KL, as in ``ResidualPolicy``.

    Where the task names an initial policy, f is log of it less log pi0 at first; the inputs [..., D] hold
    that difference, and are empty otherwise.

    Args:
        task: one whose plain id shows tokens.
        critic: whether there is one.
        size: of the embeddings.
        width: of the recurrent state and of the head's hidden layers.

    Raises:
        ValueError: the plain id shows something else, as the grid's does.
    """

    def __init__(self, task: Task, *, critic: bool = True, size: int = 64, width: int = 128) -> None:
        super().__init__()
        if task.exact is not None and task.exact.view is not None:
            raise ValueError(f"observe must not be 'tokens' on {task.id}: what it shows are no tokens")
        self.task = task
        shape = (task.vocab_size, task.max_length, size, width)
        self.actor = Reader(*shape, outputs=task.vocab_size)
        self.critic = Reader(*shape, outputs=1) if critic else None

    def actor_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``."""
        return list(self.actor.parameters())

    def critic_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``."""
        return [] if self.critic is None else list(self.critic.parameters())

    def scores(self, trajectories: Trajectories, index: Tensor) -> tuple[Tensor, Tensor]:
        """See ``PolicyNetwork``."""
        mask = trajectories.mask[index]
        residual = self.read(self.actor, trajectories, index)[mask]
        if self.task.exact is not None and self.task.exact.initial_policy is not None:
            residual = residual + trajectories.inputs[index][mask]
        return residual_scores(trajectories, index, residual)

    def values(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """See ``PolicyNetwork``."""
        assert self.critic is not None
        return trajectories.base[index] + self.read(self.critic, trajectories, index).squeeze(-1)

    def read(self, reader: Reader, trajectories: Trajectories, index: Tensor) -> Tensor:
        """A reader's outputs [n, T, ...] before each step of the episodes ``index`` [n]."""
        tokens = trajectories.tokens[index]
        steps = torch.arange(trajectories.mask.shape[1], device=tokens.device)
        before = (trajectories.first[index][:, None] + steps).clamp_max(tokens.shape[1])
        known = reader.read(tokens)
        return reader(known.gather(1, before[..., None].expand(-1, -1, known.shape[-1])), before)

    @torch.no_grad()
    def write(self, engine: Engine, prompts: NDArray[np.int64], generator: torch.Generator) -> Trajectories:
        """See ``PolicyNetwork``."""
        device = generator.device
        writer = Writer(engine, prompts, device)
        reading = Reading(self.actor, torch.as_tensor(engine.tokens.copy(), device=device), engine.length)
        while not engine.done.all():
            reference = writer.reference_rows()
            change = initial_change(self.task, engine.reference_lanes, len(reference), device)
            residual = reading.outputs()
            residual = residual if change is None else residual + change
            inputs = reference[:, :0] if change is None else change
            reading.append(writer.step(inputs, reference, residual, None, generator))
        return writer.trajectories()

    def for_evaluation(self, task: Task) -> tuple[Any, bool]:
        """See ``PolicyNetwork``."""
        policy = self.to("cpu").eval()
        return LanesPolicy(lambda count, length: RawTokensLanes(policy, task, count, length), task), False


def initial_change(task: Task, lanes: Any, count: int, device: torch.device) -> Tensor | None:
    """log of the initial policy less log pi0 [N, V] at the places of N lanes; None where there is no such."""
    if task.exact is None or task.exact.initial_policy is None:
        return None
    context = lanes.context
    change = task.exact.initial_policy[context] - task.exact.reference.rows(context)
    return torch.as_tensor(change, dtype=torch.float32, device=device).expand(count, -1)


class Reading:
    """What a reader knows along N texts that grow together.

    Args:
        reader: the network.
        tokens: int64 [N, L], of which ``lengths`` [N] count.
    """

    def __init__(self, reader: Reader, tokens: Tensor, lengths: NDArray[np.int64]) -> None:
        self._reader = reader
        self._length = torch.as_tensor(lengths, device=tokens.device).clone()
        every = torch.arange(len(tokens), device=tokens.device)
        self._known = reader.read(tokens)[every, self._length]

    def outputs(self) -> Tensor:
        """The head's outputs [N, ...]."""
        return self._reader(self._known, self._length)

    def append(self, tokens: Tensor) -> None:
        """Go on by tokens [N]."""
        self._known = self._reader.after(self._known, tokens)
        self._length = self._length + 1


class RawTokensLanes:
    """A ``RawTokensPolicy`` along N texts, as ``LanesPolicy`` takes it.

    Args:
        policy: on the CPU.
        task: whose reference it is a residual of.
        count: N.
        max_length: of the texts in tokens.
    """

    def __init__(self, policy: RawTokensPolicy, task: Task, count: int, max_length: int) -> None:
        self._policy, self._task, self._count = policy, task, count
        self._reference = task.reference.lanes(count, max_length)
        self._reading: Any = None

    @torch.no_grad()
    def reset(self, lanes: NDArray[np.int64], tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """Put all lanes at the texts tokens [N, L], of which lengths [N] count."""
        if len(lanes) != self._count:
            raise ValueError(f"lanes must be all {self._count}, got {len(lanes)}")
        self._reference.reset(lanes, tokens, lengths)
        self._reading = Reading(self._policy.actor, torch.from_numpy(tokens), lengths)

    @torch.no_grad()
    def step(self, tokens: NDArray[np.int64], active: NDArray[np.bool_]) -> None:
        """Append tokens [N] to all lanes."""
        self._reference.step(tokens, active)
        self._reading.append(torch.from_numpy(tokens))

    @torch.no_grad()
    def log_probs(self) -> NDArray[np.float32]:
        """log pi(.|s) [N, V] in nats."""
        reference = torch.as_tensor(self._reference.log_probs()).float()
        change = initial_change(self._task, self._reference, self._count, reference.device)
        logits = reference + self._reading.outputs()
        return (logits if change is None else logits + change).log_softmax(dim=-1).numpy()
