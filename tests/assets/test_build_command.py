"""The command that builds assets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_build_help_and_missing_tokenizer(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "klrl_envs.assets.build"]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert "examples:" in shown and "sentiment" in shown
    failed = subprocess.run(
        [*command, "prompts", "--out", str(tmp_path), "--work", str(tmp_path)], capture_output=True, text=True
    )
    assert failed.returncode == 1 and "build nano" in failed.stderr
