"""A training as a run of the benchmark: its task, its budget of tokens, its progress, and its files."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np
from tqdm import tqdm

import klrl_envs
from agents.arguments import Arguments, check_least, command_of
from klrl_envs import Evaluation, Task, ledger
from klrl_envs.evaluation.seeds import fresh_seed
from klrl_envs.wrappers import Episode, append_line, append_lines

CHECKOUT = Path(__file__).resolve().parents[1]
RECORDED = 10_000  # episodes of a training, about, that are recorded
FORGIVEN = 1.01  # of a token budget, what the leaderboard's rule lets the last batch come to
CHECKPOINT = "checkpoint.safetensors"
LINES = ("progress.jsonl", "episodes.jsonl")
INDEX = ".safetensors.index.json"
RESULTS = ("result.json", "policy.safetensors")


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
        resumed: whether it goes on from a checkpoint in the folder.

    Raises:
        ValueError: an argument below its least value; a training to resume that is finished; a folder
            "policy" in the way that no training wrote.
    """

    def __init__(self, args: Arguments, agent: str, *, budget: int | None = None) -> None:
        check_least(args)
        for module in args.imports:
            klrl_envs.import_module(module)
        self.args = args
        self.module = agent
        self.row = klrl_envs.find_row(args.env_id)
        device = klrl_envs.device_named(args.device) if "neural" in self.row.tags else "cpu"
        self._setting = {**args.env_kwargs, "device": device}
        self.task = self.row.make(**self._setting)
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
        self.tokens = self._batch = 0
        self._most = max(self.budget, self.row.token_budget) * FORGIVEN
        self._episodes = 0
        self.out = Path(args.out)
        self.resumed = getattr(args, "resume", False) and (self.out / CHECKPOINT).is_file()
        if not self.resumed:  # else what is there stays until it is replaced
            self._clear()
        self.out.mkdir(parents=True, exist_ok=True)
        self._began = ledger.mark()
        self._core_began = time.process_time()
        self._elsewhere = self._lost = 0
        self._evaluation_seed: int | None = None
        self._bar = tqdm(
            total=self.budget, unit="tok", unit_scale=True, desc=f"{self.agent.name} {self.row.task_id}",
            disable=self.budget == 0, dynamic_ncols=True, mininterval=1.0,
        )  # fmt: skip

    def _clear(self) -> None:
        """Take what an earlier training left from the folder, or refuse to before anything is gone."""
        earlier = self.out / "result.json"
        if getattr(self.args, "resume", False) and earlier.is_file():
            raise ValueError(
                f"resume: the training in {self.out} is finished already, and {earlier} is the result of "
                f"{json.loads(earlier.read_text(encoding='utf-8')).get('command')!r}; "
                "remove it to train anew, or give another out"
            )
        files = [self.out / name for name in (*RESULTS, *LINES, CHECKPOINT)]
        folder = self.out / "policy"
        if folder.exists() or folder.is_symlink():
            if any(file.is_file() for file in files) and is_saved_policy(folder):
                shutil.rmtree(folder)
            elif saves_folder(self.args, self.task) or any(folder.glob("*.safetensors")):
                raise ValueError(
                    f"out: {folder} is in the way, and is not, or not alone, what a training wrote there; "
                    "remove it or give another out"
                )
        for file in files:
            file.unlink(missing_ok=True)

    @cached_property
    def evaluation_task(self) -> Task:
        """The task on the evaluation prompts."""
        return klrl_envs.evaluation_task(self.row.gym_id, self._setting)

    @property
    def left(self) -> bool:
        """Whether there are tokens left to write, and for one more batch like the last.

        A batch that ends the budget may run over it, but over what the environment allows by no more than
        its rule forgives.
        """
        return self._goes_on(self.tokens)

    def _goes_on(self, tokens: int) -> bool:
        return tokens < self.budget and tokens + self._batch <= self._most

    @property
    def progress(self) -> float:
        """The share of the budget that is spent, 0 to 1."""
        return min(self.tokens / self.budget, 1.0) if self.budget else 1.0

    @property
    def seconds(self) -> float:
        """Since the training began."""
        return round(time.monotonic() - self._began.moment, 3)

    @property
    def core_seconds(self) -> float:
        """For which this process has had a core since the training began, all its threads together."""
        return round(time.process_time() - self._core_began, 3)

    def describe(self, observes: str, trains: str) -> None:
        """Say what the agent is shown and which weights move: it stands beside its score."""
        self.agent = self.agent.model_copy(update={"observes": observes, "trains": trains})

    def count(self, tokens: int) -> None:
        """Tokens were written."""
        self._bar.update(max(min(tokens, self.budget - self.tokens), 0))
        self.tokens += tokens
        self._batch = tokens

    def note(self, **numbers: SupportsFloat) -> None:
        """Numbers to progress.jsonl, and the first four beside the bar."""
        shown = {name: round(float(value), 6) for name, value in numbers.items()}
        now = {"tokens": self.tokens, "seconds": self.seconds, "core_seconds": self.core_seconds}
        append_line(self.out / "progress.jsonl", now | shown)
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

    def state(self) -> dict[str, Any]:
        """Where the training stands, for a checkpoint."""
        began = [[*account, *tally] for account, tally in self._began.counts.accounts.items()]
        if not self.left and self._evaluation_seed is None:
            # now that the policy is fixed, and once: who is killed and goes on gets no second draw
            self._evaluation_seed = fresh_seed()
        return {
            "tokens": self.tokens,
            "batch": self._batch,
            "episodes": self._episodes,
            "seconds": self.seconds,
            "core_seconds": self.core_seconds,
            "lost": self._lost,
            "elsewhere": self._elsewhere,
            "began": began,
            "ledger": ledger.book().path,
            "evaluation_seed": self._evaluation_seed,
        }

    def sizes(self) -> dict[str, int]:
        """Bytes of the files that grow by lines."""
        return {name: size_of(self.out / name) for name in LINES}

    def restore(self, state: Mapping[str, Any], at_risk: int) -> None:
        """Go on from a checkpoint's state; the files are left as they are (see ``cut_back``).

        What was written after the checkpoint is written again, and counts twice. The ledger's file that was
        there before knows how much that was; without it, it is what progress.jsonl says, and ``at_risk``
        tokens for the texts that were being written, unless all were.
        """
        last = last_line(self.out / "progress.jsonl")
        self.tokens, self._batch, self._episodes = state["tokens"], state["batch"], state["episodes"]
        self._evaluation_seed = state["evaluation_seed"]
        self._bar.update(min(self.tokens, self.budget))
        began = ledger.Counts({ledger.Account(*row[:3]): ledger.Tally(*row[3:]) for row in state["began"]})
        moment = time.monotonic() - max(state["seconds"], last.get("seconds", 0.0))
        self._core_began -= max(state["core_seconds"], last.get("core_seconds", 0.0))
        noted = max(last.get("tokens", 0), self.tokens)
        self._lost = state["lost"] + noted - self.tokens + (at_risk if self._goes_on(noted) else 0)
        path, elsewhere = ledger.book().path, state["elsewhere"]
        same = path is not None and path == state["ledger"]
        if same and elsewhere + (ledger.counts() - began).tokens >= self.tokens:
            self._began, self._elsewhere = ledger.Mark(began, moment), elsewhere
        else:
            self._began = ledger.Mark(self._began.counts, moment)
            self._elsewhere = self.tokens + self._lost

    def cut_back(self, sizes: Mapping[str, int]) -> None:
        """Take the lines that are newer than a checkpoint from the files, which had these sizes."""
        for name, size in sizes.items():
            if size_of(self.out / name) > size:
                os.truncate(self.out / name, size)

    def finish(self, policy: Any, *, features: bool = False, network: Any = None) -> Evaluation:
        """Save the network if there is one, evaluate, and write result.json.

        Args:
            policy: as ``klrl_envs.evaluate`` takes it.
            features: whether it reads the features id.
            network: what it is made of; saved as policy.safetensors, or as the folder policy.
        """
        self._bar.close()
        env_id = self.row.gym_features_id if features else self.row.gym_id
        given, drawn = self.args.evaluation_seed, self._evaluation_seed
        if hasattr(network, "save"):
            network.save(self.out)
        elif network is not None:
            klrl_envs.save_policy(network, self.out / "policy.safetensors")
        evaluation = klrl_envs.evaluate(
            policy,
            env_id,
            episodes=self.args.episodes,
            seed=drawn if given is None else given,
            **self._setting,
        )
        if given is None and drawn is not None:
            evaluation = replace(evaluation, fresh=True)
        self.write_result(evaluation)
        (self.out / CHECKPOINT).unlink(missing_ok=True)
        return evaluation

    def write_result(self, evaluation: Evaluation) -> None:
        """result.json, with the command that does this run again."""
        klrl_envs.write_result(
            evaluation,
            self.out,
            agent=self.agent,
            command=command_of(self.args, self.module),
            tokens=self._counted_elsewhere(),
            since=self._began,
            seed=self.args.seed,
            env_kwargs=self.args.env_kwargs,
            device=self.args.device,
            checkout=CHECKOUT,
            code=("agents", "klrl_envs"),
        )

    def _counted_elsewhere(self) -> int | None:
        """All tokens of the training where this process's ledger lacks those of earlier ones, else None."""
        if not self._elsewhere:
            return None
        return self._elsewhere + (ledger.counts() - self._began.counts).tokens


def is_saved_policy(folder: Path) -> bool:
    """Whether a folder holds a causal model or an adapter, as they are saved, and nothing else."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    files = list(folder.iterdir())
    known = ("config.json", "adapter_config.json", "generation_config.json", "README.md")
    weights = [file for file in files if file.suffix == ".safetensors"]
    return (
        any(file.name in known[:2] for file in files)
        and bool(weights)
        and all(file.is_file() and not file.is_symlink() for file in files)
        and all(file in weights or file.name in known or file.name.endswith(INDEX) for file in files)
    )


def saves_folder(args: Arguments, task: Task) -> bool:
    """Whether a training saves its policy as a folder: a language model that is not nano."""
    if getattr(args, "train", "heads") == "heads" or task.exact is not None:
        return False
    from klrl_envs.networks.language_model import has_nano

    return not has_nano(task)


def size_of(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0


def last_line(path: Path) -> dict[str, Any]:
    """The last whole line of a JSONL file; empty where there is none."""
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    return json.loads(whole[-1]) if whole else {}


def prepare(args: Arguments) -> Any:
    """The torch device of the arguments; seeds torch, sets its threads, demands determinism on the CPU."""
    import torch

    device = torch.device(klrl_envs.device_named(args.device))
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
