"""Docstrings for Sphinx: they are written for people who read code, with Markdown's indented examples.

Signs as in pi* and log pi(.|s) stand in them, which reStructuredText would take for its own.
"""

from __future__ import annotations

import re
from typing import Any

CODE = re.compile(r"(``.+?``|`[^`]+`)")
SIGNS = re.compile(r"(?<!\\)([*|])")
SEVERAL = re.compile(r"^:(?P<kind>ivar|param) (?P<names>\w+(?:, \w+)+):")
"""A field of several names, whose spaces Sphinx would take for the end of a type."""


def indentation(line: str) -> int:
    """Spaces before a line."""
    return len(line) - len(line.lstrip())


def mark_blocks(lines: list[str]) -> list[str]:
    """Indented blocks behind a paragraph that is not indented, as literal blocks; lists apart from it."""
    result: list[str] = []
    last = ""
    for line in lines:
        begins = bool(line.strip()) and indentation(line) > 0 and result[-1:] == [""]
        above = result[-1] if result else ""
        if line.startswith("- ") and above and indentation(above) == 0 and not above.startswith("- "):
            result.append("")
        if begins and indentation(last) == 0 and last and not last.endswith("::"):
            result += ["::", ""]
        result.append(line)
        last = line if line.strip() else last
    return result


def escape_signs(lines: list[str]) -> list[str]:
    """Signs escaped outside code and literal blocks."""
    result: list[str] = []
    literal, opener = False, 0
    for line in lines:
        if literal and line.strip() and indentation(line) <= opener:
            literal = False
        result.append(line if literal else escaped(line))
        if not literal and line.rstrip().endswith("::") and not line.lstrip().startswith(".."):
            literal, opener = True, indentation(line)
    return result


def escaped(line: str) -> str:
    """A line with its signs escaped outside code, and code that a letter follows, as in a plural, ended."""
    parts = CODE.split(line)
    for place, part in enumerate(parts):
        if place % 2 == 0:
            parts[place] = SIGNS.sub(r"\\\1", part)
        elif parts[place + 1][:1].isalnum():
            parts[place] += "\\ "
    return "".join(parts)


def before_napoleon(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Sphinx's event ``autodoc-process-docstring``, before sections are read."""
    lines[:] = mark_blocks(lines)


def after_napoleon(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """The same event, when sections have become fields."""
    lines[:] = [SEVERAL.sub(joined, line) for line in escape_signs(lines)]


def joined(match: re.Match[str]) -> str:
    """A field's names without spaces."""
    return f":{match['kind']} {match['names'].replace(', ', ',')}:"
