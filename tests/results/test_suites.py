"""Suites from files."""

from pathlib import Path

import pytest

from klrl_envs.results.suites import Experiment, load_suite

SUITES = {"core": (Experiment("a", "run a"),), "diagnostics": (), "smoke": ()}


def test_unknown_suites_are_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"core, diagnostics, smoke or an existing \.json file, not 'cores'"):
        load_suite("cores", SUITES)
    path = tmp_path / "suite.json"
    path.write_text('[{"agent": "a", "comand": "x"}]')
    with pytest.raises(ValueError, match=r"experiment 0 needs agent and command.*comand"):
        load_suite(str(path), SUITES)
