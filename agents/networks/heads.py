"""The policy and the critic of neural tasks: two heads on the reference, whose weights stay as they are."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.networks.episodes import Episodes, Writer, residual_scores
from klrl_envs.envs.engine import Engine
from klrl_envs.reference.protocol import NeuralReference
from klrl_envs.tasks.base import Task
from klrl_envs.tasks.text_task import TextTask

MOST_PAIRS = 1 << 24  # vocabularies of up to 4,096 tokens


class TextEvidence(nn.Module):
    """Learnt sums over a text so far: an embedding of each token, and a number for each pair of neighbours.

    Most words are one or two byte-pair tokens, so that token and pair together know words. A sum over n
    tokens is divided by sqrt(n). Of a vocabulary too large for a table of pairs, tokens are words already,
    and pairs weigh nothing.

    Args:
        vocab_size: V.
        size: of the embeddings.
        pairs: whether pairs weigh anything.
    """

    def __init__(self, vocab_size: int, size: int, pairs: bool = True) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.size = size
        self.embedding = nn.Embedding(vocab_size, size)
        nn.init.normal_(self.embedding.weight, std=0.1)
        pairs = pairs and vocab_size**2 <= MOST_PAIRS
        self.pairs = nn.Embedding(vocab_size**2, 1, sparse=True) if pairs else None
        if self.pairs is not None:
            nn.init.zeros_(self.pairs.weight)

    def of_tokens(self, before: Tensor, tokens: Tensor) -> Tensor:
        """What tokens [...] add after the tokens before them, -1 for none: [..., size + 1]."""
        added = self.embedding(tokens)
        if self.pairs is None:
            return nn.functional.pad(added, (0, 1))
        pair = self.pairs(before.clamp_min(0) * self.vocab_size + tokens) * (before >= 0)[..., None]
        return torch.cat((added, pair), dim=-1)

    def sums(self, texts: Tensor) -> Tensor:
        """Of the first 0 to L tokens of texts [N, L]: [N, L + 1, size + 1]; padding may be V."""
        texts = texts.clamp_max(self.vocab_size - 1)
        added = self.of_tokens(after_none(texts)[:, :-1], texts)
        return nn.functional.pad(added.cumsum(dim=1), (0, 0, 1, 0))

    def pairs_after(self, tokens: Tensor) -> Tensor | None:
        """The numbers [N, V] of the pairs that tokens [N] (-1 for none) make with each next token, without
        gradient.
        """
        if self.pairs is None:
            return None
        table = self.pairs.weight.detach().view(self.vocab_size, self.vocab_size)
        return table[tokens.clamp_min(0)] * (tokens >= 0)[:, None]


class TextPolicy(nn.Module):
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

    def __init__(self, task: TextTask, *, critic: bool = True, size: int = 64, width: int = 256) -> None:
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
        """What the policy's gradient trains."""
        return [*self.actor.parameters(), *(self.evidence.parameters() if self.critic is None else ())]

    def critic_weights(self) -> list[nn.Parameter]:
        """What the critic's regression trains; the pairs, whose gradient is sparse, stand last."""
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

    def scores(self, episodes: Episodes, index: Tensor) -> tuple[Tensor, Tensor]:
        """log pi of the tokens taken and exact KL, each [n, T], of the episodes ``index`` [n]."""
        mask = episodes.mask[index]
        inputs = self.read(episodes, index)[mask]
        inputs = inputs if self.critic is None else inputs.detach()
        last = after_none(episodes.tokens[index]).gather(1, self.before(episodes, index))[mask]
        return residual_scores(episodes, index, self.residual(inputs, last))

    def values(self, episodes: Episodes, index: Tensor) -> Tensor:
        """What is still to come [n, T], nats, as the critic has it."""
        assert self.critic is not None
        return episodes.base[index] + self.critic(self.read(episodes, index)).squeeze(-1)

    def read(self, episodes: Episodes, index: Tensor) -> Tensor:
        """What both heads read [n, T, D], with the evidence as it is now."""
        before = self.before(episodes, index)
        sums = self.evidence.sums(episodes.tokens[index])
        sums = sums.gather(1, before[..., None].expand(-1, -1, sums.shape[-1]))
        return self.encode(episodes.inputs[index], sums, before)

    def before(self, episodes: Episodes, index: Tensor) -> Tensor:
        """Tokens before each step [n, T], the prompt's among them."""
        steps = torch.arange(episodes.mask.shape[1], device=episodes.mask.device)
        return (episodes.first[index][:, None] + steps).clamp_max(episodes.tokens.shape[1])

    @torch.no_grad()
    def write(self, engine: Engine, prompts: NDArray[np.int64], generator: torch.Generator) -> Episodes:
        """An episode in each lane [N], of the given prompts [N]."""
        device = generator.device
        writer = Writer(engine, prompts, device)
        progress = Reading(self, torch.as_tensor(engine.tokens.copy(), device=device), engine.length)
        while not engine.done.all():
            reference = writer.reference_rows()
            hidden = torch.tensor(engine.reference_lanes.hidden(), device=device)
            residual = self.residual(progress.inputs(hidden), progress.last)
            # the episodes keep the hidden state: the evidence changes while they are learnt from
            progress.append(writer.step(hidden, reference, residual, self.middle, generator))
        return writer.episodes()


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


def after_none(texts: Tensor) -> Tensor:
    """Texts [N, L] after a -1, [N, L + 1]: entry t is the token before position t."""
    return nn.functional.pad(texts, (1, 0), value=-1)


def perceptron(inputs: int, width: int, outputs: int, bias: float = 0.0) -> nn.Sequential:
    """Two hidden layers, and an output that is ``bias`` at first."""
    last = nn.Linear(width, outputs)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, bias)
    return nn.Sequential(
        nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last
    )  # fmt: skip
