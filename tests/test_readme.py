"""What the README says is so: its code runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.imports import ROOT
from tests.readme import OWN_AGENT, python_blocks

pytestmark = pytest.mark.slow


def test_the_code_in_the_readme_runs() -> None:
    blocks = [block for block in python_blocks() if not block.startswith(OWN_AGENT)]  # test_wheel.py runs it
    assert len(blocks) == 3
    for block in blocks:
        ran = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert "optimum of klrl/" in ran.stdout or "optimum of me/" in ran.stdout or "Right: on" in ran.stdout
