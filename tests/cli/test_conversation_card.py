"""`klrl show` of a task of several turns: conversations that read as such."""

from __future__ import annotations

import pytest

from tests.cli.commands import klrl, succeeded


@pytest.mark.slow
def test_a_card_has_three_conversations_of_each_policy() -> None:
    output = succeeded(klrl("show", "klrl/Dialogue-v0", "--set", "turns=3", "--horizon", "14"))
    reference, _, rest = output.partition("Texts of pi0")[2].partition("Texts of pi*")
    for part in (reference, rest):
        lines = [line for line in part.splitlines() if "user: " in line or "shop: " in line]
        columns = {line.find("user: ") for line in lines if "user: " in line}
        assert columns == {12}, "all lines of a conversation stand below each other"
        assert sum("user: Hello, I am looking for a film." in line for line in lines) == 3
        assert len(lines) >= 9
