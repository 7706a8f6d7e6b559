"""Which training reaches which score on Sentiment-v0, after how many tokens and how many seconds?

    python -m benchmarks.studies.trainers              # run what is missing (hours), then page and figure
    python -m benchmarks.studies.trainers --only trl   # only runs whose name has this in it
    python -m benchmarks.studies.trainers --draw       # page and figure of the runs that are there

TRL's RLOO with all weights at three learning rates (``examples/trl_rloo.py``), and agents of this repository
with their own settings (PPO's heads with batches of 128 and a lambda of .9, theirs when this was run), which
were chosen on this suite; one seed each. Every side is read alike, from what its own training says of each
update: the mean over its texts of reward - kl_coef KL (of model_based: over those that are rewarded whole).
The score of a window of updates is (objective - J0) / (J* - J0), with J0 that of pi0 on the training prompts
and J* - J0 that of the certificate. No evaluation takes time in it, and none is looked at; what an agent
does after its training (averaging its weights, say) does not show, nor, of model_based, what it does when
its budget is spent: a language model that learns from its heads.

Seconds are those for which a training's process had a core, from its first update's beginning on: every
training has one thread, and starting up and what else the machine does count little. When a score is
reached is read off the rising curve nearest to the points.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

import klrl_envs
from benchmarks.studies.trainers_figure import draw
from klrl_envs.evaluation.rollout import roll_out
from klrl_envs.results.document import write_atomically

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).parent / "trainers"
ENV_ID = "klrl/Sentiment-v0"
TOKENS = 2_000_000
WINDOW = 50_000
"""Tokens of a point."""
REACHED = 0.4
PI0_TEXTS = 16_384
"""Of pi0 on the training prompts, for J0."""


@dataclass(frozen=True)
class Trainer:
    """A training: a name for its file, what the page calls it, and its command without folder and tokens."""

    name: str
    label: str
    command: tuple[str, ...]


def trl(rate: str) -> Trainer:
    """TRL's RLOO at a learning rate."""
    return Trainer(f"trl-{rate}", f"TRL RLOO, {rate}", ("examples.trl_rloo", "--learning-rate", rate))


def agent(module: str, train: str, label: str, *flags: str) -> Trainer:
    """An agent of this repository with its own settings, but for flags."""
    return Trainer(
        f"{module}-{train}",
        label,
        (f"agents.{module}", "--env-id", ENV_ID, "--train", train, "--device", "cpu", *flags),
    )


TRAINERS = (
    trl("1e-4"),
    trl("3e-4"),
    trl("1e-3"),
    agent("reinforce", "all", "reinforce, all weights"),
    agent("ppo", "all", "ppo, all weights"),
    agent("reinforce", "heads", "reinforce, heads"),
    agent("ppo", "heads", "ppo, heads", "--batch", "128", "--gae-lambda", "0.9"),
    agent("model_based", "all", "model_based, its heads"),
)


@dataclass(frozen=True)
class Curve:
    """The points of a training; each is the mean of a window of updates.

    Attributes:
        label: what the page calls it.
        command: what ran it, without its folder.
        versions: of what ran.
        tokens: [K], written by the end of the window.
        seconds: [K], of one core by then.
        objective: [K], mean of reward - kl_coef KL, on the training prompts.
        reward, kl: [K], likewise; KL in nats a text.
    """

    label: str
    command: str
    versions: dict[str, str]
    tokens: list[int]
    seconds: list[float]
    objective: list[float]
    reward: list[float]
    kl: list[float]

    def scores(self, start: float, gap: float) -> list[float]:
        """[K], 0 as pi0 and 1 as the optimum, with pi0's objective and J* - J0."""
        return [(value - start) / gap for value in self.objective]


def run(command: Sequence[str], out: Path) -> None:
    """Run a training on one thread; what it prints goes to the file log.

    Raises:
        RuntimeError: it failed; with the end of its log.
    """
    out.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with (out / "log").open("w") as log:
        code = subprocess.call(command, stdout=log, stderr=log, cwd=CHECKOUT, env=environment)
    if code:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(out / 'log').read_text()[-2000:]}")


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSONL file; none where there is no file."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def curve_of(trainer: Trainer, out: Path, window: int) -> Curve:
    """The points of a training, each of so many tokens, from its progress.jsonl."""
    # an update that paid for no whole text, as some of model_based's, says nothing
    updates = [line for line in lines_of(out / "progress.jsonl") if "objective" in line]
    tokens = np.array([line["tokens"] for line in updates])
    used = np.array([line["core_seconds"] for line in updates])
    group = (tokens - 1) // window
    weight = np.diff(tokens)
    weight = np.array([np.median(weight), *weight])  # what was written before the first update is not its own
    ends, seconds, means = [], [], {name: [] for name in ("objective", "reward", "kl")}
    for each in np.unique(group):
        rows = np.flatnonzero(group == each)
        if weight[rows].sum() < window / 2:
            continue  # what is left over at the end
        ends.append(int(tokens[rows[-1]]))
        seconds.append(round(float(used[rows[-1]]), 1))
        for name, values in means.items():
            column = np.array([updates[row][name] for row in rows])
            values.append(round(float(np.average(column, weights=weight[rows])), 5))
    return Curve(
        trainer.label, " ".join(("python", "-m", *trainer.command)), versions(), ends, seconds, **means
    )


def versions() -> dict[str, str]:
    """What ran."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str] = {}
    for name in ("torch", "transformers", "trl"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def start_of(folder: Path) -> dict[str, float]:
    """J0 on the training prompts, and J* - J0 of the certificate; kept in level.json."""
    path = folder / "level.json"
    if not path.is_file():
        task, best = klrl_envs.make_task(ENV_ID), klrl_envs.optimum(ENV_ID)
        with klrl_envs.ledger.counting_as("evaluation"):
            reward = roll_out("reference", task, episodes=PI0_TEXTS, seed=0).reward
        level = {
            "start": round(float(reward.mean()), 5),
            "start_stderr": round(float(reward.std() / len(reward) ** 0.5), 5),
            "gap": round(best.value - best.reference_value, 5),
        }
        write_atomically(path, json.dumps(level, indent=1) + "\n")
    return json.loads(path.read_text(encoding="utf-8"))


def seconds_to(curve: Curve, scores: Sequence[float], reached: float) -> float | None:
    """Seconds by which a score is reached; None where it is not.

    By the rising curve that is nearest to the points, and straight lines between them, so that one lucky
    window does not count.
    """
    rising = isotonic_regression(scores).x
    after = int(np.searchsorted(rising, reached))
    if after == len(rising):
        return None
    if after == 0:
        return curve.seconds[0]
    share = (reached - rising[after - 1]) / (rising[after] - rising[after - 1])
    return float(np.interp(share, [0, 1], curve.seconds[after - 1 : after + 1]))


def card(curves: Sequence[Curve], level: dict[str, float], missing: Sequence[str]) -> str:
    """The page; ``missing`` are the trainings that have no points."""
    about = [" ".join(part.split()) for part in (__doc__ or "").split("\n\n")[2:]]
    lines = [
        "# Trainers on Sentiment-v0: score against tokens and seconds",
        "",
        "Made by `python -m benchmarks.studies.trainers`.",
        "",
        *[line for part in about for line in (part, "")],
        f"J0 on the training prompts is {level['start']:.4f} (standard error {level['start_stderr']:.4f}, "
        f"{PI0_TEXTS:,} texts), J* - J0 is {level['gap']:.4f}. A window has {WINDOW:,} tokens.",
        "",
        "![score against tokens and seconds](trainers.png)",
        "",
        f"| training | tokens | seconds | tokens/s | seconds to {REACHED:g} | last score | reward | KL |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for curve in curves:
        scores = curve.scores(level["start"], level["gap"])
        reached = seconds_to(curve, scores, REACHED)
        lines.append(
            f"| {curve.label} | {curve.tokens[-1]:,} | {curve.seconds[-1]:,.0f} | "
            f"{curve.tokens[-1] / curve.seconds[-1]:,.0f} | "
            f"{'not reached' if reached is None else f'{reached:,.0f}'} | {np.mean(scores[-2:]):.3f} | "
            f"{curve.reward[-1]:.3f} | {curve.kl[-1]:.2f} |"
        )
    if missing:
        lines += ["", f"Not run yet: {'; '.join(missing)}."]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 1 where a training failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.trainers",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--only", action="append", default=[], help="part of a run's name; may be repeated")
    parser.add_argument("--draw", action="store_true", help="run nothing")
    parser.add_argument("--runs", type=Path, default=Path("runs/trainers"), help="where trainings write")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of points, page and figure")
    options = parser.parse_args(arguments)
    failed = 0
    for trainer in TRAINERS:
        path, out = options.out / f"{trainer.name}.json", (options.runs / trainer.name).resolve()
        chosen = not options.only or any(part in trainer.name for part in options.only)
        if options.draw or path.is_file() or not chosen:
            continue
        shared = ["--tokens", str(TOKENS), "--threads", "1", "--episodes", "128", "--out", str(out)]
        try:
            if not (out / "result.json").is_file():  # else it is done
                run([sys.executable, "-m", *trainer.command, *shared], out)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            failed = 1
            continue
        write_atomically(path, json.dumps(asdict(curve_of(trainer, out, WINDOW))) + "\n")
    paths = {trainer.label: options.out / f"{trainer.name}.json" for trainer in TRAINERS}
    curves = [Curve(**json.loads(path.read_text("utf-8"))) for path in paths.values() if path.is_file()]
    missing = [label for label, path in paths.items() if not path.is_file()]
    if not curves:
        print(f"no runs in {options.out}", file=sys.stderr)
        return 1
    level = start_of(options.out)
    for curve in curves:
        reached = seconds_to(curve, curve.scores(level["start"], level["gap"]), REACHED)
        shown = "not reached" if reached is None else f"{reached:.0f}"
        print(f"{curve.label:<26} seconds to {REACHED:g}: {shown}")
    write_atomically(options.out / "README.md", card(curves, level, missing))
    draw(
        [
            (curve.label, curve.tokens, curve.seconds, curve.scores(level["start"], level["gap"]))
            for curve in curves
        ],
        options.out,
    )
    return failed


if __name__ == "__main__":
    sys.exit(main())
