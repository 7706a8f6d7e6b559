"""The Sphinx extension that makes the generated pages before the others are read."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from docs.generator import api, citation, docstrings, environments, repository, streams


def generate(app: Any) -> None:
    """Write every generated page."""
    docs = Path(app.srcdir)
    repository.write_pages(docs=docs)
    citation.write_citation(docs)
    api.write_reference(docs)
    environments.write_pages(docs)


def setup(app: Any) -> dict[str, Any]:
    """Sphinx calls it."""
    render: Any = import_module("myst_nb.core.render")
    render.coalesce_streams = streams.joined
    app.connect("builder-inited", generate)
    app.connect("autodoc-process-docstring", docstrings.before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", docstrings.after_napoleon, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
