"""The policy and the critic of neural tasks: two heads on the reference, whose weights stay as they are."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.networks.evidence import TextEvidence, after_none
from agents.networks.perceptron import perceptron
from agents.networks.policy import PolicyNetwork
from agents.networks.trajectories import Trajectories, Writer, residual_scores
from klrl_envs import Engine, NeuralReference, Task
from klrl_envs.policies import LanesPolicy


class TextPolicy(PolicyNetwork):
    """Neural tasks: policy head and value head on pi0's final hidden state and on the evidence so far.

        logits = log pi0(.|s) + K u(s) + g(s) w(last token, .)

    where the keys K are pi0's output embeddings beside the evidence's, and w are its pairs. The critic
    alone learns the evidence, by regression, and the policy draws on it: what the reward likes is learnt
    once. (Without a critic the policy's own gradient teaches it, of tokens only.) Nothing of pi0 is
    trained or run twice, so that learning costs little more than writing.

    Args:
        task: a neural task.
        critic: whether there is one.
        size: of the evidence's embeddings.
        width: of the heads' two hidden layers.
    """

    unembedding: Tensor

    def __init__(self, task: Task, *, critic: bool = True, size: int = 64, width: int = 256) -> None:
        super().__init__()
        self.task = task
        reference = cast(NeuralReference, task.reference)
        self.register_buffer("unembedding", torch.tensor(reference.unembedding()), persistent=False)
        inputs = reference.width + size + 2
        self.evidence = TextEvidence(task.vocab_size, size, pairs=critic)
        self.actor = perceptron(inputs, width, self.unembedding.shape[1] + size + 1)
        self.critic = perceptron(inputs, width, 1) if critic else None
        self.middle = sum(task.reward_range) / 2 / task.kl_coef

    def actor_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``."""
        return [*self.actor.parameters(), *(self.evidence.parameters() if self.critic is None else ())]

    def critic_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``; the pairs, whose gradient is sparse, stand last."""
        return [] if self.critic is None else [*self.critic.parameters(), *self.evidence.parameters()]

    def encode(self, hidden: Tensor, sums: Tensor, length: Tensor) -> Tensor:
        """What both heads read [..., width + size + 2], of hidden states, sums and numbers of tokens.

        The share of the longest text that is written stands for the time, which it is where prompts are of
        one length.
        """
        share = (length / self.task.max_length)[..., None]
        return torch.cat((hidden, sums / length.clamp_min(1)[..., None].sqrt(), share), dim=-1)

    def residual(self, inputs: Tensor, last: Tensor) -> Tensor:
        """Logits less log pi0 [M, V] of what the heads read [M, D] and the last tokens [M]."""
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=inputs.is_cuda):
            query = self.actor(inputs)
        query = query.float()
        learnt = self.evidence.embedding.weight
        keys = torch.cat((self.unembedding, learnt if self.critic is None else learnt.detach()), dim=1)
        result = query[:, :-1] @ keys.T
        pairs = self.evidence.pairs_after(last)
        return result if pairs is None else torch.addcmul(result, query[:, -1:], pairs)

    def scores(self, trajectories: Trajectories, index: Tensor) -> tuple[Tensor, Tensor]:
        """See ``PolicyNetwork``."""
        mask = trajectories.mask[index]
        inputs = self.read(trajectories, index)[mask]
        inputs = inputs if self.critic is None else inputs.detach()
        last = after_none(trajectories.tokens[index]).gather(1, self.before(trajectories, index))[mask]
        return residual_scores(trajectories, index, self.residual(inputs, last))

    def values(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """See ``PolicyNetwork``."""
        assert self.critic is not None
        return trajectories.base[index] + self.critic(self.read(trajectories, index)).squeeze(-1)

    def read(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """What both heads read [n, T, D], with the evidence as it is now."""
        before = self.before(trajectories, index)
        sums = self.evidence.sums(trajectories.tokens[index])
        sums = sums.gather(1, before[..., None].expand(-1, -1, sums.shape[-1]))
        return self.encode(trajectories.inputs[index], sums, before)

    def before(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """Tokens before each step [n, T], the prompt's among them."""
        steps = torch.arange(trajectories.mask.shape[1], device=trajectories.mask.device)
        return (trajectories.first[index][:, None] + steps).clamp_max(trajectories.tokens.shape[1])

    @torch.no_grad()
    def write(self, engine: Engine, prompts: NDArray[np.int64], generator: torch.Generator) -> Trajectories:
        """See ``PolicyNetwork``."""
        device = generator.device
        writer = Writer(engine, prompts, device)
        progress = Reading(self, torch.as_tensor(engine.tokens.copy(), device=device), engine.length)
        while not engine.done.all():
            reference = writer.reference_rows()
            hidden = torch.tensor(engine.reference_lanes.hidden(), device=device)
            residual = self.residual(progress.inputs(hidden), progress.last)
            # the trajectories keep the hidden state: the evidence changes while they are learnt from
            progress.append(writer.step(hidden, reference, residual, self.middle, generator))
        return writer.trajectories()

    def for_evaluation(self, task: Task) -> tuple[Any, bool]:
        """See ``PolicyNetwork``."""
        policy = self.to("cpu").eval()
        return LanesPolicy(lambda count, length: TextLanes(policy, task, count, length), task), False


class Reading:
    """The evidence along N texts that grow together.

    Args:
        policy: whose evidence it is.
        tokens: int64 [N, L], of which ``lengths`` [N] count.
    """

    def __init__(self, policy: TextPolicy, tokens: Tensor, lengths: NDArray[np.int64]) -> None:
        self._policy = policy
        self._length = torch.as_tensor(lengths, device=tokens.device).clone()
        every = torch.arange(len(tokens), device=tokens.device)
        self._sums = policy.evidence.sums(tokens)[every, self._length]
        self.last = after_none(tokens)[every, self._length]

    def inputs(self, hidden: Tensor) -> Tensor:
        """What the heads read [N, D], of pi0's hidden states [N, width]."""
        return self._policy.encode(hidden, self._sums, self._length)

    def append(self, tokens: Tensor) -> None:
        """Go on by tokens [N]."""
        self._sums = self._sums + self._policy.evidence.of_tokens(self.last, tokens)
        self._length = self._length + 1
        self.last = tokens


class TextLanes:
    """A ``TextPolicy`` along N texts, as ``LanesPolicy`` takes it.

    Args:
        policy: on the CPU.
        task: whose reference it is a residual of.
        count: N.
        max_length: of the texts in tokens.
    """

    def __init__(self, policy: TextPolicy, task: Task, count: int, max_length: int) -> None:
        self._policy = policy
        self._reference = task.reference.lanes(count, max_length)
        self._count = count
        self._reading: Any = None

    @torch.no_grad()
    def reset(self, lanes: NDArray[np.int64], tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """Put all lanes at the texts tokens [N, L], of which lengths [N] count."""
        if len(lanes) != self._count:
            raise ValueError(f"lanes must be all {self._count}, got {len(lanes)}")
        self._reference.reset(lanes, tokens, lengths)
        self._reading = Reading(self._policy, torch.from_numpy(tokens), lengths)

    @torch.no_grad()
    def step(self, tokens: NDArray[np.int64], active: NDArray[np.bool_]) -> None:
        """Append tokens [N] to all lanes."""
        self._reference.step(tokens, active)
        self._reading.append(torch.from_numpy(tokens))

    @torch.no_grad()
    def log_probs(self) -> NDArray[np.float32]:
        """log pi(.|s) [N, V] in nats."""
        inputs = self._reading.inputs(torch.from_numpy(self._reference.hidden()))
        residual = self._policy.residual(inputs, self._reading.last)
        reference = torch.from_numpy(self._reference.log_probs()).float()
        return (reference + residual).log_softmax(dim=-1).numpy()
