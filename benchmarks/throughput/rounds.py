"""What every comparison does with its figures."""

from __future__ import annotations


def report(title: str, best: dict[str, float], ours: str, unit: str, bar: float) -> None:
    """Print every figure and the ratio of the best of ours to the best of theirs."""
    print(title)
    for name, speed in best.items():
        print(f"  {name:<28} {speed:>12,.0f} {unit}")
    mine = max(speed for name, speed in best.items() if name.startswith(ours))
    theirs = max(speed for name, speed in best.items() if not name.startswith(ours))
    print(f"  ratio {mine / theirs:.2f} (bar {bar:g})\n")
