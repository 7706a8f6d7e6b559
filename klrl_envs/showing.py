"""Numbers and results as people read them: in a terminal, in a notebook, as a frame of pandas."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

ROUNDING = 1e-12
"""Below this a number that a float64 sum left is nothing but rounding."""

NO_MATPLOTLIB = "figures need matplotlib: pip install 'klrl-envs[plots]'"

Bounded = tuple[float, float, float]
"""An estimate with the bounds of its 95 % interval; all three are one where it is exact."""


def shown(value: float, digits: int = 5) -> str:
    """A number in so many digits; what is rounding is 0."""
    return "0" if abs(value) < ROUNDING else f"{value:.{digits}g}"


def with_bounds(value: float, bounds: tuple[float, float], digits: int = 4) -> str:
    """A number with its interval, "0.913 [0.91, 0.916]"; without one where it has no width."""
    lower, upper = bounds
    interval = f" [{shown(lower, digits)}, {shown(upper, digits)}]" if upper - lower > ROUNDING else ""
    return f"{shown(value, digits)}{interval}"


def rounded(count: int) -> str:
    """A count in three places: 500k, 2M."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:g}{unit}" if count % (size // 100) == 0 else f"{count / size:.3g}{unit}"
    return str(count)


def told(numbers: Mapping[str, Bounded | None], digits: int = 4) -> dict[str, str]:
    """Numbers with their intervals in words; None is "none"."""
    return {
        name: "none" if each is None else with_bounds(each[0], each[1:], digits)
        for name, each in numbers.items()
    }


def as_text(title: str, rows: Mapping[str, str]) -> str:
    """A title, and a line for each name and what it is, aligned."""
    width = max(map(len, rows))
    return "\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in rows.items())])


def as_html(title: str, rows: Mapping[str, str]) -> str:
    """The same as a table for a notebook."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table><caption style='text-align:left'>{html.escape(title)}</caption>{cells}</table>"


def frame_of(rows: Sequence[Mapping[str, Any]], index: str) -> Any:
    """A pandas DataFrame of rows, indexed by one of their names.

    Raises:
        ImportError: there is no pandas.
    """
    if find_spec("pandas") is None:
        raise ImportError("to_frame needs pandas: pip install pandas")
    import pandas  # pyright: ignore[reportMissingTypeStubs]

    frame: Any = pandas.DataFrame(list(rows))
    return frame.set_index(index)


def bounded_frame(numbers: Mapping[str, Bounded | None]) -> Any:
    """A DataFrame of numbers, indexed by name, with columns estimate, lower and upper."""
    nothing = (None, None, None)
    rows = [
        {"name": name, **dict(zip(("estimate", "lower", "upper"), each or nothing))}
        for name, each in numbers.items()
    ]
    return frame_of(rows, "name")


def has_matplotlib() -> bool:
    """Whether figures can be drawn here; a command that draws at its end asks at its beginning."""
    return find_spec("matplotlib") is not None


def new_axes(axes: Any) -> Any:
    """The axes that are given, or new ones of matplotlib.

    Raises:
        ImportError: there is no matplotlib.
    """
    if axes is not None:
        return axes
    if not has_matplotlib():
        raise ImportError(NO_MATPLOTLIB)
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(6, 4), layout="constrained")[1]
