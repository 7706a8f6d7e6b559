"""A training as a run of the benchmark: its task, its budget of tokens, its progress, and its files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np
from tqdm import tqdm

import klrl_envs
from agents.arguments import Arguments, command_of
from klrl_envs import Evaluation, Task
from klrl_envs.wrappers import Episode, append_line, append_lines

CHECKOUT = Path(__file__).resolve().parents[1]
RECORDED = 10_000  # episodes of a training, about, that are recorded
FILES = ("progress.jsonl", "episodes.jsonl", "result.json", "policy.safetensors")


class Training:
    """One training: its task, its progress bar, and its files.

    Args:
        args: the agent's.
        agent: its module's name, and on the leaderboard, too, where the arguments give no other.
        budget: tokens to write; by default those of the arguments, or else the environment's.

    Attributes:
        row, task: the environment.
        budget: tokens to write in training.
        tokens: written so far.
        out: the folder.
    """

    def __init__(self, args: Arguments, agent: str, *, budget: int | None = None) -> None:
        for module in args.imports:
            klrl_envs.import_module(module)
        self.args = args
        self.module = agent
        self.row = klrl_envs.find_row(args.env_id)
        self.task = self.row.make(**args.env_kwargs)
        declared = self.row.token_budget if args.tokens is None else args.tokens
        self.budget = declared if budget is None else budget
        # made here, so that a name which no result may have does not fail when the training is over
        self.agent = klrl_envs.results.Agent(
            name=args.name or agent,
            url=f"agents/{agent}.py",
            license="MIT",
            kind="learner" if self.budget else "bound",  # who may write nothing learns nothing
            tuned=args.tuned if self.budget else "untuned",
        )
        self.tokens = 0
        self._episodes = 0
        self.out = Path(args.out)
        self.out.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (self.out / name).unlink(missing_ok=True)
        self._began = klrl_envs.ledger.mark()
        self._bar = tqdm(
            total=self.budget, unit="tok", unit_scale=True, desc=f"{self.agent.name} {self.row.task_id}",
            disable=self.budget == 0, dynamic_ncols=True, mininterval=1.0,
        )  # fmt: skip

    @cached_property
    def evaluation_task(self) -> Task:
        """The task on the evaluation prompts."""
        return klrl_envs.evaluation_task(self.row.gym_id, self.args.env_kwargs)

    @property
    def left(self) -> bool:
        """Whether there are tokens left to write."""
        return self.tokens < self.budget

    @property
    def progress(self) -> float:
        """The share of the budget that is spent, 0 to 1."""
        return min(self.tokens / self.budget, 1.0) if self.budget else 1.0

    @property
    def seconds(self) -> float:
        """Since the training began."""
        return round(time.monotonic() - self._began.moment, 3)

    def describe(self, observes: str, trains: str) -> None:
        """Say what the agent is shown and which weights move: it stands beside its score."""
        self.agent = self.agent.model_copy(update={"observes": observes, "trains": trains})

    def count(self, tokens: int) -> None:
        """Tokens were written."""
        self._bar.update(max(min(tokens, self.budget - self.tokens), 0))
        self.tokens += tokens

    def note(self, **numbers: SupportsFloat) -> None:
        """Numbers to progress.jsonl, and the first four beside the bar."""
        shown = {name: round(float(value), 6) for name, value in numbers.items()}
        append_line(self.out / "progress.jsonl", {"tokens": self.tokens, "seconds": self.seconds, **shown})
        self._bar.set_postfix({name: f"{value:.3g}" for name, value in list(shown.items())[:4]})

    def record(self, episodes: Sequence[Episode]) -> None:
        """Some of an update's episodes as lines of episodes.jsonl, in the recorder's form.

        As many are kept as make ``RECORDED`` in the whole training, at least one, evenly among those given;
        they are numbered anew, through the whole training.
        """
        if not episodes:
            return
        first, self._episodes = self._episodes, self._episodes + len(episodes)
        spent = sum(episode.length for episode in episodes)
        kept = min(max(round(RECORDED * spent / max(self.budget, 1)), 1), len(episodes))
        chosen = np.linspace(0, len(episodes) - 1, kept).round().astype(int).tolist()
        lines = (replace(episodes[index], episode=first + index).line() for index in chosen)
        append_lines(self.out / "episodes.jsonl", lines)

    def finish(self, policy: Any, *, features: bool = False, network: Any = None) -> Evaluation:
        """Evaluate, and write result.json, and policy.safetensors where there is a network.

        Args:
            policy: as ``klrl_envs.evaluate`` takes it.
            features: whether it reads the features id.
            network: what it is made of, for ``klrl_envs.save_policy``.
        """
        self._bar.close()
        env_id = self.row.gym_features_id if features else self.row.gym_id
        episodes, seed = self.args.episodes, self.args.evaluation_seed
        evaluation = klrl_envs.evaluate(policy, env_id, episodes=episodes, seed=seed, **self.args.env_kwargs)
        if network is not None:
            klrl_envs.save_policy(network, self.out / "policy.safetensors")
        self.write_result(evaluation)
        return evaluation

    def write_result(self, evaluation: Evaluation) -> None:
        """result.json, with the command that does this run again."""
        klrl_envs.write_result(
            evaluation,
            self.out,
            agent=self.agent,
            command=command_of(self.args, self.module),
            since=self._began,
            seed=self.args.seed,
            env_kwargs=self.args.env_kwargs,
            device=self.args.device,
            checkout=CHECKOUT,
            code=("agents", "klrl_envs"),
        )


def prepare(args: Arguments) -> Any:
    """The torch device of the arguments; seeds torch, sets its threads, demands determinism on the CPU."""
    import torch

    if args.device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, got {args.device!r}")
    name = "cuda" if args.device == "auto" and torch.cuda.is_available() else args.device
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, and torch sees no CUDA device; allowed here are auto and cpu")
    device = torch.device("cpu" if name == "auto" else name)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
        torch.set_flush_denormal(True)  # of vanishing probabilities and gradients, which are slow
        deterministic: Any = torch.utils.deterministic
        deterministic.fill_uninitialized_memory = False  # nothing reads what it has not written
    return device


def report(evaluation: Evaluation) -> str:
    """An evaluation in one line."""
    score = evaluation.score
    shown = "none" if score is None else f"{score.estimate:.3f} [{score.lower:.3f}, {score.upper:.3f}]"
    return (
        f"{evaluation.env_id}: score {shown}, expected reward {evaluation.expected_reward.estimate:.4g}, "
        f"KL {evaluation.kl.estimate:.3g} nats, regret {evaluation.regret.estimate:.4g}"
    )


def scheduled(peak: float, progress: float, warm_up: float) -> float:
    """The learning rate: it rises linearly over the first share of the training, then falls to a twentieth.

    Args:
        peak: the highest.
        progress: the share of the training that is done, 0 to 1.
        warm_up: the share in which it rises.
    """
    if progress < warm_up:
        return peak * (progress + 0.1 * warm_up) / (1.1 * warm_up)
    return peak * (1 - 0.95 * (progress - warm_up) / (1 - warm_up))


def mean(values: Any) -> float:
    """The mean as a float, 0 of nothing."""
    array = np.asarray(values, dtype=np.float64)
    return float(array.mean()) if array.size else 0.0
