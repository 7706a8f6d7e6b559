"""Ids, and what importing the package and making an environment load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import klrl_envs
from klrl_envs.registry import find_row
from tests.envs.ids import PLAIN_IDS


def test_an_unknown_environment_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown environment 'klrl/Sentimental-v0'; known are"):
        klrl_envs.make_task("klrl/Sentimental-v0")


@pytest.mark.parametrize("env_id", PLAIN_IDS)
def test_module_prefix_registers_and_exact_tasks_import_no_torch(env_id: str) -> None:
    exact = "exact" in find_row(env_id).tags
    code = (
        "import sys, gymnasium as gym\n"
        f"env = gym.make('klrl_envs:{env_id}')\n"
        f"env.reset(seed=0)\nenv.step(1)\nassert ('torch' in sys.modules) == {not exact}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


def test_import_loads_neither_torch_nor_scipy() -> None:
    code = (
        "import sys, klrl_envs\nassert not {'torch', 'scipy', 'transformers', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
