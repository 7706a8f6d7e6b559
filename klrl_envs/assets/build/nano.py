"""``nano``: tokenizer and transformer trained on the reviews.

Recipe: byte-level BPE; Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) for the
matrices of the blocks and AdamW for the rest; constant learning rate, then linear to zero. Windows of
128 tokens from the stream of reviews, each preceded by the end token. Deterministic given the seed
and the number of threads; a checkpoint every 200 steps makes an interrupted run resume.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from tqdm import tqdm

from klrl_envs.assets.build.corpus import Review, load_reviews
from klrl_envs.assets.build.learner import Learner
from klrl_envs.assets.build.recipe import Asset, Recipe
from klrl_envs.reference.nano import Nano, NanoConfig

END_OF_TEXT = "<|end|>"
SEED = 0
WINDOW = 128
BATCH = 32
STEPS = 3_200
WARMUP = 100
DECAY_FROM = 0.35
MATRIX_LEARNING_RATE = 0.02
OTHER_LEARNING_RATE = 3e-3
CHECKPOINT_EVERY = 200


def train_tokenizer(reviews: list[Review], vocab_size: int) -> Tokenizer:
    """Byte-level BPE with the end token as id 0, trained on everything not held out."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [review.text for review in reviews if review.part != "held_out"]
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def token_stream(tokenizer: Tokenizer, texts: list[str]) -> np.ndarray:
    """Token ids [N] of the texts in order, each preceded by the end token (id 0)."""
    pieces = [[0, *encoding.ids] for encoding in tokenizer.encode_batch_fast(texts)]
    return np.concatenate([np.array(piece, dtype=np.uint16) for piece in pieces])


def epoch_windows(stream: np.ndarray, epoch: int) -> np.ndarray:
    """Start indices of one epoch's windows: a random offset, then every WINDOW tokens, shuffled."""
    rng = np.random.default_rng([SEED, epoch])
    starts = np.arange(rng.integers(WINDOW), len(stream) - WINDOW - 1, WINDOW)
    return rng.permutation(starts)


def learning_rate_factor(step: int) -> float:
    """Warm-up, constant, linear to zero."""
    warm = min(1.0, (step + 1) / WARMUP)
    return warm * min(1.0, (STEPS - step) / (STEPS * (1 - DECAY_FROM)))


@torch.no_grad()
def held_out_loss(model: Nano, stream: np.ndarray) -> float:
    """Mean loss (nats per token) over non-overlapping windows of WINDOW predictions."""
    count = (len(stream) - 1) // WINDOW
    total = 0.0
    for first in range(0, count, 64):
        starts = np.arange(first, min(first + 64, count)) * WINDOW
        inputs, targets = batch_at(stream, starts)
        total += F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum").item()
    return total / (count * WINDOW)


def batch_at(stream: np.ndarray, starts: np.ndarray) -> tuple[Tensor, Tensor]:
    """Inputs and targets, each int64 [B, WINDOW], of the windows that begin at ``starts``."""
    rows = torch.as_tensor(stream[starts[:, None] + np.arange(WINDOW + 1)].astype(np.int64))
    return rows[:, :-1], rows[:, 1:]


def train(stream: np.ndarray, held_out: np.ndarray, checkpoint: Path, log: Path) -> Nano:
    """Train for STEPS steps, resuming from ``checkpoint`` where it exists."""
    learner = Learner(NanoConfig(), SEED, MATRIX_LEARNING_RATE, OTHER_LEARNING_RATE, checkpoint)
    model, first = learner.model, learner.step
    forward = cast(Any, torch).compile(model)
    windows_an_epoch = len(epoch_windows(stream, 0)) // BATCH * BATCH
    started = time.time()
    for step in tqdm(range(first, STEPS), initial=first, total=STEPS, desc="nano", unit="step"):
        epoch, index = divmod(step * BATCH, windows_an_epoch)
        starts = epoch_windows(stream, epoch)[index : index + BATCH]
        inputs, targets = batch_at(stream, starts)
        loss: Any = F.cross_entropy(forward(inputs).flatten(0, 1), targets.flatten())
        learner.descend(loss, learning_rate_factor(step))
        done = step + 1
        if done % CHECKPOINT_EVERY == 0 or done == STEPS:
            held = held_out_loss(model, held_out[: 400 * WINDOW + 1])
            row = {"step": done, "loss": loss.item(), "held_out": held, "seconds": time.time() - started}
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")
            learner.save()
    return model


def build(out: Path, work: Path) -> dict[str, object]:
    """Write ``nano.tokenizer.json`` and ``nano.safetensors`` to ``out``; return the card's measurements."""
    work.mkdir(parents=True, exist_ok=True)
    reviews = load_reviews()
    tokenizer_path = out / "nano.tokenizer.json"
    if not tokenizer_path.exists():
        train_tokenizer(reviews, NanoConfig().vocab_size).save(str(tokenizer_path))
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    order = np.random.default_rng(SEED).permutation(len(reviews))
    parts = {
        held: token_stream(
            tokenizer, [reviews[int(i)].text for i in order if (reviews[int(i)].part == "held_out") == held]
        )
        for held in (False, True)
    }
    model = train(parts[False], parts[True], work / "nano.checkpoint.pt", work / "nano.log.jsonl")
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, out / "nano.safetensors"
    )
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "training_tokens": STEPS * BATCH * WINDOW,
        "corpus_tokens": len(parts[False]),
        "held_out_tokens": len(parts[True]),
        "held_out_nats_per_token": round(held_out_loss(model, parts[True]), 4),
    }


CARD = """\
# nano: a small language model of film reviews

The reference of the neural tasks: a Llama-style transformer (RMSNorm, rotary positions, SwiGLU, tied
embeddings; width 192, 4 layers, 3 heads, context 128) over a byte-level BPE of 2,048 tokens, token 0 being
the end of a text.

## Data
$data

The tokenizer and the weights see everything but the held-out tenth; labels are not used.

## Recipe
`klrl_envs/assets/build/nano.py`:
windows of 128 tokens; Muon for the matrices of the blocks and AdamW for the
rest; constant learning rate, then linear to zero.
$rebuild

## Measured
On the reviews of the held-out tenth, in non-overlapping windows of 128 predictions.

$measured

## Limits
It writes the surface of a review and little sense; it knows films and people as strings. It repeats what
reviewers write, which may be rude or untrue. It has not seen positions above 128 tokens.

## Files
$files
"""
RECIPE = Recipe(
    name="nano",
    assets=(
        Asset(
            "nano",
            (
                "nano.tokenizer.json",
                "nano.safetensors",
            ),
            CARD,
        ),
    ),
    takes="about 50 minutes on 2 CPU cores",
    reads=(),
    build=lambda out, work: {"nano": build(out, work)},
)
