"""How a language model writes: whole texts on its own device, which an engine then counts and pays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.networks.categorical import likeliest
from agents.networks.trajectories import Trajectories
from klrl_envs import Engine, Task
from klrl_envs.reference.decoder import Decoder, DecoderWeights
from klrl_envs.reference.draws import draw_tokens
from klrl_envs.wrappers import Episode


@dataclass(frozen=True)
class Texts:
    """N texts of at most T tokens after their prompts, on the policy's device.

    Attributes:
        prompts: int64 [N, P], padded on the right with ``pad``.
        first: int64 [N], the prompts' lengths.
        actions: int64 [N, T], the end token after the end.
        log_probs: float32 [N, T], log pi of the actions, nats, zero after the end.
        mask: bool [N, T], up to the end token, which is among them.
        pad: what fills rows.
    """

    prompts: Tensor
    first: Tensor
    actions: Tensor
    log_probs: Tensor
    mask: Tensor
    pad: int

    def whole(self) -> Tensor:
        """Prompt and text, int64 [N, P + T], padded on the right."""
        steps = torch.arange(self.actions.shape[1], device=self.actions.device)
        room = self.prompts.new_full(self.actions.shape, self.pad)
        written = torch.where(self.mask, self.actions, self.pad)
        return torch.cat((self.prompts, room), dim=1).scatter(1, self.first[:, None] + steps, written)


@dataclass(frozen=True)
class WrittenTexts(Trajectories):
    """Episodes of a language model.

    ``inputs`` are its hidden states [N, T, width] as they were written, where there is a critic, and ``rows``
    pi0's where the KL is exact; else both have D = V = 0, and ``kl`` is zero.
    """

    @property
    def exact_kl(self) -> bool:
        """Whether the KL is over the whole vocabulary."""
        return self.rows.shape[-1] > 0

    def episodes(self, tokens: int, kl_coef: float) -> list[Episode]:
        """See ``Trajectories``; without the exact KL where nobody knows it."""
        found = super().episodes(tokens, kl_coef)
        return found if self.exact_kl else [replace(episode, kl=None) for episode in found]


class ReadReference:
    """pi0 for an engine that asks for whole texts: what it has read already is not read again.

    Args:
        reference: pi0.
    """

    def __init__(self, reference: Any) -> None:
        self._reference = reference
        self._read: dict[bytes, NDArray[np.float32]] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # a copy asks for some before it has pi0
            raise AttributeError(name)
        return getattr(self._reference, name)

    def remember(self, texts: Texts, log_probs: Tensor) -> None:
        """Note log pi0 [N, T] in nats of the tokens of texts, in place of what was noted before."""
        rows, first = texts.whole().cpu().numpy(), texts.first.cpu().numpy()
        lengths = first + texts.mask.sum(1).cpu().numpy()
        values = log_probs.cpu().numpy()
        self._read = {
            row[:length].tobytes(): value[: length - begin]
            for row, length, begin, value in zip(rows, lengths, first, values, strict=True)
        }

    def sequence_log_probs(
        self, tokens: NDArray[np.int64], first: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """See ``Reference.sequence_log_probs`` of ``klrl_envs``."""
        result = np.zeros(tokens.shape)
        for place, (row, begin, length) in enumerate(zip(tokens, first, lengths, strict=True)):
            known = self._read.get(row[:length].tobytes())
            if known is None or len(known) != length - begin:
                return self._reference.sequence_log_probs(tokens, first, lengths)
            result[place, begin:length] = known
        return result


def reading_engine(task: Task, lanes: int, seed: int) -> Engine:
    """An engine that pays whole texts, and whose ``task.reference`` is a ``ReadReference``.

    Its lanes are seeded as those of ``make_engine``.
    """
    reference: Any = ReadReference(task.reference)
    engine = Engine(replace(task, reference=reference), lanes, reference_log_prob="end")
    engine.seed_lanes(np.random.default_rng((seed, 1, lane)) for lane in range(lanes))
    return engine


def paid_texts(engine: Engine, prompts: NDArray[np.int64], texts: Texts) -> dict[str, Any]:
    """Play texts of the prompts [N] in an engine's lanes; what it counted and paid.

    Returns the ``rewards`` float32 [N, T] on the texts' device, the ``texts`` as strings, and the other
    ``metrics``, arrays [N].
    """
    every = np.arange(engine.lanes)
    engine.reset(every, prompts)
    actions = texts.actions.cpu().numpy()
    rewards = np.zeros(actions.shape)
    metrics: dict[str, NDArray[Any]] = {}
    for step in range(actions.shape[1]):
        if engine.done.all():
            break
        result = engine.step(actions[:, step], ~engine.done)
        rewards[:, step] = result.reward
        for name, values in result.metrics.items():
            if name not in metrics:
                metrics[name] = np.zeros((engine.lanes, *values.shape[1:]), dtype=values.dtype)
            metrics[name][result.finished] = values
    metrics.pop("reference_log_prob", None)
    return {
        "rewards": torch.as_tensor(rewards, dtype=torch.float32, device=texts.actions.device),
        "texts": [str(text) for text in metrics.pop("text")],
        "metrics": metrics,
    }


@torch.no_grad()
def write_texts(
    weights: DecoderWeights,
    prompts: Tensor,
    lengths: Tensor,
    rows: Tensor,
    horizon: int,
    end_token: int,
    generator: torch.Generator,
    greedy: bool = False,
) -> tuple[Tensor, Tensor]:
    """Texts of a ``Nano`` after prompts, each of which is read once.

    On the CPU texts that have ended are taken out, by the quarter; elsewhere shapes stay, and nothing waits.

    Args:
        weights: of the network.
        prompts: int64 [U, P + 1], the start token first, padded on the right.
        lengths: int64 [U], of the prompts, the start token counted.
        rows: int64 [N], the prompt of each text.
        horizon: T.
        end_token: -1 where there is none.
        generator: of what is drawn, on the weights' device.
        greedy: takes the likeliest tokens.

    Returns:
        The tokens [N, T], the end token after the end, and their log-probs [N, T] in nats, zero after it.
    """
    count, device = len(rows), rows.device
    decoder = Decoder(weights, count, prompts.shape[1] + horizon)
    there = torch.arange(count, device=device)  # the texts that are still in the decoder
    states = decoder.start(prompts, lengths[rows], rows=rows)
    tokens = rows.new_full((count, horizon), max(end_token, 0))
    log_probs = states.new_zeros((count, horizon))
    going = torch.ones(count, dtype=torch.bool, device=device)
    for step in range(horizon):
        token, log_prob = next_tokens(decoder.logits(states), generator, greedy)
        token = token.where(going, max(end_token, 0))
        tokens[there, step] = token
        log_probs[there, step] = log_prob.masked_fill(~going, 0.0)
        going = going & (token != end_token)
        if device.type == "cpu" and 4 * int(going.sum()) <= 3 * len(going):
            kept = going.nonzero()[:, 0]
            decoder.keep(kept)
            there, token, going = there[kept], token[kept], going[kept]
        if step + 1 == horizon or not len(there):
            break
        states = decoder.step(token)
    return tokens, log_probs


def next_tokens(logits: Tensor, generator: torch.Generator, greedy: bool) -> tuple[Tensor, Tensor]:
    """Tokens [N] of logits [N, V], which are written to: drawn, or the likeliest; and their log-probs."""
    if greedy:
        return likeliest(logits.log_softmax(dim=-1))
    return draw_tokens(logits, torch.rand(len(logits), generator=generator, device=logits.device))


def up_to_the_end(tokens: Tensor, end_token: int) -> Tensor:
    """Bool [N, T]: the tokens [N, T] before the end token, and that itself."""
    ends = tokens == end_token
    return (ends.cumsum(dim=1) - ends.long()) == 0
