"""Objects that a user names on the command line."""

from __future__ import annotations

from klrl_envs.registry import import_module


def object_named(name: str, what: str) -> object:
    """What "module:object" or "file.py:object" names.

    Args:
        name: where it is.
        what: for the message, what is taken and what else could be given.

    Raises:
        ValueError: not of this form.
        ImportError: no such module or object.
    """
    place, colon, attribute = name.rpartition(":")
    if not colon or not place:
        raise ValueError(f"{what}, got {name!r}")
    module = import_module(place)
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ImportError(f"the module {place!r} has no {attribute!r}") from None
