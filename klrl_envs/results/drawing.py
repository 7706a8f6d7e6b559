"""A figure without a window or a global state, in our look, written as the same bytes on every day."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from klrl_envs.results.look import LOOK
from klrl_envs.showing import NO_MATPLOTLIB, has_matplotlib

METADATA: dict[str, dict[str, str | None]] = {
    ".png": {"Software": None},
    ".svg": {"Creator": None, "Date": None},
}
"""What a format would otherwise say of the day and of matplotlib's version."""


@contextmanager
def drawing(
    path: Path, size: tuple[float, float], *, dpi: int = 150, description: str | None = None
) -> Generator[Any]:
    """A matplotlib figure to draw on, which is written when the block ends.

    Args:
        path: with a suffix, that file alone; else the same name as `.svg` and `.png`, in a folder that may
            be new.
        size: width and height, inches.
        dpi: of what has pixels.
        description: is kept in the SVG.

    Raises:
        ImportError: matplotlib is not installed.
    """
    if not has_matplotlib():
        raise ImportError(NO_MATPLOTLIB)
    import matplotlib
    from matplotlib.figure import Figure

    settings: Any = matplotlib  # its stubs leave much unknown
    with settings.rc_context(LOOK):
        figure: Any = Figure(figsize=size, layout="constrained")
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        files = [path] if path.suffix else [path.with_suffix(".svg"), path.with_suffix(".png")]
        for file in files:
            file.unlink(missing_ok=True)  # a kill between the two leaves no new one beside an old one
        for file in files:
            metadata = dict(METADATA.get(file.suffix, {}))
            if description is not None and file.suffix == ".svg":
                metadata["Description"] = description
            figure.savefig(file, dpi=dpi, metadata=metadata)
