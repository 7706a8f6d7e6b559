"""The policy that is a language model: it starts as the reference, and all its weights or factors move."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.networks.policy import PolicyNetwork
from agents.networks.reading import hidden_states, layer
from agents.networks.text_critic import TextCritic
from agents.networks.trajectories import Trajectories, residual_scores
from agents.networks.writing import (
    Texts,
    WrittenTexts,
    paid_texts,
    reading_engine,
    up_to_the_end,
    write_texts,
)
from klrl_envs import Engine, Task
from klrl_envs.networks.half_precision import in_bfloat16
from klrl_envs.networks.language_model import LanguageModelNetwork, copied
from klrl_envs.reference.decoder import DecoderWeights

MOST_ROWS = 1 << 28
"""Numbers of pi0's rows [N, T, V] up to which a critic's KL is exact; beyond, KL is k1 in the return."""
READ_AT_ONCE = {"cpu": 64}
"""Texts that are read in one pass, at most: on the CPU as many as its cache has room for, else 256."""


class LanguageModelPolicy(PolicyNetwork):
    """What the policies that are language models have in common.

    Texts are written whole, on the policy's device, before the engine pays them. Then pi0 reads them, once,
    in one parallel pass. With a critic the policy reads them, too: the critic is given its hidden states as
    they were written, which it does not move, and the KL is exact where pi0's rows are not too many.

    Attributes:
        task: what is played.
        critic: reads the hidden states and the tokens; None without a critic.
        middle: of the range of rewards, nats.
    """

    observes: ClassVar = "the tokens"
    task: Task
    critic: TextCritic | None
    middle: float

    @abstractmethod
    def written(
        self, prompts: NDArray[np.int64], generator: torch.Generator, greedy: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Tokens [N, T] after the prompts [N], the likeliest where ``greedy``, the end token after the end,
        and their log-probs [N, T] in nats, zero after it.
        """

    @abstractmethod
    def read(
        self, tokens: Tensor, first: Tensor, mask: Tensor, *, reference: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Final hidden states [n, T, width] before each token of texts, and logits float32 [M, V].

        Args:
            tokens: int64 [n, L], prompt and text, padded.
            first: int64 [n], where the text begins.
            mask: bool [n, T], the M steps that were taken.
            reference: reads with pi0 instead.
        """

    def at_once(self, device: torch.device) -> int:
        """Texts that are read in one pass, at most."""
        return READ_AT_ONCE.get(device.type, 256)

    def split(self, index: Tensor, micro_batch: int) -> tuple[Tensor, ...]:
        """See ``PolicyNetwork``."""
        return index.split(
            micro_batch or (self.at_once(index.device) if index.device.type == "cpu" else len(index))
        )

    def critic_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``."""
        return [] if self.critic is None else list(self.critic.parameters())

    def trained_state(self) -> dict[str, Tensor]:
        """See ``PolicyNetwork``."""
        moved = {name for name, weight in self.named_parameters() if weight.requires_grad}
        return {name: weight for name, weight in self.state_dict().items() if name in moved}

    def engine(self, task: Task, lanes: int, seed: int) -> Engine:
        """See ``PolicyNetwork``; pi0 is asked for whole texts."""
        return reading_engine(task, lanes, seed)

    def write(
        self,
        engine: Engine,
        prompts: NDArray[np.int64],
        generator: torch.Generator,
        given: NDArray[np.int64] | None = None,
        greedy: bool = False,
        by_reference: NDArray[np.bool_] | None = None,
    ) -> WrittenTexts:
        """See ``PolicyNetwork``."""
        task, device = self.task, generator.device
        if by_reference is not None:
            raise ValueError("by_reference: a language model that writes has no reference beside it")
        if given is None:
            actions, log_probs = self.written(prompts, generator, greedy)
        else:
            actions, log_probs = (
                torch.as_tensor(given, device=device),
                torch.zeros(given.shape, device=device),
            )
        mask = up_to_the_end(actions, -1 if task.end_token is None else task.end_token)
        texts = Texts(
            torch.as_tensor(task.padded_prompts[prompts], device=device),
            torch.as_tensor(task.prompts.lengths[prompts], device=device),
            torch.where(mask, actions, task.pad), log_probs, mask, task.pad,
        )  # fmt: skip
        exact = self.critic is not None and mask.numel() * task.vocab_size <= MOST_ROWS
        reference, rows = self.taken(texts, reference=True, keep=exact)
        if given is not None:
            log_probs, _ = self.taken(texts, reference=False, keep=False)
        remember = getattr(engine.task.reference, "remember", None)
        if remember is not None:
            remember(texts, reference)
        hidden, kl = self.read_again(texts, rows)
        return WrittenTexts(
            inputs=hidden,
            rows=rows,
            tokens=texts.whole(),
            first=texts.first,
            actions=texts.actions,
            mask=mask,
            log_ratios=log_probs - reference,
            log_probs=log_probs,
            kl=kl,
            base=torch.full_like(log_probs, self.middle),
            **paid_texts(engine, prompts, texts),
        )

    @torch.no_grad()
    def taken(self, texts: Texts, *, reference: bool, keep: bool) -> tuple[Tensor, Tensor]:
        """log pi0 of the actions [N, T], or log pi, nats, zero after the end; the rows [N, T, V] if kept."""
        whole, vocabulary = texts.whole(), self.task.vocab_size if keep else 0
        taken, rows = [], texts.log_probs.new_zeros((*texts.mask.shape, vocabulary))
        for part in torch.arange(len(whole), device=whole.device).split(self.at_once(whole.device)):
            mask, actions = texts.mask[part], texts.actions[part]
            _, logits = self.read(whole[part], texts.first[part], mask, reference=reference)
            log_probs = logits.log_softmax(dim=-1)
            chosen = log_probs.gather(-1, actions[mask][:, None]).squeeze(-1)
            taken.append(torch.zeros_like(texts.log_probs[part]).masked_scatter(mask, chosen))
            if keep:
                rows[part] = rows[part].masked_scatter(mask[..., None], log_probs)
        return torch.cat(taken), rows

    @torch.no_grad()
    def read_again(self, texts: Texts, rows: Tensor) -> tuple[Tensor, Tensor]:
        """What a critic reads [N, T, D], and the exact KL [N, T] to rows [N, T, V]; else zeros."""
        whole, kl = texts.whole(), torch.zeros_like(texts.log_probs)
        if self.critic is None:
            return kl.new_zeros((*kl.shape, 0)), kl
        inputs = []
        for part in torch.arange(len(whole), device=whole.device).split(self.at_once(whole.device)):
            mask = texts.mask[part]
            hidden, logits = self.read(whole[part], texts.first[part], mask)
            inputs.append(hidden)
            if rows.shape[-1]:
                log_probs = logits.log_softmax(dim=-1)
                apart = (log_probs.exp() * (log_probs - rows[part][mask])).sum(dim=-1)
                kl[part] = kl[part].masked_scatter(mask, apart)
        return torch.cat(inputs), kl

    def scores(self, trajectories: Trajectories, index: Tensor) -> tuple[Tensor, Tensor]:
        """See ``PolicyNetwork``; the KL is zero where pi0's rows are not there."""
        mask = trajectories.mask[index]
        _, logits = self.read(trajectories.tokens[index], trajectories.first[index], mask)
        if trajectories.rows.shape[-1]:
            return residual_scores(trajectories, index, logits - trajectories.taken(trajectories.rows, index))
        taken = -F.cross_entropy(logits, trajectories.actions[index][mask], reduction="none")
        blank = torch.zeros(mask.shape, device=mask.device)
        return blank.masked_scatter(mask, taken), blank

    def values(self, trajectories: Trajectories, index: Tensor) -> Tensor:
        """See ``PolicyNetwork``."""
        assert self.critic is not None
        texts = (trajectories.inputs[index], trajectories.tokens[index], trajectories.first[index])
        return trajectories.base[index] + self.critic(*texts)

    def level(self, returns: Tensor) -> None:
        """See ``PolicyNetwork``."""
        if self.critic is not None:
            self.critic.raise_by(returns.mean() - self.middle)


class NanoPolicy(LanguageModelNetwork, LanguageModelPolicy):
    """A ``Nano`` that starts as the reference, with a critic or without.

    Args:
        task: a neural task whose reference is a ``Nano``.
        critic: whether there is one.
        rank, alpha: of the factors; 0 where all weights move.
        checkpoint_layers: computes a layer's activations again for its gradient, in place of keeping them.
        compile_layers: has torch compile how layers are read.
    """

    def __init__(
        self,
        task: Task,
        *,
        critic: bool = True,
        rank: int = 0,
        alpha: int = 0,
        checkpoint_layers: bool = False,
        compile_layers: bool = False,
    ) -> None:
        super().__init__(task, rank=rank, alpha=alpha)
        self.critic = TextCritic(task, self.model.config.width) if critic else None
        self.middle = sum(task.reward_range) / 2 / task.kl_coef
        self.checkpoint_layers = checkpoint_layers
        self._layer: Any = torch.compile(layer, dynamic=False) if compile_layers else layer
        lengths = set(task.prompts.lengths.tolist())
        self.shared = lengths.pop() + 1 if len(lengths) == 1 else None  # tokens before every text
        self.trains = f"LoRA of rank {rank}" if rank else "all weights"
        self._copies: dict[str, Any] = {}  # no submodules: nothing of them is trained, saved or averaged

    def actor_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``."""
        return [weight for weight in self.model.parameters() if weight.requires_grad]

    def reference(self, device: torch.device) -> Any:
        """pi0's network on a device."""
        model: Any = self.task.reference
        model = model.model
        if model.embedding.weight.device == device:
            return model
        if "reference" not in self._copies:
            self._copies["reference"] = copied(model, str(device)).requires_grad_(False)
        return self._copies["reference"]

    def written(
        self, prompts: NDArray[np.int64], generator: torch.Generator, greedy: bool = False
    ) -> tuple[Tensor, Tensor]:
        """See ``LanguageModelPolicy``."""
        task, device = self.task, generator.device
        unique, rows = np.unique(prompts, return_inverse=True)
        lengths = task.prompts.lengths[unique]
        inside = np.arange(task.prompt_length) < lengths[:, None]
        shown = np.where(inside, task.prompts.tokens[unique], self.start_token)
        model = self._copies["writer"] = self.plain(self._copies.get("writer")) if self.rank else self.model
        return write_texts(
            DecoderWeights.of(model),
            torch.as_tensor(np.pad(shown, ((0, 0), (1, 0)), constant_values=self.start_token), device=device),
            torch.as_tensor(lengths + 1, device=device),
            torch.as_tensor(rows.reshape(-1), device=device),
            task.horizon,
            -1 if task.end_token is None else task.end_token,
            generator,
            greedy,
        )

    def read(
        self, tokens: Tensor, first: Tensor, mask: Tensor, *, reference: bool = False
    ) -> tuple[Tensor, Tensor]:
        """See ``LanguageModelPolicy``; on CUDA what gets a gradient is in bfloat16, but for the logits."""
        model = self.reference(tokens.device) if reference else self.model
        whole = F.pad(tokens, (1, 0), value=self.start_token).clamp_max(self.task.vocab_size - 1)
        recompute = self.checkpoint_layers and torch.is_grad_enabled()
        with in_bfloat16(tokens.device):
            hidden = hidden_states(
                model,
                whole,
                first + 1,
                mask.shape[1],
                shared=self.shared,
                recompute=recompute,
                compiled=self._layer,
            )
        hidden = hidden.float()
        return hidden, model.unembed(hidden[mask])
