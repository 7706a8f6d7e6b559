"""The code and the commands that the README shows."""

from __future__ import annotations

import re

from tests.imports import ROOT

OWN_AGENT = "# mine.py\n"
"""The first line of the agent in the section "Your own agent"."""


def python_blocks() -> list[str]:
    """The blocks of Python, in order."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def own_agent() -> tuple[str, list[str]]:
    """The agent of the section "Your own agent", and the lines that are typed after it."""
    (code,) = [block for block in python_blocks() if block.startswith(OWN_AGENT)]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    after = text.partition(code)[2].partition("\n## ")[0]
    return code, [line.strip() for line in after.splitlines() if line.startswith("    ")]
