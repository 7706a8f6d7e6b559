"""Do real trainings end where their losses are said to? TRL on a task whose texts can all be written down.

    python -m benchmarks.signals.trained              # train what is missing (minutes each), then the table
    python -m benchmarks.signals.trained --only rloo  # only trainings whose name has this in it
    python -m benchmarks.signals.trained --draw       # the table of the trainings that are there

The task is not that of the table of losses: pi0 is a causal model of one layer, its prompts are two words,
its texts, seven a prompt, have at most two tokens, and each has a random reward. TRL generates, scores and
trains all weights as it always does, nothing is replaced. What the model writes before and after is summed
over all texts, so that scores have no sampling error. Predicted is the end of the expected loss by natural
gradient (``klrl_envs.signals``), which knows nothing of the network, of Adam or of noise. To train again
remove a training's file.

Predicted is with one group a call, where a training has 16 groups a step: dapo divides by the tokens of all
of them, so that its training has another divisor than its prediction. These are a few settings and one seed,
on one task: that every row of the table would be met as closely is not shown.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.signals.row import version_of
from benchmarks.signals.trl_losses import Called, tiny_model
from klrl_envs.reference.arrays import FloatArray
from klrl_envs.results.document import write_atomically
from klrl_envs.signals import TinyTask, tiny_task
from klrl_envs.signals.check import one_thread
from klrl_envs.signals.ends import follow
from klrl_envs.signals.policy import standing
from klrl_envs.signals.variants import Setting

FOLDER = Path(__file__).parent / "trained"
WORDS, HORIZON, KL_COEF = 3, 2, 0.3
PROMPTS = ((1,), (2,))
HIDDEN, SPREAD, SEED = 32, 0.2, 0
GROUP, BATCH, STEPS, LEARNING_RATE = 4, 64, 1_500, 1e-3
"""Texts of a prompt, texts a step, steps, Adam's rate, which falls linearly to 0."""
NEAR = 0.05
"""Of the score: a training that ends so near ends where it is said to."""


@dataclass(frozen=True)
class Training:
    """A training: the name of its file, what the page calls it, and the trainer."""

    name: str
    label: str
    called: Called

    def path(self, folder: Path) -> Path:
        """Where its numbers are kept."""
        return folder / f"{self.name}.json"


TRAININGS = (
    Training("rloo", "RLOO", Called("RLOO", {})),
    Training("dapo", "GRPO, as it comes but for beta (dapo, group)", Called("GRPO", {})),
    Training(
        "grpo",
        "GRPO: loss_type grpo, scale_rewards group",
        Called("GRPO", {"loss_type": "grpo", "scale_rewards": "group"}),
    ),
    Training(
        "dr-grpo-k3",
        "GRPO: loss_type dr_grpo, scale_rewards none, use_bias_correction_kl False",
        Called("GRPO", {"loss_type": "dr_grpo", "scale_rewards": "none", "use_bias_correction_kl": False}),
    ),
)


def sequences() -> list[tuple[int, ...]]:
    """All texts: words that end, or that are cut at the horizon."""
    words = range(1, WORDS)
    ended = [(*body, 0) for length in range(HORIZON) for body in product(words, repeat=length)]
    return ended + list(product(words, repeat=HORIZON))


def rewards() -> FloatArray:
    """Of each prompt's texts, in [0, 1]."""
    return np.random.default_rng(SEED).random((len(PROMPTS), len(sequences())))


def task_of(model: Any) -> TinyTask:
    """The task whose pi0 is a model; of a trained one, its ``reference`` is the trained policy."""

    def row(prompt: int, prefix: tuple[int, ...]) -> FloatArray:
        with torch.no_grad():
            logits = model(torch.tensor([[*PROMPTS[prompt], *prefix]])).logits[0, -1]
        return logits.double().log_softmax(dim=0).numpy()

    return tiny_task(sequences(), row, rewards(), KL_COEF)


def predicted(called: Called, task: TinyTask) -> dict[str, float]:
    """Where the loss ends."""
    with one_thread():
        end = follow(Setting(called.loss(HORIZON), task, GROUP, 1).signal())
    return {"reward": end.at.reward, "kl": end.at.kl, "score": end.at.score}


def trainer_of(called: Called, folder: Path, model: Any, tokenizer: Any) -> Any:
    """TRL's own trainer, of which nothing is replaced."""
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer
    from trl.trainer.rloo_config import RLOOConfig
    from trl.trainer.rloo_trainer import RLOOTrainer

    paid = {
        (str(prompt[0]), text): float(reward)
        for prompt, own in zip(PROMPTS, rewards(), strict=True)
        for text, reward in zip(sequences(), own, strict=True)
    }

    def reward(prompts: list[str], completion_ids: list[list[int]], **more: Any) -> list[float]:
        return [paid[prompt, tuple(text)] for prompt, text in zip(prompts, completion_ids, strict=True)]

    kinds: dict[str, tuple[Any, Any]] = {
        "GRPO": (GRPOConfig, GRPOTrainer),
        "RLOO": (RLOOConfig, RLOOTrainer),
    }
    Config, Trainer = kinds[called.algorithm]
    args = Config(
        output_dir=str(folder / "trl"),
        beta=KL_COEF,
        num_generations=GROUP,
        per_device_train_batch_size=BATCH,
        max_completion_length=HORIZON,
        max_steps=STEPS,
        learning_rate=LEARNING_RATE,
        seed=SEED,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        **called.settings,
    )
    prompts = [str(prompt[0]) for prompt in PROMPTS] * BATCH
    return Trainer(
        model=model, reward_funcs=reward, args=args, processing_class=tokenizer,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
    )  # fmt: skip


def train(training: Training) -> dict[str, Any]:
    """Train, and say where it was said to end and where it did."""
    torch.manual_seed(SEED)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, tokenizer = tiny_model(folder / "pi0", WORDS, HIDDEN, SPREAD)
        task = task_of(model.eval())
        said = predicted(training.called, task)
        trainer = trainer_of(training.called, folder, model, tokenizer)
        began = time.process_time()
        trainer.train()
        seconds = time.process_time() - began
        at = standing(task, task_of(trainer.model.eval()).reference)
    return {
        "versions": {name: version_of(name) for name in ("torch", "transformers", "trl")},
        "core_seconds": round(seconds, 1),
        "predicted": said,
        "trained": {"reward": at.reward, "kl": at.kl, "score": at.score},
    }


def page(found: Sequence[tuple[Training, dict[str, Any]]], missing: Sequence[Training]) -> str:
    """The table as Markdown."""
    about = [" ".join(part.split()) for part in (__doc__ or "").split("\n\n")[2:]]
    versions = {f"{name} {value}" for _, numbers in found for name, value in numbers["versions"].items()}
    lines = [
        "# Real trainings beside their predicted ends",
        "",
        "Made by `python -m benchmarks.signals.trained`.",
        "",
        *[line for part in about for line in (part, "")],
        f"kl_coef {KL_COEF:g}; {STEPS:,} steps of {BATCH} texts in groups of {GROUP}, AdamW at "
        f"{LEARNING_RATE:g} that falls to 0, one seed; {', '.join(sorted(versions))}. Seconds of a core are "
        f"those of the training.",
        "",
        "| trainer | predicted E[r] | KL | score | trained E[r] | KL | score | within .05 | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
    ]
    for training, numbers in found:
        cells = [
            f"{numbers[kind][key]:.3f}"
            for kind in ("predicted", "trained")
            for key in ("reward", "kl", "score")
        ]
        near = "yes" if off(numbers) < NEAR else "no"
        lines.append(f"| {training.label} | {' | '.join(cells)} | {near} | {numbers['core_seconds']:.0f} |")
    if missing:
        lines += ["", f"Not trained yet: {'; '.join(one.name for one in missing)}."]
    return "\n".join(lines) + "\n"


def off(numbers: dict[str, Any]) -> float:
    """How far the trained score is from the predicted one."""
    return abs(numbers["predicted"]["score"] - numbers["trained"]["score"])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.signals.trained",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--only", action="append", default=[], help="part of a name; may be repeated")
    parser.add_argument("--draw", action="store_true", help="train nothing")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the numbers and the table")
    options = parser.parse_args(arguments)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    options.out.mkdir(parents=True, exist_ok=True)
    for training in TRAININGS:
        chosen = not options.only or any(part in training.name for part in options.only)
        if options.draw or training.path(options.out).is_file() or not chosen:
            continue
        write_atomically(training.path(options.out), json.dumps(train(training), indent=1) + "\n")
    read = [(one, one.path(options.out)) for one in TRAININGS]
    found = [(one, json.loads(path.read_text("utf-8"))) for one, path in read if path.is_file()]
    if not found:
        print(f"no trainings in {options.out}", file=sys.stderr)
        return 1
    missing = [one for one, path in read if not path.is_file()]
    write_atomically(options.out / "README.md", page(found, missing))
    for training, numbers in found:
        print(
            f"{training.name}: predicted {numbers['predicted']['score']:.3f}, trained "
            f"{numbers['trained']['score']:.3f} ({numbers['core_seconds']:.0f} s)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
