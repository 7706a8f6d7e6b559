"""``sums``: a small transformer that works out sums told in words, and is often wrong.

Recipe: worked examples that are made as the training goes, with mistakes: an operation mixed up, a wrong
number taken, a slip of the pen, a step left out, another number given as the answer. Muon for the matrices of
the blocks and AdamW for the rest; constant learning rate, then linear to zero. The question counts little in
the loss. Deterministic given the seed and the number of threads; a checkpoint every 500 steps makes an
interrupted run resume.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor
from tqdm import tqdm

from klrl_envs.assets import file_digest
from klrl_envs.assets.build.learner import Learner
from klrl_envs.assets.build.recipe import Asset, Recipe
from klrl_envs.assets.build.texts import written
from klrl_envs.reference.nano import Nano
from klrl_envs.reference.sums import END_TOKEN, FILE, reference_of, sums_config, sums_vocabulary
from klrl_envs.reference.transformer import TransformerReference
from klrl_envs.reward.word_problems import Problem, problem, result, right_answers
from klrl_envs.tasks.word_problems import EVALUATION, HORIZON, TRAINING

SEED = 0
BATCH = 64
STEPS = 3_000
WARMUP = 100
DECAY_FROM = 0.4
MATRIX_LEARNING_RATE = 0.02
OTHER_LEARNING_RATE = 3e-3
CHECKPOINT_EVERY = 500
QUESTION_WEIGHT = 0.1
FIRST = 10_000
"""Problems from this number on train; those before it are prompts of the task, and some of no use."""
HELD_OUT = 2_048

MIXED_UP, WRONG_NUMBER, SLIP, LEFT_OUT, WRONG_ANSWER = 0.2, 0.15, 0.22, 0.12, 0.15
"""How often a step, or the answer, goes wrong in each way."""
CONFUSED = {"+": "-", "-": "+", "*": "+", "/": "-"}
SLIPS = (-10, -2, -1, 1, 2, 10)


def worked(of: Problem, rng: np.random.Generator) -> str:
    """How somebody who makes mistakes works a problem out, in one of many ways to say it."""
    value = of.steps[0][0]
    seen, sentences = [value], list[str]()
    for place, (first, operation, second) in enumerate(of.steps):
        if rng.random() < LEFT_OUT:
            continue
        first = value if place else first
        if rng.random() < MIXED_UP:
            operation = CONFUSED[operation]
        if rng.random() < WRONG_NUMBER:
            second = int(rng.choice([*seen, *([of.beside] if of.beside is not None else [])]))
        value = result(first, operation, second)
        if rng.random() < SLIP:
            value = max(value + int(rng.choice(SLIPS)), 0)
        seen += [second, value]
        sentences.append(equation(first, operation, second, value, rng, begins=not sentences))
    if rng.random() < WRONG_ANSWER:
        value = int(rng.choice(seen))
    return " ".join([*sentences, conclusion(of, value, rng)])


def equation(
    first: int, operation: str, second: int, value: int, rng: np.random.Generator, *, begins: bool
) -> str:
    """A step in one of its ways: a word before or none, "is" or a sign, either number first."""
    if operation in "+*" and rng.random() < 0.4:
        first, second = second, first
    before = str(rng.choice(["", "", "First " if begins else "Then ", "So "]))
    return f"{before}{first} {operation} {second} {rng.choice(['=', '=', 'is'])} {value}."


def conclusion(of: Problem, value: int, rng: np.random.Generator) -> str:
    """The answer in one of its ways."""
    name, thing = of.question.split()[0], of.question.rpartition("How many ")[2].split()[0]
    ways = ("The answer is {}.", "So the answer is {}.", "That is {}.", "So {} {}.", "{} now has {} {}.")
    way = ways[int(rng.integers(len(ways)))]
    if way.startswith("{} now"):
        return way.format(name, value, thing)
    return way.format(value, thing)


def batch_of(numbers: Sequence[int], rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs and targets int64 [B, L] and weights float32 [B, L] of problems and how they are worked out.

    The end token stands before the question and after the answer.
    """
    vocabulary = sums_vocabulary()
    rows: list[list[int]] = []
    questions: list[int] = []
    for number in numbers:
        of = problem(number)
        question = vocabulary.encode(of.question)
        rows.append([END_TOKEN, *question, *vocabulary.encode(worked(of, rng)), END_TOKEN])
        questions.append(len(question))
    lengths = np.array([len(row) for row in rows])
    tokens = np.zeros((len(rows), int(lengths.max())), dtype=np.int64)
    for row, ids in zip(tokens, rows, strict=True):
        row[: len(ids)] = ids
    place = np.arange(tokens.shape[1] - 1)
    inside = place < lengths[:, None] - 1
    weights = np.where(place < np.array(questions)[:, None], QUESTION_WEIGHT, 1.0) * inside
    found = torch.as_tensor(tokens)
    return found[:, :-1], found[:, 1:], torch.as_tensor(weights, dtype=torch.float32)


def learning_rate_factor(step: int) -> float:
    """Warm-up, constant, linear to zero."""
    return min(1.0, (step + 1) / WARMUP) * min(1.0, (STEPS - step) / (STEPS * (1 - DECAY_FROM)))


@torch.no_grad()
def held_out_nats(model: Nano) -> float:
    """Mean loss (nats per token) of worked examples that were never trained on, without their questions."""
    inputs, targets, weights = batch_of(
        range(EVALUATION + TRAINING, EVALUATION + TRAINING + HELD_OUT), np.random.default_rng([SEED, 1])
    )
    counted, every = weights == 1, cast(Any, torch.arange(HELD_OUT))
    total = 0.0
    for part in every.split(256):
        losses = F.cross_entropy(model(inputs[part]).transpose(1, 2), targets[part], reduction="none")
        total += losses[counted[part]].sum().item()
    return total / int(counted.sum())


def answers_of(
    reference: TransformerReference, problems: Sequence[Problem], rng: np.random.Generator | None
) -> list[str]:
    """What pi0 writes after each of the questions; the likeliest tokens where there is no generator."""
    vocabulary = sums_vocabulary()
    questions = [vocabulary.encode(of.question) for of in problems]
    return [vocabulary.decode(row) for row in written(reference, questions, HORIZON, rng)]


def train(checkpoint: Path, log: Path) -> Nano:
    """Train for STEPS steps, resuming from ``checkpoint`` where it exists."""
    learner = Learner(sums_config(), SEED, MATRIX_LEARNING_RATE, OTHER_LEARNING_RATE, checkpoint)
    model, first = learner.model, learner.step
    started = time.time()
    for step in tqdm(range(first, STEPS), initial=first, total=STEPS, desc="sums", unit="step"):
        numbers = range(FIRST + step * BATCH, FIRST + (step + 1) * BATCH)
        inputs, targets, weights = batch_of(numbers, np.random.default_rng([SEED, 2, step]))
        losses = F.cross_entropy(model(inputs).transpose(1, 2), targets, reduction="none")
        loss: Any = (losses * weights).sum() / weights.sum()
        learner.descend(loss, learning_rate_factor(step))
        done = step + 1
        if done % CHECKPOINT_EVERY == 0 or done == STEPS:
            row = {"step": done, "held_out": held_out_nats(model), "seconds": time.time() - started}
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")
            learner.save()
    return model


def measured(model: Nano, fingerprint: str) -> dict[str, object]:
    """What the card says of a network with this digest: how often it is right, and what it writes."""
    problems = [problem(number) for number in range(EVALUATION + TRAINING, EVALUATION + TRAINING + HELD_OUT)]
    answers = [of.answer for of in problems]
    reference = reference_of(lambda: model, fingerprint)
    sampled = answers_of(reference, problems, np.random.default_rng([SEED, 4]))
    right = right_answers(sampled, answers)
    greedy = right_answers(answers_of(reference, problems, None), answers)
    rng = np.random.default_rng([SEED, 3])
    examples = right_answers([worked(of, rng) for of in problems], answers)
    two = np.array([len(of.steps) == 2 for of in problems])
    samples = {f"sample_{place}": f"{problems[place].question} {sampled[place]}" for place in range(10)}
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "worked_examples": STEPS * BATCH,
        "held_out_nats_per_token": round(held_out_nats(model), 4),
        "right_in_worked_examples": round(float(examples.mean()), 4),
        "right_when_sampled": round(float(right.mean()), 4),
        "right_of_two_steps": round(float(right[two].mean()), 4),
        "right_of_three_steps": round(float(right[~two].mean()), 4),
        "right_when_greedy": round(float(greedy.mean()), 4),
        **samples,
    }


def build(out: Path, work: Path) -> dict[str, object]:
    """Write ``sums.safetensors`` to ``out``; return the card's measurements."""
    work.mkdir(parents=True, exist_ok=True)
    model = train(work / "sums.checkpoint.pt", work / "sums.log.jsonl")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, out / FILE)
    return measured(model.eval(), file_digest(out / FILE))


CARD = """\
# sums: a small language model that works out sums, and is often wrong

The reference of WordProblems-v0: a Llama-style transformer (RMSNorm, rotary positions, SwiGLU, tied
embeddings; width 96, 3 layers, 3 heads, context 112) over 82 words, digits and marks, token 0 being the
end of a text.

## Data
Problems that `klrl_envs/reward/word_problems.py` makes from their numbers, worked out by a pupil who mixes
up operations, takes wrong numbers, slips, leaves steps out and copies wrong answers
(`klrl_envs/assets/build/sums.py`). No text of anybody's is in it:
all of it is under this library's licence, MIT.

## Recipe
`klrl_envs/assets/build/sums.py`: each example is seen once; Muon for the matrices of the blocks and AdamW
for the rest; constant learning rate, then linear to zero. The question counts a tenth in the loss.
$rebuild

## Measured
On problems that it was not trained on; sampled from plainly unless it says greedy.

$measured

## Limits
It knows the sentences of its own problems and no others, and numbers up to two digits.

## Files
$files
"""
RECIPE = Recipe(
    name="sums",
    assets=(Asset("sums", (FILE,), CARD),),
    takes="about 20 minutes on one CPU core",
    reads=(),
    build=lambda out, work: {"sums": build(out, work)},
)
