"""Objects that a user names on the command line."""

from __future__ import annotations

import traceback
from functools import reduce
from types import ModuleType

from klrl_envs.registry import import_module


def object_named(name: str, what: str) -> object:
    """What "module:object" or "file.py:object" names; the object may be an attribute of another, with a dot.

    Args:
        name: where it is.
        what: for the message, what is taken and what else could be given.

    Raises:
        ValueError: not of this form.
        ImportError: no such module or object, or the module raises an error.
    """
    place, colon, attribute = name.rpartition(":")
    if not colon or not place:
        raise ValueError(f"{what}, got {name!r}")
    module = imported(place)
    try:
        return reduce(getattr, attribute.split("."), module)
    except AttributeError:
        raise ImportError(f"the module {place!r} has no {attribute!r}") from None


def imported(place: str) -> ModuleType:
    """A module by its name or its file.

    Raises:
        ImportError: there is none, or it raises an error, whose place is told.
    """
    try:
        return import_module(place)
    except ImportError:
        raise
    except Exception as error:  # the author's code: whatever it may raise
        at = traceback.extract_tb(error.__traceback__)[-1]
        raise ImportError(
            f"the module {place!r} raised {type(error).__name__}: {error} ({at.filename}, line {at.lineno})"
        ) from error
