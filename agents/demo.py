"""What ``make demo`` runs: PPO on Sentiment-v0 for minutes, beside the reference and the optimum."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

import klrl_envs
from agents.arguments import Defaults, parse, settings_of
from agents.networks.make import make_network
from agents.networks.policy import PolicyNetwork
from agents.networks.trajectories import make_engine
from agents.ppo import DEFAULTS, PPOArguments, learn
from agents.run import Training, prepare
from klrl_envs import Evaluation, Optimum, Task

SHOWN = 4  # prompts whose texts are shown
OWN: Defaults = {**DEFAULTS, "neural": {**DEFAULTS["neural"], "batch": 128, "gae_lambda": 0.9}}
"""PPO's, and what suits texts as short as those of Sentiment-v0."""


@dataclass
class DemoArguments(PPOArguments):
    """The demonstration: ``agents.ppo`` with another budget."""

    env_id: str = "klrl/Sentiment-v0"
    """the environment"""
    out: str = "runs/demo"
    """folder for result.json, policy.safetensors, progress.jsonl and episodes.jsonl"""
    tokens: int | None = 500_000
    """tokens to write in training: a quarter of the budget, some minutes on two cores"""
    episodes: int = 1024
    """episodes of the evaluation"""


def train(args: DemoArguments) -> Evaluation:
    """Train, score and show."""
    console = Console()
    try:
        for module in args.imports:
            klrl_envs.import_module(module)
        best = klrl_envs.optimum(args.env_id, **args.env_kwargs)
    except (ValueError, TypeError, LookupError, OSError, ImportError) as error:
        raise SystemExit(f"the demo cannot start on {args.env_id}: {error}") from error
    console.print(
        f"Training PPO on {args.env_id}: {args.tokens or 'all'} tokens, on "
        f"{'CUDA' if torch.cuda.is_available() else f'{torch.get_num_threads()} CPU threads'}."
    )
    began = time.perf_counter()
    device = prepare(args)
    training = Training(args, "demo")
    policy = learn(replace(args, **settings_of(args, training.task, OWN)), training, device)
    scored, features = policy.for_evaluation(training.evaluation_task)
    evaluation = training.finish(scored, features=features, network=policy)
    console.print(table(best, evaluation, training.tokens, time.perf_counter() - began))
    before = make_network(training.evaluation_task)
    show(console, training.evaluation_task, before, policy, args.seed)
    console.print(f"Everything about this run: {training.out}/")
    return evaluation


def table(best: Optimum, evaluation: Evaluation, tokens: int, seconds: float) -> Table:
    """The agent's row between the reference's and the optimum's."""
    result = Table(title=f"{best.env_id}, kl_coef {best.kl_coef:g}")
    for name in ("policy", "score", "objective", "expected reward", "KL, nats", "tokens", "seconds"):
        result.add_column(name, justify="left" if name == "policy" else "right")
    start = f"{best.reference_value:.3f}"
    result.add_row("reference", "0", start, start, "0", "0", "")
    score = evaluation.score
    shown = "none" if score is None else f"{score.estimate:.2f} [{score.lower:.2f}, {score.upper:.2f}]"
    result.add_row(
        "PPO", shown, f"{evaluation.objective.estimate:.3f}", f"{evaluation.expected_reward.estimate:.3f}",
        f"{evaluation.kl.estimate:.2f}", f"{tokens:,}", f"{seconds:.0f}", style="bold",
    )  # fmt: skip
    result.add_row(
        "optimum", "1", f"{best.value:.3f}", f"{best.expected_reward:.3f}", f"{best.kl:.2f}", "", ""
    )  # fmt: skip
    return result


def show(console: Console, task: Task, before: PolicyNetwork, after: PolicyNetwork, seed: int) -> None:
    """A text of the reference and one of the trained policy for each of some prompts."""
    prompts = np.linspace(0, len(task.prompts.tokens) - 1, SHOWN).astype(np.int64)
    written = []
    for policy in (before, after):
        generator = torch.Generator().manual_seed(seed)
        written.append(policy.write(make_engine(task, SHOWN, seed), prompts, generator))
    for index, prompt in enumerate(prompts):
        length = task.prompts.lengths[prompt]
        opening = task.vocabulary.decode(task.prompts.tokens[prompt, :length].tolist())
        shown = Text()
        for name, trajectories in zip(("before", "after "), written):
            reward = float(trajectories.rewards[index].sum())
            continuation = trajectories.texts[index].removeprefix(opening).replace("\n", " ")
            shown.append(f"{name}  {reward:.2f}  ", style="bold")
            shown.append(opening, style="dim").append(continuation + "\n")
        shown.rstrip()
        console.print(Panel(shown, title=f"prompt {prompt}", title_align="left"))


if __name__ == "__main__":
    train(parse(DemoArguments, __doc__, OWN))
