"""Commands of klrl, as a user types them, and how they end."""

from __future__ import annotations

from typer.testing import CliRunner

from klrl_envs.cli.app import app

GRID = "GridNavigation-v0"
SMALL = ["--set", "size=4", "--horizon", "6"]
SMALL_ARGUMENTS = {"size": 4, "horizon": 6}


def klrl(*arguments, stdin=None):
    return CliRunner().invoke(app, list(arguments), input=stdin, env={"COLUMNS": "200"})


def succeeded(result):
    assert result.exit_code == 0, result.output
    return result.output


def refused(result, message):
    """One line, in exit code 2, and no traceback."""
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0], result.stderr
