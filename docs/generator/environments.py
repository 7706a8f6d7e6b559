"""A page for each environment of the registry: its specification, optimum, frontier, texts and a transcript.

What takes long to compute (optima, texts, pictures) is kept beside the pages under the task's kl_coef and its
fingerprint, which names all else that moves an optimum: so the second build has only the new to do.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import gymnasium as gym
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image
from rich.console import Console

import klrl_envs
from docs.generator.files import DOCS, ROOT, keep_only, write
from klrl_envs.cli.card import optimum_numbers, show_card
from klrl_envs.optima.optimum import Optimum
from klrl_envs.registry import REGISTRY
from klrl_envs.results.drawing import drawing
from klrl_envs.tasks.row import Row

FOLDER = "environments"
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def write_pages(docs: Path = DOCS, rows: tuple[Row, ...] = REGISTRY) -> set[Path]:
    """Write the pages and their list; returns what was written."""
    written = set[Path]()
    for row in rows:
        written |= write_page(row, docs / FOLDER)
    groups = {
        "Tasks": [row for row in rows if "diagnostic" not in row.tags],
        "Diagnostics": [row for row in rows if "diagnostic" in row.tags],
    }
    index = TEMPLATES.get_template("environments.md.jinja").render(groups=groups)
    written.add(write(docs / FOLDER / "index.md", index))
    keep_only(docs / FOLDER, written)
    return written


def write_page(row: Row, folder: Path) -> set[Path]:
    """Write an environment's page and what it shows."""
    kept = f"{row.id}-{row.make(prompts='evaluation').fingerprint[:12]}-{row.kl_coef:g}"
    card, frontier = folder / f"{kept}.json", folder / f"{kept}.svg"
    if not card.exists():
        write(card, json.dumps(card_of(row), indent=1))
    if not frontier.exists():
        draw_frontier(klrl_envs.optimum(row.gym_id), frontier)
    transcript = json.loads((ROOT / "tests" / "golden" / f"{row.id}.json").read_text(encoding="utf-8"))
    picture = folder / f"{row.id}.png" if "grid" in row.tags else None
    if picture is not None:
        draw_end(row, transcript, picture)
    text = TEMPLATES.get_template("environment.md.jinja").render(
        row=row,
        card=json.loads(card.read_text(encoding="utf-8")),
        specification=row.specification(),
        arguments=row.arguments(),
        frontier=frontier.name,
        picture=picture and picture.name,
        transcript=transcript_lines(transcript),
    )
    return {card, frontier, write(folder / f"{row.id}.md", text), *([picture] if picture else [])}


def card_of(row: Row) -> dict[str, Any]:
    """What ``klrl show`` says, with the optimum's numbers in words."""
    output = io.StringIO()
    show_card(row.gym_id, {}, 0, Console(file=output), as_json=True)
    return {**json.loads(output.getvalue()), "numbers": optimum_numbers(klrl_envs.optimum(row.gym_id))}


def draw_frontier(best: Optimum, path: Path) -> None:
    """The picture that an optimum draws of itself."""
    with drawing(path, (6.4, 3.6)) as figure:
        best.plot(figure.subplots())


def draw_end(row: Row, transcript: dict[str, Any], path: Path) -> None:
    """The picture that an environment draws of its state, at the end of a recorded episode."""
    env: Any = gym.make(row.gym_id, render_mode="rgb_array")
    env.reset(seed=transcript["seed"])
    for step in transcript["steps"]:
        env.step(step["action"])
    Image.fromarray(env.render()).save(path)


def transcript_lines(transcript: dict[str, Any]) -> list[str]:
    """A recorded episode, a line for each step, and what its end says."""
    width = max(len(repr(step["token"])) for step in transcript["steps"])
    lines = [f"{'step':>4}  {'action':>6}  {'token':<{width}}  {'reward':>9}  log pi0"]
    for number, step in enumerate(transcript["steps"], 1):
        log_prob = step["info"].get("reference_log_prob")
        lines.append(
            f"{number:>4}  {step['action']:>6}  {step['token']!r:<{width}}  {step['reward']:>9.4g}  "
            f"{'' if log_prob is None else f'{log_prob:.3f}'}"
        )
    said = {
        name: value for name, value in transcript["steps"][-1]["info"].items() if not isinstance(value, list)
    }
    return [
        *lines,
        "",
        *(f"{name}: {value!r}" for name, value in said.items() if name != "reference_log_prob"),
    ]
