"""`klrl list`: every environment can be found and copied at any width."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from klrl_envs import REGISTRY
from klrl_envs.cli.app import app
from tests.cli.commands import klrl, succeeded

SNAPSHOTS = Path(__file__).parent / "listing"


def listed(width: int, *options: str) -> str:
    return succeeded(CliRunner().invoke(app, ["list", *options], env={"COLUMNS": str(width)}))


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_every_line_fits_and_every_id_is_whole(width):
    lines = listed(width).splitlines()
    assert max(map(len, lines)) <= width
    words = {word for line in lines for word in line.split()}
    assert {row.gym_id for row in REGISTRY} <= words
    assert all(word in words for row in REGISTRY for word in row.summary.split())


@pytest.mark.parametrize("width", [60, 80, 200])
def test_it_looks_as_it_did(width):
    """Of a few environments, so that another one changes few snapshots."""
    expected = (SNAPSHOTS / f"{width}.txt").read_text(encoding="utf-8")
    assert [line.rstrip() for line in listed(width, "--tag", "neural").splitlines()] == expected.splitlines()


def test_tags_choose_and_json_has_all():
    rows = json.loads(succeeded(klrl("list", "--json")))
    assert [row["id"] for row in rows][: len(REGISTRY)] == [row.gym_id for row in REGISTRY]
    some = json.loads(succeeded(klrl("list", "--tag", "exact", "--tag", "grid", "--json")))
    assert [row["id"] for row in some] == ["klrl/GridNavigation-v0"]
    assert some[0]["kl_coef"] == 8 and some[0]["token_budget"] == 1_000_000
