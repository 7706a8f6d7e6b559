"""What a cell prints stands in a page as it was printed, whatever pieces it came in."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from docs.generator.streams import joined

PRINTED = "\x1b[1;4mme/Praise-v0\x1b[0m\n\n┌────┬────┐\n│  a │  1 │\n└────┴────┘\n   \n"


def in_pieces(text: str, name: str, rng: random.Random) -> list[dict[str, str]]:
    """A stream's outputs, cut anywhere."""
    cuts = [0, *sorted(rng.sample(range(1, len(text)), 6)), len(text)]
    return [{"output_type": "stream", "name": name, "text": text[start:end]} for start, end in pairwise(cuts)]


@pytest.mark.parametrize("seed", range(5))
def test_pieces_become_what_was_printed(seed: int) -> None:
    rng = random.Random(seed)
    pieces = in_pieces(PRINTED, "stdout", rng)
    errors = in_pieces("a warning\n", "stderr", rng)
    between = [piece for pair in zip(pieces, errors, strict=True) for piece in pair]
    result = {"output_type": "execute_result", "data": {"text/plain": "1"}}
    assert joined([*between, result]) == [
        {"output_type": "stream", "name": "stdout", "text": PRINTED.rstrip() + "\n"},
        {"output_type": "stream", "name": "stderr", "text": "a warning\n"},
        result,
    ]


def test_of_a_bar_the_last_state_is_kept() -> None:
    drawn = {"output_type": "stream", "name": "stdout", "text": "before\n 10 %\r 50 %\r100 %\nafter\r\n"}
    assert joined([drawn])[0]["text"] == "before\n100 %\nafter\n"


def test_the_pages_are_built_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("myst_nb", reason="needs pip install 'klrl-envs[docs]'")
    from myst_nb.core import render

    from docs.generator import extension

    class App:
        def connect(self, *names: object, **options: object) -> None: ...

    # It must be there, and is put back.
    monkeypatch.setattr(render, "coalesce_streams", render.coalesce_streams)
    extension.setup(App())
    assert render.coalesce_streams is joined
