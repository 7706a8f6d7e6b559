"""What pi0 writes and what pi* writes, side by side: a page of texts of the neural environments.

    python -m benchmarks.studies.side_by_side [ENV_ID ...] [--out benchmarks/studies/side_by_side]

Eight evaluation prompts of each, evenly spaced, and one text of pi0 and of pi* behind each: draws, not
chosen. pi* is drawn by rejection from pi0. With ``--reference FOLDER`` (and ``--template chat``) another
model is pi0; where nobody has certified its optimum the page has its texts alone.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from klrl_envs.envs.lookup import evaluation_task
from klrl_envs.evaluation.shown_texts import ShownText, optimal_texts, reference_texts
from klrl_envs.optima.optimum import NotCertified, Optimum, optimum_of
from klrl_envs.registry import REGISTRY, find_row
from klrl_envs.tasks.base import Task

FOLDER = Path(__file__).parent / "side_by_side"
PROMPTS = 8
NEURAL = [row.gym_id for row in REGISTRY if "neural" in row.tags]
HEAD = """# Texts of pi0 and of pi*, side by side

Made by `{command}`. Eight evaluation prompts of each
environment, evenly spaced, and one draw of each policy behind each, none of them chosen (seed {seed}). One
that goes on with the prompt's last word begins with "…". *reward* is the text's; *nats* is log pi\\*(text) -
log pi0(text) = reward / kl_coef - log Z, how much likelier pi\\* makes the text: its mean over texts of
pi\\* is KL\\*, and a text of many negative nats is one that pi\\* hardly writes.
Where the optimum is not certified there is no pi\\* to draw from, and no nats.
"""
_MARKUP = re.compile(r"([\\`*_\[\]<>|~$&#])")


def shown(text: str) -> str:
    """A text as it stands within a line of Markdown: no sign of it is markup, a line break is one."""
    return "<br>".join(_MARKUP.sub(r"\\\1", line.strip()) for line in text.strip().splitlines())


def page(env_ids: Sequence[str], arguments: dict[str, Any], seed: int, command: str) -> str:
    """The page in Markdown, of environments with these arguments, as far as they take them."""
    sections = [HEAD.format(command=command, seed=seed)]
    for env_id in env_ids:
        taken = find_row(env_id).arguments()
        task = evaluation_task(env_id, {name: value for name, value in arguments.items() if name in taken})
        prompts = np.linspace(0, len(task.prompts.tokens) - 1, PROMPTS).astype(np.int64)
        before = reference_texts(task, prompts, seed)
        print(f"{env_id}: {PROMPTS} texts of pi0", flush=True)
        try:
            best = optimum_of(task)
        except NotCertified:
            best = None
        after = None if best is None else optimal_texts(task, best, prompts, seed)
        ratios = None if best is None else [ratio_of(best, int(prompt)) for prompt in prompts]
        sections.append(heading(task, find_row(env_id).summary, best))
        for place, text in enumerate(before):
            beside = [("pi0", text)] if after is None else [("pi0", text), ("pi\\*", after[place])]
            sections.append(block(place + 1, beside, None if ratios is None else ratios[place]))
    return "\n".join(sections)


def ratio_of(best: Optimum, prompt: int) -> tuple[float, float]:
    """1 / kl_coef and log Z of a prompt, which make a reward the log-ratio of its text."""
    assert best.log_partition is not None
    return 1 / best.kl_coef, float(best.log_partition[prompt])


def heading(task: Task, summary: str, best: Optimum | None) -> str:
    """What a task is, and what its two policies earn."""
    told = f"## {task.id}\n\n{summary[:1].upper()}{summary[1:]}; pi0 is `{task.reference.name}`, "
    told += f"kl_coef {task.kl_coef:g}.\n"
    if best is None:
        return f"{told}Its optimum is not certified for this reference: see `klrl certify`.\n"
    earned = f"pi0 earns {best.reference_value:.3f} on average, pi\\* {best.expected_reward:.3f}"
    return f"{told}{earned} at KL\\* {best.kl:.2f} nats.\n"


def block(number: int, texts: Sequence[tuple[str, ShownText]], ratio: tuple[float, float] | None) -> str:
    """A prompt, and the texts of some policies in a table."""
    lines = [f"**{number}.** {shown(texts[0][1].prompt)}\n"]
    lines += ["| | reward | nats | text |", "| --- | ---: | ---: | --- |"]
    for name, text in texts:
        nats = "?" if ratio is None else f"{text.reward * ratio[0] - ratio[1]:+.2f}"
        within = text.prompt[-1:].isalnum() and text.written[:1].isalnum()
        written = shown(f"…{text.written}" if within else text.written) or "*nothing*"
        lines.append(f"| {name} | {text.reward:.3f} | {nats} | {written} |")
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.side_by_side",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("env_ids", nargs="*", metavar="ENV_ID", help="all neural ones by default")
    parser.add_argument("--reference", help="a folder or hub id of another model")
    parser.add_argument("--template", help="'plain' or 'chat', of tasks that take one")
    parser.add_argument("--horizon", type=int, help="of all tasks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of README.md")
    options = parser.parse_args(words)
    given = {name: getattr(options, name) for name in ("reference", "template", "horizon")}
    arguments = {name: value for name, value in given.items() if value is not None}
    told = [*options.env_ids, *(f"--{name} {value}" for name, value in arguments.items())]
    told += [] if options.out == FOLDER else [f"--out {options.out}"]
    command = " ".join(["python -m benchmarks.studies.side_by_side", *told])
    text = page(options.env_ids or NEURAL, arguments, options.seed, command)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "README.md").write_text(text, encoding="utf-8")
    print(f"written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
