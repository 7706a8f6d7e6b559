"""Adapters to other libraries, imported when asked for: ``sb3``, ``trainer``, ``trl``, ``verifiers``."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["sb3", "trainer", "trl", "verifiers"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module 'klrl_envs.integrations' has no attribute {name!r}")
    return importlib.import_module(f"klrl_envs.integrations.{name}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
