"""What the README says is so: its code runs."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.imports import ROOT

pytestmark = pytest.mark.slow


def test_the_code_in_the_readme_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        ran = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert "Optimum(" in ran.stdout
