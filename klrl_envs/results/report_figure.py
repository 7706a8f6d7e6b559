"""The report's figure: a strip for each agent, a line for each capability."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from klrl_envs.registry import sweeps
from klrl_envs.results.capabilities import clip
from klrl_envs.results.capability import Finding, Findings
from klrl_envs.results.drawing import drawing
from klrl_envs.results.look import INK, SOFT

TRACK, BAND = "#e3e7ed", "#f6f7f9"
BAR = "#56B4E9"  # of Okabe and Ito's colours, which the colour-blind tell apart too
DOTS = "Blues"  # light for the first setting, dark for the last: told apart by lightness alone
ACROSS = 4  # strips side by side


def draw(findings: Findings, folder: Path) -> None:
    """`report.png` and `report.svg`: a strip for each agent, a line for each capability."""
    alone = len(findings) == 1
    across = min(len(findings), ACROSS)
    down = -(-len(findings) // across)
    size = (11.5 if alone else 2.6 + 2.7 * across, 1.1 + 5.6 * down)
    with drawing(folder / "report", size) as figure:
        grid = figure.subplots(down, across, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(findings):
                axes.set_visible(False)
                continue
            name, found = list(findings.items())[place]
            strip(axes, found, named=place % across == 0)
            axes.set_title("" if alone else name, loc="left", fontsize=11, color=INK, fontweight="bold")
            if alone:
                tell(axes, found)
        title = f"What {next(iter(findings))} can do" if alone else "What the agents can do"
        figure.suptitle(
            f"{title}, one property at a time", x=0.01, ha="left", fontsize=13, color=INK, fontweight="bold"
        )
        figure.supxlabel(
            "bar: the mean over the sweep (hatched: over a part of it); dots: its settings, the first light "
            "and on top (\u25c2 a score below 0)",
            fontsize=9,
            color=SOFT,
        )


def strip(axes: Any, findings: Sequence[Finding], *, named: bool) -> None:
    """One agent: for each capability a track from 0 to 1, its number as a bar, and its settings as dots."""
    for line, finding in enumerate(findings):
        if line % 2 == 0:
            axes.axhspan(line - 0.5, line + 0.5, color=BAND, linewidth=0, zorder=0)
        if finding.number is None:
            axes.text(0.5, line, missing_text(finding), ha="center", va="center", fontsize=9, style="italic",
                      color=SOFT)  # fmt: skip
            continue
        axes.barh(line, 1, 0.42, color=TRACK, linewidth=0, zorder=1)
        whole = not finding.missing
        axes.barh(line, finding.number, 0.42, color=BAR, linewidth=0, zorder=2, alpha=1 if whole else 0.55,
                  hatch=None if whole else "////", edgecolor="white")  # fmt: skip
        profile(axes, line, finding)
        axes.text(1.05, line, f"{finding.number:.2f}", va="center", fontsize=10, color=INK, fontweight="bold")
    axes.set_ylim(len(findings) - 0.5, -0.5)
    axes.set_xlim(-0.03, 1.22)
    axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    axes.axvline(1, color=SOFT, linewidth=0.8, linestyle=":", zorder=3)
    axes.set_yticks([])
    for line, finding in enumerate(findings if named else ()):
        capability = finding.capability
        label: Any = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
        axes.text(-0.03, line - 0.16 * bool(capability.span), capability.title, color=INK, **label)
        axes.text(-0.03, line + 0.22, capability.span, color=SOFT, fontsize=8, **label)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def profile(axes: Any, line: int, finding: Finding) -> None:
    """The scores of a sweep as dots, joined, from the first setting on top to the last."""
    from matplotlib import colormaps

    sweep = sweeps()[finding.capability.env_id]
    if len(sweep) == 1:
        return
    places = [sweep.index(point.settings) / (len(sweep) - 1) for point in finding.points]
    scores = [point.mean("score") for point in finding.points]
    at = [clip(score) for score in scores]
    heights = [line + 0.5 * (place - 0.5) for place in places]
    axes.plot(at, heights, color=INK, linewidth=0.8, zorder=4)
    for place, score, across, height in zip(places, scores, at, heights):
        axes.plot(
            across,
            height,
            "<" if round(score, 2) < 0 else "o",
            color=colormaps[DOTS](0.2 + 0.8 * place),
            markersize=6,
            markeredgecolor=INK,
            markeredgewidth=0.7,
            clip_on=False,
            zorder=5,
        )


def missing_text(finding: Finding) -> str:
    """Why there is no number, in a word or two."""
    return "no comparison" if finding.points else "not run"


def tell(axes: Any, findings: Sequence[Finding]) -> None:
    """The sentences, to the right of a strip that stands alone."""
    for line, finding in enumerate(findings):
        axes.annotate(
            fill(finding.sentence, 74),
            (1.24, line),
            va="center",
            fontsize=8.5,
            color=INK,
            annotation_clip=False,
        )
