"""What every comparison does with its figures."""

from __future__ import annotations


def report(title: str, best: dict[str, float], ours: str, unit: str, bars: dict[str, float | None]) -> None:
    """Print every figure, and the ratios of the best of ours to the best of each other side.

    Args:
        title: what was measured.
        best: side -> speed.
        ours: how the names of our sides begin.
        unit: of the speeds.
        bars: how the names of another side begin -> what the ratio must reach, or None.
    """
    print(title)
    for name, speed in best.items():
        print(f"  {name:<28} {speed:>12,.0f} {unit}")
    mine = max(speed for name, speed in best.items() if name.startswith(ours))
    for other, bar in bars.items():
        theirs = max(speed for name, speed in best.items() if name.startswith(other))
        wanted = "" if bar is None else f" (bar {bar:g})"
        print(f"  ratio to {other}: {mine / theirs:.2f}{wanted}")
    print()
