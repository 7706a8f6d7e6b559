"""Charts as geometry: what the templates draw as inline SVG, in a box of ``WIDTH`` times ``HEIGHT``.

Every point carries the words that are shown where one points at it or comes to it by keyboard.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from klrl_envs.results.entry import Entry
from klrl_envs.results.look import Style
from klrl_envs.results.outcome import shown_score
from leaderboard.cards import Card, Law
from leaderboard.close_up import WORTH, close_ups
from leaderboard.exhibits import Exhibit
from leaderboard.extent import edge_of, extent_of
from leaderboard.facets import Facets
from leaderboard.pairwise import scores_of
from leaderboard.plane import half_width
from leaderboard.profiles import LEAST, MOST, Profiled, profile
from leaderboard.tables import number

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 66, 704, 34, 366
"""Of the part between the axes."""
PROFILE_POINTS = 131

Place = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """A straight scale: `low` lies at `start` and `high` at `end`, both in the box's units."""

    label: str
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value lies, to a tenth."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Round values, each with its place and its text."""
        from matplotlib.ticker import EngFormatter, MaxNLocator

        locator = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
        values = [float(value) for value in locator.tick_values(self.low, self.high)]
        shown = EngFormatter(sep="") if self.high >= 10_000 else "{:g}".format
        slack = 1e-9 * (self.high - self.low)
        inside = [value for value in values if self.low - slack <= value <= self.high + slack]
        return [(self(value), shown(round(value, 12) + 0.0)) for value in inside]


@dataclass(frozen=True)
class Mark:
    """A point with its words; `number` is its place among the scores, `spread` its intervals, as a path."""

    at: Place
    tip: str
    colour: str = ""
    shape: str = "o"
    number: int | None = None
    seeds: tuple[Place, ...] = ()
    spread: str = ""
    facets: Facets = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """A line of a chart, and the band around it, as SVG paths."""

    name: str
    path: str
    colour: str
    band: str = ""


@dataclass(frozen=True)
class Plane:
    """The reward-KL plane: KL to the right, reward upwards; `near` is its part around the optimum."""

    x: Axis
    y: Axis
    frontier: str
    beyond: str
    tangent: str
    on_frontier: tuple[Mark, ...]
    landmarks: tuple[Mark, ...]
    agents: tuple[Mark, ...] = ()
    near: Plane | None = None


@dataclass(frozen=True)
class Lines:
    """Lines over two axes, and a level that is marked."""

    x: Axis
    y: Axis
    lines: tuple[Line, ...]
    level: float | None = None


@dataclass(frozen=True)
class Bar:
    """Two bars side by side: (x, y, width, height) of pi0's and of pi*'s."""

    reference: tuple[float, float, float, float]
    optimal: tuple[float, float, float, float]
    tip: str


@dataclass(frozen=True)
class Bars:
    """The law of the reward."""

    x: Axis
    y: Axis
    bars: tuple[Bar, ...]


def across(label: str, low: float, high: float) -> Axis:
    """An axis to the right."""
    return Axis(label, low, high, LEFT, RIGHT)


def upwards(label: str, low: float, high: float) -> Axis:
    """An axis upwards."""
    return Axis(label, low, high, BOTTOM, TOP)


def path_of(places: Iterable[Place]) -> str:
    """An open SVG path through places."""
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in places)


def plane_of(
    card: Card, entries: Sequence[Entry], style: Mapping[str, Style], facets: Mapping[str, Facets]
) -> Plane:
    """The plane of an environment; agents far beyond the optimum's KL stand at the edge, and say so.

    Where many stand close around the optimum it has their surroundings, enlarged, too.
    """
    edge, extent = edge_of(card), extent_of(card, card.frontier, entries)
    (left, right), (low, high) = extent

    def part(across_it: Place, up_it: Place, ranks: Iterable[int]) -> Plane:
        axes = (across("KL from the reference (nats)", *across_it), upwards("expected reward", *up_it))
        agents = [(rank, entries[rank - 1]) for rank in ranks]
        marks = [
            agent_mark(entry, rank, axes, edge, style[entry.agent.name], facets[entry.agent.name])
            for rank, entry in agents
        ]
        return replace(on_axes(card, axes, max(right, card.frontier[-1].kl)), agents=tuple(marks))

    whole = part(*extent, range(1, len(entries) + 1))
    for crowd, near in close_ups(entries, card, extent):
        (first, last), (least, most) = near
        if min((right - left) / (last - first), (high - low) / (most - least)) >= WORTH:
            return replace(whole, near=part(*near, (place + 1 for place in crowd)))
    return whole


def on_axes(card: Card, axes: tuple[Axis, Axis], farther: float) -> Plane:
    """Frontier, reference and optimum on two axes, without agents; the bound reaches as far as `farther`."""
    x, y = axes
    curve = [(0.0, card.reference_value), *((each.kl, each.expected_reward) for each in card.frontier)]
    last = card.frontier[-1]
    # beyond the last point that is known, its tangent bounds every policy
    bound = [*curve, (farther, last.expected_reward + last.kl_coef * (farther - last.kl))]
    places = [(x(kl), y(reward)) for kl, reward in bound]
    tips = [
        Mark((x(each.kl), y(each.expected_reward)), f"frontier, kl_coef {number(each.kl_coef)}: "
             f"expected reward {number(each.expected_reward)} at {number(each.kl)} nats")
        for each in card.frontier
    ]  # fmt: skip
    landmarks = [
        Mark((x(0.0), y(card.reference_value)), f"reference pi0: expected reward "
             f"{number(card.reference_value)} at 0 nats", shape="D"),
        Mark((x(card.kl), y(card.expected_reward)), f"optimum pi*: J* {number(card.value)}, expected "
             f"reward {number(card.expected_reward)} at {number(card.kl)} nats", shape="*"),
    ]  # fmt: skip
    slope = [(x(kl), y(card.value + card.kl_coef * kl)) for kl in (0.0, farther)]
    return Plane(
        x=x,
        y=y,
        frontier=path_of(places[:-1]),
        beyond=path_of([(places[0][0], TOP), *places, (places[-1][0], TOP)]) + "Z",
        tangent=path_of(slope),
        on_frontier=tuple(filter(is_inside, tips)),
        landmarks=tuple(filter(is_inside, landmarks)),
    )


def is_inside(mark: Mark) -> bool:
    """Whether a mark lies between the axes."""
    return LEFT <= mark.at[0] <= RIGHT and TOP <= mark.at[1] <= BOTTOM


def agent_mark(
    entry: Entry, rank: int, axes: tuple[Axis, Axis], edge: float, style: Style, facets: Facets
) -> Mark:
    """An agent's mean, with its seeds, and Student's 95 % intervals of both means over these."""
    x, y = axes
    kl, reward = (entry.mean(each) for each in ("kl", "expected_reward"))
    far = ", beyond the edge" if kl > edge else ""
    kls, rewards = (
        [min(seed.kl, edge) for seed in entry.seeds],
        [seed.expected_reward for seed in entry.seeds],
    )
    mean_kl = sum(kls) / len(kls)
    return Mark(
        at=(x(mean_kl), y(reward)),
        tip=f"{rank}. {entry.agent.name}: score {shown_score(entry.score, entry.score_interval)}, expected "
        f"reward {number(reward)} at {number(kl)} nats{far}, seeds: {len(entry.seeds)}",
        colour=style[0],
        shape=style[1],
        number=rank,
        seeds=tuple((x(kl), y(reward)) for kl, reward in zip(kls, rewards)),
        spread=cross(axes, (mean_kl, half_width(kls)), (reward, half_width(rewards))) if len(kls) > 1 else "",
        facets=facets,
    )


def cross(axes: tuple[Axis, Axis], kl: tuple[float, float], reward: tuple[float, float]) -> str:
    """Two lines through a point of the plane, as an SVG path: a mean and half its interval each way."""
    x, y = axes
    (middle, wide), (height, high) = kl, reward
    across_it = path_of((x(middle + each), y(height)) for each in (-wide, wide))
    return across_it + path_of((x(middle), y(height + each)) for each in (-high, high))


def profiles_of(shown: Profiled, style: Mapping[str, Style]) -> Lines | None:
    """The performance profiles of the agents that rank; None where none does."""
    levels = np.linspace(LEAST, MOST, PROFILE_POINTS)
    x = across("score: 0 the reference, 1 the optimum", LEAST, MOST)
    y = upwards("share of runs with at least this score", -0.03, 1.03)
    lines: list[Line] = []
    for row in shown.aggregate.ranked:
        scores = [scores_of(entry) for entry in shown.entries if entry.agent.name == row.agent]
        share, band = profile([each for each in scores if each], levels)
        at = [x(level) for level in levels]
        edges = [*zip(at, map(y, band[:, 1])), *reversed([*zip(at, map(y, band[:, 0]))])]
        lines.append(
            Line(f"{row.agent}: {row.score:.3f}", path_of(zip(at, map(y, share))), style[row.agent][0],
                 path_of(edges) + "Z")
        )  # fmt: skip
    return Lines(x, y, tuple(lines), level=x(1.0)) if lines else None


def curves_of(exhibit: Exhibit, colour: str) -> Lines | None:
    """The learning curves of an entry's seeds: the score, or the reward where there is none."""
    scored = all(each.score is not None for each in exhibit.curves)
    series = [
        (each.seed, [(spent, value) for spent, value in zip(each.tokens, values) if value is not None])
        for each in exhibit.curves
        for values in [each.score if each.score is not None and scored else each.expected_reward]
    ]
    series = [(seed, points) for seed, points in series if points]
    if not series:
        return None
    values = [value for _, points in series for _, value in points]
    low, high = (min(0.0, *values), max(1.0, *values)) if scored else (min(values), max(values))
    margin = 0.05 * (high - low or 1.0)
    x = across("tokens written in training", 0, max(points[-1][0] for _, points in series))
    y = upwards("score while training" if scored else "reward while training", low - margin, high + margin)
    lines = tuple(
        Line(f"seed {seed}: {number(points[-1][1])} after {points[-1][0]:,} tokens",
             path_of([(x(spent), y(value)) for spent, value in points]), colour)
        for seed, points in series
    )  # fmt: skip
    return Lines(x, y, lines, level=y(1.0) if scored else None)


def bars_of(law: Law) -> Bars:
    """The law of the reward under pi0 and pi*, side by side."""
    count = len(law.rewards)
    gaps = np.diff(law.rewards)
    gap = float(gaps.min()) if count > 1 else 1.0
    gap = max(gap, (law.rewards[-1] - law.rewards[0]) / 60)
    x = across("reward of a text", law.rewards[0] - gap, law.rewards[-1] + gap)
    y = upwards("probability", 0.0, 1.05 * max(*law.reference, *law.optimal))
    wide = max(2.0, math.floor(0.42 * (x(gap) - x(0.0))))

    def box(reward: float, chance: float, side: int) -> tuple[float, float, float, float]:
        top = y(chance)
        return round(x(reward) + (side - 1) * wide, 1), top, wide, round(BOTTOM - top, 1)

    bars = tuple(
        Bar(box(reward, before, 0), box(reward, after, 1),
            f"reward {number(reward)}: pi0 {before:.3g}, pi* {after:.3g}")
        for reward, before, after in zip(law.rewards, law.reference, law.optimal)
    )  # fmt: skip
    return Bars(x, y, bars)
