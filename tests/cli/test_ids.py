"""Environments as they are named on the command line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from klrl_envs.cli.ids import completions, resolved


@pytest.mark.parametrize("name", ["Keywords", "keywords", "KEYWORDS-V0", "klrl/keywords", "klrl/Keywords-v0"])
def test_short_names_mean_the_id(name):
    assert resolved(name) == "klrl/Keywords-v0"


def test_features_ids_have_their_own_names():
    assert resolved("keywordsfeatures") == "klrl/KeywordsFeatures-v0"


def test_a_module_stays_before_its_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two_versions_of_the_test.py").write_text(
        "import klrl_envs\nfrom klrl_envs.tasks.keywords import task\n"
        "for version in (2, 10):\n"
        "    klrl_envs.register(f'two/Versions-v{version}', task, kl_coef=0.04, token_budget=10)\n"
    )
    from klrl_envs.registry import import_module

    import_module("two_versions_of_the_test.py")
    assert resolved("two_versions_of_the_test:two/versions") == "two_versions_of_the_test:two/Versions-v10"
    assert resolved("two/versions-v2") == "two/Versions-v2"


def test_what_is_not_there_is_refused_with_what_was_meant():
    with pytest.raises(ValueError, match="did you mean klrl/Sentiment-v0"):
        resolved("sentimnt")
    with pytest.raises(ValueError, match="known are klrl/GridNavigation-v0, "):
        resolved("quite-another")


def test_the_shell_completes_ids_with_what_is_asked():
    found = dict(completions("Key"))
    assert list(found) == ["Keywords-v0"] and "eight given words" in found["Keywords-v0"]
    assert [name for name, _ in completions("key")] == ["keywords-v0"], "shells compare letter by letter"
    assert [name for name, _ in completions("klrl/Ha")] == ["klrl/Haiku-v0"]
    assert completions("nothing") == [] and len(completions("")) >= 23


def test_the_three_shells_get_them():
    code = "import sys; sys.argv = ['klrl']; from klrl_envs.cli.app import main; main()"
    for shell, variables in (
        ("bash", {"COMP_WORDS": "klrl show key", "COMP_CWORD": "2"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "klrl show key"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "klrl show key", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ):
        ran = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **variables, "_KLRL_COMPLETE": f"complete_{shell}"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "keywords-v0" in ran.stdout, (shell, ran.stderr)
