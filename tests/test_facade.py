"""The facade: what is public is listed, found, and told by help()."""

from __future__ import annotations

import pydoc
import re
import subprocess
import sys

import pytest

import klrl_envs
from tests.imports import ROOT


def test_dir_lists_the_public_names_and_nothing_else() -> None:
    listed = {name for name in dir(klrl_envs) if not name.startswith("__")}
    assert listed == set(klrl_envs.__all__)
    assert {"evaluate", "optimum", "exact_task", "register", "make_task"} <= listed
    for name in klrl_envs.__all__:
        assert getattr(klrl_envs, name) is not None


def test_every_name_of_the_readme_is_public() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bklrl_envs\.([A-Za-z_]+)", text)) - {"assets"}
    assert named and named <= set(klrl_envs.__all__)


@pytest.mark.parametrize("name", ["evaluate", "optimum", "exact_task", "register", "evaluate_exactly"])
def test_help_tells_of_it(name: str) -> None:
    page = pydoc.plain(pydoc.render_doc(klrl_envs))
    assert re.search(rf"^    {name}\(", page, re.MULTILINE)


def test_names_complete_before_they_are_used() -> None:
    code = (
        "import rlcompleter, klrl_envs\n"
        "completer = rlcompleter.Completer({'klrl_envs': klrl_envs})\n"
        "print(completer.attr_matches('klrl_envs.eval'))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in ("evaluate(", "evaluate_exactly(", "evaluation_task("):
        assert f"klrl_envs.{name}" in ran.stdout


def test_a_misspelt_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'klrl_envs' has no attribute 'evalute'"):
        klrl_envs.evalute  # type: ignore[attr-defined]  # noqa: B018


def test_the_former_name_of_comparison_is_still_found() -> None:
    assert klrl_envs.Diagnostics is klrl_envs.Comparison  # type: ignore[attr-defined]


def test_integrations_are_found_when_they_are_named() -> None:
    assert {"sb3", "trl"} <= set(dir(klrl_envs.integrations))
    assert klrl_envs.integrations.trl.as_reward_fn is klrl_envs.as_reward_fn
    with pytest.raises(AttributeError, match="no attribute 'tensorflow'"):
        _ = klrl_envs.integrations.tensorflow
