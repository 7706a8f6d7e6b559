"""Every cell of every page and notebook runs, in order, in a folder of its own."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, as_notebook, notebooks, runs, written_pages
from tests.imports import ROOT

pytestmark = [pytest.mark.docs, pytest.mark.slow]
NEEDS = {"tutorials/trl.md": "trl", "tutorials/stable_baselines3.md": "stable_baselines3"}
PAGES = [page for page in written_pages() if runs(page)] + notebooks()


def test_the_tutorials_and_notebooks_are_among_them() -> None:
    assert {page.parent.name for page in PAGES} >= {"docs", "concepts", "tutorials", "notebooks"}
    tutorials = {page.name for page in (DOCS / "tutorials").glob("*.md")} - {"index.md"}
    assert tutorials and tutorials <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_cells_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nbclient", reason="needs pip install 'klrl-envs[docs]'")
    from nbclient import NotebookClient

    needed = NEEDS.get(str(page.relative_to(DOCS)))
    if needed is not None and find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("TQDM_DISABLE", "1")
    notebook = as_notebook(page)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()
    ran = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert ran and all(cell.execution_count for cell in ran)
