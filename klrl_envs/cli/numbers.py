"""Numbers as people read them."""

from __future__ import annotations

ROUNDING = 1e-12
"""Below this a number that a float64 sum left is nothing but rounding."""


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
