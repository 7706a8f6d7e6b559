"""What is generated in a text that people write: the part between two comments."""

from __future__ import annotations


def has_part(text: str, name: str) -> bool:
    """Whether a text has a marker of a part."""
    return any(marker in text for marker in _markers(name))


def with_part(text: str, name: str, part: str) -> str:
    """A text with the part between its markers, `<!-- NAME:begin -->` and `<!-- NAME:end -->`, renewed.

    Raises:
        ValueError: one of the markers is not there, or they are in the wrong order.
    """
    first, last = _markers(name)
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"README.md needs both {first} and {last}, in this order")
    return f"{before}{begin}\n{part}\n{end}{after}"


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
