"""The policy that is a causal model of transformers: all its weights move, or LoRA factors by peft."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.networks.language_model import LanguageModelPolicy
from agents.networks.text_critic import TextCritic
from agents.networks.writing import next_tokens
from klrl_envs import Task
from klrl_envs.networks.causal_folder import hub_reference_of, with_adapter
from klrl_envs.networks.half_precision import in_bfloat16
from klrl_envs.policies import CausalLMPolicy


class CausalPolicy(LanguageModelPolicy):
    """A causal model that starts as the reference, with a critic or without.

    With factors pi0 is the same model without them, so that its weights are there once.

    Args:
        task: a neural task whose reference is a model of transformers.
        critic: whether there is one.
        rank, alpha: of the factors; 0 where all weights move.
        checkpoint_layers: computes a layer's activations again for its gradient, in place of keeping them.

    Raises:
        ValueError: another reference, or ``checkpoint_layers`` and a model that draws in training mode.
        ImportError: a rank, and peft is not installed.
    """

    def __init__(
        self,
        task: Task,
        *,
        critic: bool = True,
        rank: int = 0,
        alpha: int = 0,
        checkpoint_layers: bool = False,
    ) -> None:
        super().__init__()
        reference = hub_reference_of(task)
        self.task = task
        self.rank = rank
        self.start_token = reference.start_token
        self.checkpoint_layers = checkpoint_layers
        self.trains = f"LoRA of rank {rank}" if rank else "all weights"
        model = without_dropout(copy.deepcopy(reference.model))
        if checkpoint_layers:
            check_training_mode(model, min(16, task.max_length))
            recompute_layers(model)
        keep_logits_precise(model)
        self.model: Any = with_adapter(model, rank, alpha) if rank else model.requires_grad_(True)
        self.critic = TextCritic(task, reference.width) if critic else None
        self.middle = sum(task.reward_range) / 2 / task.kl_coef
        self._copies: dict[str, Any] = {}  # no submodule: nothing of it is trained, saved or averaged

    def at_once(self, device: torch.device) -> int:
        """See ``LanguageModelPolicy``; rows of a large vocabulary take memory."""
        return 32

    def split(self, index: Tensor, micro_batch: int) -> tuple[Tensor, ...]:
        """See ``PolicyNetwork``."""
        return index.split(micro_batch or len(index))

    def actor_weights(self) -> list[nn.Parameter]:
        """See ``PolicyNetwork``."""
        return [weight for weight in self.model.parameters() if weight.requires_grad]

    def reference(self, device: torch.device) -> Any:
        """pi0's network on a device, where all weights move."""
        model = hub_reference_of(self.task).model
        if model.device == device:
            return model
        if "reference" not in self._copies:
            self._copies["reference"] = copy.deepcopy(model).to(device)
        return self._copies["reference"]

    def written(
        self, prompts: NDArray[np.int64], generator: torch.Generator, greedy: bool = False
    ) -> tuple[Tensor, Tensor]:
        """See ``LanguageModelPolicy``."""
        unique, rows = np.unique(prompts, return_inverse=True)
        task, device = self.task, generator.device
        tokens, first = (
            torch.as_tensor(array[unique], device=device)
            for array in (task.padded_prompts, task.prompts.lengths)
        )
        begun = torch.as_tensor(rows.reshape(-1), device=device)
        inputs, mask, positions = self.aligned(tokens, first, 1)
        self.model.eval()
        return continued(
            self.model,
            {"input_ids": inputs, "attention_mask": mask, "position_ids": positions},
            begun,
            task.horizon,
            -1 if task.end_token is None else task.end_token,
            generator,
            greedy,
        )

    def aligned(self, tokens: Tensor, first: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, mask and positions [n, P + steps] in which all texts begin in one column.

        The last ``steps`` columns stand before the first ``steps`` tokens of the texts.

        Args:
            tokens: int64 [n, L], prompt and text, padded.
            first: int64 [n], where the text begins.
            steps: of the text that are read.
        """
        columns = torch.arange(self.task.prompt_length + steps, device=tokens.device)
        places = columns - (self.task.prompt_length - first[:, None]) - 1  # -1 is the start token
        if tokens.shape[1]:
            known = tokens.gather(1, places.clamp(0, tokens.shape[1] - 1))
        else:
            known = torch.zeros_like(places)
        inputs = torch.where(places >= 0, known, self.start_token).clamp_max(self.task.vocab_size - 1)
        return inputs, (places >= -1).long(), (places + 1).clamp_min(0)

    def read(
        self, tokens: Tensor, first: Tensor, mask: Tensor, *, reference: bool = False
    ) -> tuple[Tensor, Tensor]:
        """See ``LanguageModelPolicy``; on CUDA what gets a gradient is in bfloat16, but for the logits."""
        steps = mask.shape[1]
        inputs, seen, positions = self.aligned(tokens, first, steps)
        model = self.reference(tokens.device) if reference and not self.rank else self.model
        model.train(
            self.checkpoint_layers and torch.is_grad_enabled()
        )  # in which alone layers are recomputed
        alone = self.model.disable_adapter() if reference and self.rank else nullcontext()
        with alone, in_bfloat16(tokens.device):
            output = model(
                input_ids=inputs,
                attention_mask=seen,
                position_ids=positions,
                use_cache=False,
                output_hidden_states=True,
                logits_to_keep=steps,
            )
        hidden = output.hidden_states[-1][:, -steps:].float()
        return hidden, output.logits[:, -steps:].float()[mask]

    def for_evaluation(self, task: Task) -> tuple[CausalLMPolicy, bool]:
        """See ``PolicyNetwork``."""
        return CausalLMPolicy(self.to(task.device).model.eval(), task, self.start_token), False

    def save(self, out: Path) -> None:
        """The folder ``policy`` in ``out``, which ``load_policy`` reads: the adapter, or the model."""
        if self.rank:
            self.model.save_pretrained(out / "policy", save_embedding_layers=False)
        else:
            self.model.save_pretrained(out / "policy")


def without_dropout(model: Any) -> Any:
    """A model that is the same network in training mode: its layers' shares of dropout are 0, in place."""
    module: Any
    for name, module in model.named_modules():
        drops = "drop" in f"{name.rpartition('.')[2]} {type(module).__name__}".lower()
        no_drop(module, "p" if drops else "")
    config = model.config
    for part in (config, *(value for value in vars(config).values() if hasattr(value, "to_dict"))):
        no_drop(part)
    return model


def no_drop(owner: Any, share: str = "") -> None:
    """Set an object's floats to 0 that are called something with "drop", and ``share``."""
    for name, value in list(vars(owner).items()):
        if isinstance(value, float) and ("drop" in name.lower() or name == share):
            setattr(owner, name, 0.0)


def check_training_mode(model: Any, length: int) -> None:
    """Raise ValueError where a model reads texts of some length otherwise in training mode."""
    size = model.config.vocab_size
    tokens = (torch.arange(4 * length, device=model.device) % size).view(4, length)
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        found = [model.train(mode)(input_ids=tokens, use_cache=False).logits for mode in (True, False)]
    if not torch.allclose(*found, rtol=1e-4, atol=1e-4):
        raise ValueError(
            f"checkpoint_layers must be False for {type(model).__name__}: in training mode, in which alone "
            "layers are recomputed, it is another network (dropout, or noise, that no setting turns off)"
        )


def recompute_layers(model: Any) -> None:
    """Keep no activations of a model's layers where it is in training mode."""
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
    names = signature(enable).parameters
    wanted = next(name for name in names if name.endswith("checkpointing_kwargs"))
    enable(**{wanted: {"use_reentrant": False}})


def keep_logits_precise(model: Any) -> None:
    """Compute a model's logits in float32, under autocast, too."""
    head = model.get_output_embeddings()
    product = head.forward

    def forward(hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return product(hidden.float())

    head.forward = forward


@torch.no_grad()
def continued(
    model: Any,
    begun: dict[str, Tensor],
    rows: Tensor,
    horizon: int,
    end_token: int,
    generator: torch.Generator,
    greedy: bool = False,
) -> tuple[Tensor, Tensor]:
    """Texts of a causal model with its own cache, after prompts each of which is read once.

    Args:
        model: of transformers.
        begun: the prompts as its arguments, [U, P], aligned on the right.
        rows: int64 [N], the prompt of each text.
        horizon: T.
        end_token: -1 where there is none.
        generator: of what is drawn, on the model's device.
        greedy: takes the likeliest tokens.

    Returns:
        The tokens [N, T], the end token after the end, and their log-probs [N, T] in nats, zero after it.
    """
    output = model(**begun, use_cache=True, logits_to_keep=1)
    cache, logits = output.past_key_values, output.logits[:, -1][rows]
    cache.batch_select_indices(rows)
    mask, position = begun["attention_mask"][rows], begun["position_ids"][rows][:, -1:]
    ended = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    tokens, log_probs = [], []
    for step in range(horizon):
        token, log_prob = next_tokens(logits.float(), generator, greedy)
        tokens.append(token.masked_fill(ended, max(end_token, 0)))
        log_probs.append(log_prob.masked_fill(ended, 0.0))
        ended = ended | (token == end_token)
        if step + 1 < horizon:
            mask, position = torch.cat((mask, mask.new_ones((len(mask), 1))), dim=1), position + 1
            output = model(
                input_ids=tokens[-1][:, None],
                attention_mask=mask,
                position_ids=position,
                past_key_values=cache,
                use_cache=True,
            )
            logits = output.logits[:, -1]
    return torch.stack(tokens, dim=1), torch.stack(log_probs, dim=1)
