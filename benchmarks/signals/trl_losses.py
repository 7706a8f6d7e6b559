"""TRL's trainers as losses of a ``Batch``: their own code, of which three methods are replaced.

A trainer is made as anyone makes it, on a model of one layer in a folder. What is replaced is where its
numbers come from: what was written (``_generate``), what it is paid (``_calculate_rewards``), and what the
policy and the reference think of it (``_get_per_token_logps_and_entropies``). Advantages, baselines, the KL,
masks, normalisers and clipping are what TRL computes in ``_generate_and_score_completions`` and
``_compute_loss``, which run as they are, in float64 where TRL leaves it so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from klrl_envs.signals import Batch

Algorithm = Literal["GRPO", "RLOO"]
Meets = Literal["nothing", "number of tokens", "deviation"]
PROMPT = "1"
"""What stands for every prompt: what the policy thinks is not asked of the model."""
BY_TOKENS = ("bnpo", "dapo", "cispo", "vespo")
"""Losses that are divided by the number of the batch's tokens."""
TENSORS = ("log_probs", "old_log_probs", "reference_log_probs", "tokens", "mask", "rewards")
"""What is handed to a trainer of a batch; the first has the gradient."""


@dataclass(frozen=True)
class Called:
    """A trainer of TRL and how it is set.

    Attributes:
        algorithm: which trainer.
        settings: of its config, without beta.
        beta: whether the trainer's beta is the task's kl_coef; else 0, which is GRPO's default.
        steps: gradient steps that the trainer is told to make on each batch; it then keeps the log-probs that
            the policy had when it wrote, and clips the ratio.
    """

    algorithm: Algorithm
    settings: Mapping[str, Any]
    beta: bool = True
    steps: int = 1

    @property
    def groups_meet_in(self) -> Meets:
        """What the groups of a batch share, so that the gradient of one depends on the others."""
        if self.settings.get("scale_rewards") == "batch" or self.settings.get("normalize_advantages"):
            return "deviation"
        if self.algorithm == "GRPO" and self.settings.get("loss_type", "dapo") in BY_TOKENS:
            return "number of tokens"
        return "nothing"

    def loss(self, most_tokens: int) -> TRLLoss:
        """As a loss of a ``Batch``.

        Args:
            most_tokens: of a text; TRL's ``max_completion_length``.
        """
        return TRLLoss(self, most_tokens)


class TRLLoss:
    """One call is one batch that a trainer generates, scores and computes its loss of.

    Many calls at once (``vmap``) are given to TRL as one batch of many prompts, and the gradient of its
    mean is taken apart again: of calls with equally many tokens, where the loss is divided by the batch's
    tokens. Where a standard deviation is the batch's, calls are made one after the other.
    """

    def __init__(self, called: Called, most_tokens: int) -> None:
        self.called, self.trainer = called, trainer_of(called, most_tokens)

    def __call__(self, batch: Batch) -> torch.Tensor:
        """The loss of a batch."""
        tensors = [getattr(batch, name) for name in TENSORS]
        self.trainer.num_generations = batch.group_size
        self.trainer.beta = batch.kl_coef if self.called.beta else 0.0
        return OfTheTrainer.apply(self, *tensors)[0]

    def together(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of M calls, tensors [M, B, ...]: their losses [M] and the gradients [M, B, T] in the log-probs.

        The losses are each the mean over the calls that are given to TRL together.
        """
        losses, gradients = tensors[0].new_zeros(len(tensors[0])), torch.zeros_like(tensors[0])
        kinds = torch.zeros_like(losses)
        if self.called.groups_meet_in == "number of tokens":
            kinds = tensors[TENSORS.index("mask")].sum(dim=(1, 2))
        for kind in kinds.unique():
            which = kinds == kind
            losses[which], gradients[which] = self.mean_of([one[which] for one in tensors])
        return losses, gradients

    def mean_of(self, tensors: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The trainer's loss of M calls [], and the gradients of each [M, B, T]."""
        calls, trainer = len(tensors[0]), self.trainer
        seen = dict(zip(TENSORS, [one.flatten(0, 1) for one in tensors], strict=True))
        with torch.enable_grad():
            log_probs = seen["log_probs"] = seen["log_probs"].detach().requires_grad_()
            trainer.seen = seen
            # columns of padding come from longer texts of the same batch; here from the width of the tensors
            trainer.pad_to_multiple_of = log_probs.shape[1]
            inputs = trainer._generate_and_score_completions([{"prompt": PROMPT} for _ in log_probs])
            loss = trainer._compute_loss(trainer.model, inputs)
            (gradient,) = torch.autograd.grad(loss, log_probs)
        trainer._metrics["train"].clear()
        return loss.detach(), calls * gradient.reshape_as(tensors[0])


class OfTheTrainer(torch.autograd.Function):
    """(loss, gradient in the log-probs) of a trainer, for one call or, under ``vmap``, for many."""

    @staticmethod
    def forward(trained: TRLLoss, *tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of one call."""
        losses, gradients = trained.together(*[one[None] for one in tensors])
        return losses[0], gradients[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep the gradient."""
        ctx.save_for_backward(output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, *of: torch.Tensor) -> tuple[Any, ...]:
        """The log-probs alone have one."""
        return None, of[0] * ctx.saved_tensors[0], *[None] * (len(TENSORS) - 1)

    @staticmethod
    def vmap(info: Any, in_dims: Any, trained: TRLLoss, *tensors: torch.Tensor) -> tuple[Any, Any]:
        """Of many calls.

        Raises:
            NotImplementedError: they cannot be told apart.
        """
        if trained.called.groups_meet_in == "deviation":
            raise NotImplementedError("a standard deviation is the batch's")
        size = info.batch_size
        many = [
            one.expand(size, *one.shape) if at is None else one.movedim(at, 0)
            for one, at in zip(tensors, in_dims[1:], strict=True)
        ]
        return trained.together(*many), (0, 0)


class FromTheBatch:
    """What replaces a trainer's methods: texts, rewards and log-probs are those of the batch ``seen``."""

    seen: dict[str, torch.Tensor]

    def _generate(self, prompts: list[str]) -> tuple[Any, ...]:
        lengths = self.seen["mask"].sum(dim=1).long().tolist()
        written = [row[:length] for row, length in zip(self.seen["tokens"].tolist(), lengths, strict=True)]
        return [[0]] * len(prompts), written, *self._rest(len(prompts))

    def _rest(self, texts: int) -> tuple[Any, ...]:
        raise NotImplementedError

    def _calculate_rewards(self, *arguments: Any) -> torch.Tensor:
        return self.seen["rewards"][:, None]

    def _get_per_token_logps_and_entropies(self, model: Any, *arguments: Any, **more: Any) -> tuple[Any, ...]:
        if model is self.ref_model:  # pyright: ignore[reportAttributeAccessIssue]
            found = self.seen["reference_log_probs"]
        else:  # without gradient it is asked what the policy thought when it wrote
            found = self.seen["log_probs" if torch.is_grad_enabled() else "old_log_probs"]
        return found, torch.zeros_like(found), None


def trainer_of(called: Called, most_tokens: int) -> Any:
    """A trainer of TRL with the methods of ``FromTheBatch``."""
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer
    from trl.trainer.rloo_config import RLOOConfig
    from trl.trainer.rloo_trainer import RLOOTrainer

    class GRPO(FromTheBatch, GRPOTrainer):
        def _rest(self, texts: int) -> tuple[Any, ...]:
            return None, [""] * texts, None, {}, None, []

    class RLOO(FromTheBatch, RLOOTrainer):
        def _rest(self, texts: int) -> tuple[Any, ...]:
            return ([""] * texts,)

    kinds: dict[str, tuple[Any, Any]] = {"GRPO": (GRPOConfig, GRPO), "RLOO": (RLOOConfig, RLOO)}
    Config, Trainer = kinds[called.algorithm]
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer = tiny_model(Path(folder))
        args = Config(
            output_dir=folder,
            beta=1.0 if called.beta else 0.0,
            num_generations=4,
            num_iterations=called.steps,
            per_device_train_batch_size=4,
            max_completion_length=most_tokens,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            disable_tqdm=True,
            **called.settings,
        )
        trainer = Trainer(
            model=model,
            reward_funcs=lambda completions, **more: [0.0] * len(completions),
            args=args,
            train_dataset=Dataset.from_dict({"prompt": [PROMPT] * 4}),
            processing_class=tokenizer,
        )
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1  # which the loop of the training sets
    return trainer


def tiny_model(folder: Path, words: int = 3, hidden: int = 8, spread: float = 0.02) -> tuple[Any, Any]:
    """A causal model of one layer and its tokenizer, in a folder.

    Args:
        folder: is made.
        words: of the vocabulary, which are named by their numbers; 0 ends a text and is the padding.
        hidden: the width.
        spread: standard deviation of the weights: the larger, the farther from uniform it writes.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    plain = Tokenizer(WordLevel({str(word): word for word in range(words)}, unk_token="0"))
    plain.pre_tokenizer = Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, eos_token="0", pad_token="0", unk_token="0", padding_side="left"
    )
    # positions that are learnt: by rotations alone a word said twice reads as said once
    config = GPT2Config(
        vocab_size=words, n_embd=hidden, n_layer=1, n_head=1, n_positions=32, initializer_range=spread,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, pad_token_id=0, eos_token_id=0, bos_token_id=None,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return GPT2LMHeadModel.from_pretrained(folder), tokenizer
