"""A policy that is shown the raw tokens alone: a recurrent network over what was written, and the time."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from klrl_envs.networks.lanes import ResidualLanes
from klrl_envs.networks.perceptron import perceptron
from klrl_envs.networks.time_waves import TIME_WAVES, time_waves
from klrl_envs.networks.torch_network import TorchNetwork
from klrl_envs.policies import LanesPolicy
from klrl_envs.tasks.base import Task


class Reader(nn.Module):
    """What a text says so far: a gated recurrent unit over embeddings of its tokens (Cho et al. 2014).

    Beside the unit's state [width] stand the last token's embedding [size], zero before the first token, and
    the time, so that neighbours and deadlines need no memory.

    Args:
        task: whose tokens are read, and how long its texts may be.
        size: of the embeddings.
        width: of the state.
        outputs: of the head, zero at first.
        device: of the weights.
    """

    def __init__(self, task: Task, size: int, width: int, outputs: int, *, device: str | None = None) -> None:
        super().__init__()
        self.vocab_size, self.max_length = task.vocab_size, task.max_length
        self.embedding = nn.Embedding(task.vocab_size, size, device=device)
        self.unit = nn.GRU(size, width, batch_first=True, device=device)
        self.head = perceptron(width + size + 1 + TIME_WAVES, width, outputs, device=device)

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
        return self.head(torch.cat((known, share, time_waves(share)), dim=-1))


class RawTokens(TorchNetwork):
    """logits = log pi0(.|s) + f(tokens so far, time), f = 0 at first.

    Nothing else is seen: no automaton's state, no classifier's form, no hidden state of the reference. What
    the reward depends on has to be found in the tokens. Where the task names an initial policy, f is log of
    it less log pi0 at first.

    Args:
        task: one whose plain id shows tokens.
        size: of the embeddings.
        width: of the recurrent state and of the head's hidden layers.
        device: of the weights.

    Raises:
        ValueError: the plain id shows something else, as the grid's does.
    """

    kind: ClassVar = "raw-tokens"
    largest: ClassVar = {"size": 4096, "width": 4096}

    def __init__(self, task: Task, size: int = 64, width: int = 128, *, device: str | None = None) -> None:
        if task.exact is not None and task.exact.view is not None:
            raise ValueError(f"observe must not be 'tokens' on {task.id}: what it shows are no tokens")
        super().__init__(task, size=size, width=width)
        self.actor = Reader(task, size, width, task.vocab_size, device=device)

    def for_evaluation(self, task: Task) -> tuple[LanesPolicy, bool]:
        """See ``Network``."""
        policy = self.to(task.device).eval()
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


class RawTokensLanes(ResidualLanes[Reading]):
    """``RawTokens`` along N texts."""

    def __init__(self, policy: RawTokens, task: Task, count: int, max_length: int) -> None:
        super().__init__(task, count, max_length)
        self._policy, self._task = policy, task

    def read(self, tokens: Tensor, lengths: NDArray[np.int64]) -> Reading:
        """See ``ResidualLanes``."""
        return Reading(self._policy.actor, tokens, lengths)

    def residual(self) -> Tensor:
        """See ``ResidualLanes``."""
        found = self.known.outputs()
        change = initial_change(self._task, self.reference, self._count, found.device)
        return found if change is None else found + change
