"""TRL's RLOO on Sentiment-v0: the environment pays and scores, TRL trains all weights.

    pip install 'klrl-envs[trl]'
    python -m examples.trl_rloo --out runs/trl                          # nano, 2 M tokens
    python -m examples.trl_rloo --out runs/own --model FOLDER_OR_HUB_ID  # any causal language model

Without --model it trains nano, which it exports to OUT/reference first, as ``klrl export nano FOLDER`` does:
TRL loads the frozen reference anew from the path of the model. With --model that model is pi0, and the
environment is ``reference=FOLDER``. Its optimum is known once ``klrl certify Sentiment-v0 --reference
FOLDER`` has run: until then there is no score, and the objective is printed beside pi0's.

What makes it the environment's objective: beta is its kl_coef, advantages are not normalised, temperature is
1 and nothing is filtered; see ``klrl_envs.integrations.trl``. OUT gets result.json (the record, with the
tokens that the ledger counted), model/ (the trained folder), progress.jsonl (each update: tokens, seconds,
objective, reward, KL in nats of a text) and, with --evaluate-every, curve.jsonl (tokens, seconds, score).
Seconds are those of training, without evaluations.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.trainer_callback import PrinterCallback, TrainerCallback
from trl.trainer.rloo_config import RLOOConfig
from trl.trainer.rloo_trainer import RLOOTrainer

import klrl_envs
from klrl_envs.evaluation.rollout import roll_out
from klrl_envs.integrations.scores import line_of, undisturbed
from klrl_envs.integrations.trl import RewardFunction
from klrl_envs.policies import CausalLMPolicy, Policy
from klrl_envs.reference.hub import local_folder
from klrl_envs.reference.llama import save_folder
from klrl_envs.reference.transformer import load_nano
from klrl_envs.wrappers import append_line

ENV_ID = "klrl/Sentiment-v0"
BATCH, GROUP = 64, 4
FILES = ("progress.jsonl", "curve.jsonl", "result.json")


def arguments_of(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.trl_rloo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tokens", type=int, default=2_000_000, help="to write in training (2 M)")
    parser.add_argument(
        "--learning-rate", type=float, default=3e-4, help="AdamW's; falls linearly to 0 (3e-4)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of what is written")
    parser.add_argument("--model", help="folder or hub id of a causal language model; nano by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto (CUDA where there is one), cpu or cuda")
    parser.add_argument("--threads", type=int, default=0, help="of torch on the CPU; 0 leaves it to torch")
    parser.add_argument(
        "--evaluate-every", type=int, default=0, help="tokens between evaluations; 0 for none"
    )
    parser.add_argument("--evaluate-episodes", type=int, default=256, help="of each of those")
    parser.add_argument("--episodes", type=int, default=4096, help="of the last evaluation")
    args = parser.parse_args(argv)
    if args.tokens < BATCH * horizon_of(args.model):
        parser.error(
            f"--tokens must be at least one update's, {BATCH * horizon_of(args.model)}, got {args.tokens}"
        )
    return args


def horizon_of(model: str | None) -> int:
    """Tokens of a text, the most of them."""
    return klrl_envs.make_task(ENV_ID, **env_kwargs_of(model)).horizon


def env_kwargs_of(model: str | None) -> dict[str, Any]:
    """The environment's arguments: a model of one's own is its reference."""
    return {} if model is None else {"reference": model}


def checked_tokenizer(folder: str, reward: RewardFunction) -> tuple[Any, list[str]]:
    """The model's tokenizer, and the prompts' texts, of which it must make what the environment shows.

    Raises:
        ValueError: it makes other tokens of a prompt, or does not begin as the reference does.
    """
    task, start = reward.task, getattr(reward.task.reference, "start_token", 0)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left", local_files_only=True)
    texts = [task.text(row) for row in task.prompts.tokens]
    lengths = task.prompts.lengths
    shown = [[start, *row[:length].tolist()] for row, length in zip(task.prompts.tokens, lengths)]
    if tokenizer(text=texts[:1])["input_ids"] != shown[:1] and tokenizer.bos_token_id in (None, start):
        tokenizer.bos_token = tokenizer.convert_ids_to_tokens(start)  # else it would begin with the prompt
        tokenizer.add_bos_token = True
    for text, made, wanted in zip(texts, tokenizer(text=texts)["input_ids"], shown):
        if made != wanted:
            raise ValueError(f"the tokenizer of {folder!r} makes {made} of {text!r}; the prompt is {wanted}")
    return tokenizer, texts


def config_of(args: argparse.Namespace, reward: RewardFunction) -> RLOOConfig:
    """TRL's settings: the environment's objective, float32, one update a batch, nothing beside it."""
    return RLOOConfig(
        output_dir=str(args.out / "trl"),
        beta=reward.kl_coef,
        num_generations=GROUP,
        per_device_train_batch_size=BATCH,
        max_completion_length=reward.task.horizon,
        normalize_advantages=False,
        learning_rate=args.learning_rate,
        max_steps=args.tokens // (BATCH * reward.task.horizon),
        seed=args.seed,
        use_cpu=klrl_envs.device_named(args.device) == "cpu",
        bf16=False,  # TRL's default is True
        gradient_checkpointing=False,  # TRL's default is True
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )


class Progress(TrainerCallback):
    """Writes progress.jsonl and curve.jsonl, and stops its clock while it evaluates."""

    def __init__(self, args: argparse.Namespace, reward: RewardFunction, mark: klrl_envs.ledger.Mark) -> None:
        self._args, self._reward, self._mark = args, reward, mark
        self._began = self._core_began = self._due = 0.0
        self._bar = tqdm(total=args.tokens, unit="tok", unit_scale=True, desc="trl_rloo", mininterval=1.0)

    @property
    def tokens(self) -> int:
        """Written in training so far."""
        return (klrl_envs.ledger.counts() - self._mark.counts).tokens

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The clock starts."""
        self._began, self._core_began = time.monotonic(), time.process_time()
        self._due = self._args.evaluate_every

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The score, where it is due."""
        if not self._args.evaluate_every or self.tokens < self._due:
            return
        paused, core_paused = time.monotonic(), time.process_time()
        self._due += self._args.evaluate_every
        line = {"tokens": self.tokens, "seconds": round(paused - self._began, 3)}
        with undisturbed(kwargs["model"]):
            found = evaluated(kwargs["model"], self._args.model, self._args.evaluate_episodes)
        append_line(self._args.out / "curve.jsonl", line | found)
        self._began += time.monotonic() - paused
        self._core_began += time.process_time() - core_paused

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """A line of an update: TRL's KL is that of a token, the environment's of a text."""
        if "kl" not in logs:
            return
        kl = logs["kl"] * logs["completions/mean_length"]
        numbers = {
            "tokens": self.tokens,
            "seconds": round(time.monotonic() - self._began, 3),
            "core_seconds": round(time.process_time() - self._core_began, 3),
            "objective": round(logs["reward"] - self._reward.kl_coef * kl, 6),
            "reward": round(logs["reward"], 6),
            "kl": round(kl, 6),
        }
        append_line(self._args.out / "progress.jsonl", numbers)
        self._bar.update(self.tokens - self._bar.n)
        self._bar.set_postfix(reward=f"{logs['reward']:.3f}", kl=f"{kl:.2f}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The bar's end."""
        self._bar.close()


def policy_of(model: Any, own: str | None) -> CausalLMPolicy:
    """A model as the environment scores it: it begins as the reference does."""
    task = klrl_envs.evaluation_task(ENV_ID, env_kwargs_of(own))
    return CausalLMPolicy(model, task, getattr(task.reference, "start_token", 0))


def evaluated(model: Any, own: str | None, episodes: int) -> dict[str, Any]:
    """A line of the curve: the evaluation, or the objective alone where no optimum is certified."""
    policy = policy_of(model, own)
    try:
        return line_of(klrl_envs.evaluate(policy, ENV_ID, episodes=episodes, **env_kwargs_of(own)))
    except klrl_envs.NotCertified:
        return {"score": None, **objective_of(policy, own, episodes)}


def objective_of(policy: Policy, own: str | None, episodes: int) -> dict[str, float]:
    """Reward, KL (nats a text) and objective on the evaluation prompts, which need no optimum."""
    task = klrl_envs.evaluation_task(ENV_ID, env_kwargs_of(own))
    prompts = len(task.prompts.tokens)
    with klrl_envs.ledger.counting_as("evaluation"):
        texts = roll_out(
            policy, task, episodes=-(-episodes // prompts) * prompts, seed=int.from_bytes(os.urandom(4))
        )
    assert texts.kl is not None
    reward, kl = float(texts.reward.mean()), float(texts.kl.mean())
    return {"expected_reward": reward, "kl": kl, "objective": reward - task.kl_coef * kl}


def finish(model: Any, args: argparse.Namespace, mark: klrl_envs.ledger.Mark) -> str:
    """Evaluate the trained model, write its record, and say in a line what it is worth."""
    kwargs = env_kwargs_of(args.model)
    policy = policy_of(model.eval(), args.model)
    try:
        evaluation = klrl_envs.evaluate(policy, ENV_ID, episodes=args.episodes, **kwargs)
    except klrl_envs.NotCertified as error:
        own, start = (objective_of(each, args.model, args.episodes) for each in (policy, "reference"))
        return (
            f"objective {own['objective']:.4f} (reward {own['expected_reward']:.3f}, "
            f"KL {own['kl']:.2f} nats), of pi0 {start['objective']:.4f}; no score and no record: {error}"
        )
    klrl_envs.write_result(
        evaluation,
        args.out,
        agent={
            "name": "trl_rloo", "url": "examples/trl_rloo.py", "license": "MIT", "observes": "tokens",
            "trains": "all weights", "tuned": "untuned",
        },
        since=mark,
        seed=args.seed,
        env_kwargs=kwargs,
        checkout=Path(__file__).resolve().parents[1],
        code=("examples", "klrl_envs"),
    )  # fmt: skip
    score = evaluation.score
    assert score is not None
    return (
        f"score {score.estimate:.3f} [{score.lower:.3f}, {score.upper:.3f}], "
        f"reward {evaluation.expected_reward.estimate:.3f}, KL {evaluation.kl.estimate:.2f} nats"
    )


def main(argv: list[str] | None = None) -> str:
    """Train, evaluate and record; returns the line that is printed."""
    args = arguments_of(argv)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if args.threads:
        torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (args.out / name).unlink(missing_ok=True)
    mark = klrl_envs.ledger.mark()
    made = None if args.model else save_folder(load_nano(), args.out / "reference", force=True)
    folder = str(made or local_folder(args.model))
    reward: Any = klrl_envs.as_reward_fn(ENV_ID, **env_kwargs_of(args.model))
    tokenizer, prompts = checked_tokenizer(folder, reward)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    model.generation_config.eos_token_id = reward.task.end_token  # what else a model ends by is text here
    trainer = RLOOTrainer(
        model=model,
        reward_funcs=reward,
        args=config_of(args, reward),
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=tokenizer,
        callbacks=[Progress(args, reward, mark)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.save_model(str(args.out / "model"))
    return finish(trainer.model, args, mark)


if __name__ == "__main__":
    print(main())
