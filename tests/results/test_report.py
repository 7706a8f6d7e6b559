"""`klrl report`: a page and a figure."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from klrl_envs.cli.app import app
from klrl_envs.results.look import styles
from klrl_envs.results.statistics import mean_interval
from tests.results.diagnostics import GOLD, comparison, diagnostic, lengths, write
from tests.results.records import record


def klrl(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


@pytest.mark.slow
def test_the_command_writes_page_and_figure(tmp_path: Path):
    pytest.importorskip("matplotlib")
    from PIL import Image

    gold = diagnostic(GOLD, 0.7, agent="other", comparison=comparison(GOLD, "optimal"))
    write(tmp_path, *lengths(0.96, 0.9, 0.6, 0.31), *lengths(0.5, -0.4, agent="other"), gold)
    ran = klrl("report", str(tmp_path))
    assert ran.exit_code == 0, ran.output
    assert "0.69" in ran.output and "0.25 (2 of 4)" in ran.output
    written = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "| capability | other | toy |" in written and "| Long texts | 0.25 (2 of 4) | 0.69 |" in written
    assert "| Stays put | – | – |" in written and "| No over-optimisation | 1.00 | – |" in written
    assert "Its score falls from 0.96 at horizon 4 to 0.31 at 256." in written
    assert "| toy | horizon 256 | 0.31 | 0.310 | 1.25 | 0.05 | 0 | 20,000 |" in written
    assert "report.png" in written
    assert "<svg" in (tmp_path / "report" / "report.svg").read_text(encoding="utf-8")
    with Image.open(tmp_path / "report" / "report.png") as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 50
    assert (pixels == (0x56, 0xB4, 0xE9)).all(axis=1).mean() > 0.005, "the bars"

    out = tmp_path / "alone"
    ran = klrl("report", str(tmp_path), "--agent", "toy", "--out", str(out))
    assert ran.exit_code == 0, ran.output
    assert "Its score falls from" in ran.output and "other" not in ran.output
    assert "other" not in (out / "report.md").read_text(encoding="utf-8")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    klrl("report", str(tmp_path), "--agent", "toy", "--out", str(out))
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}, (
        "the same results, the same files"
    )


def test_scores_of_any_environment_are_a_table_and_a_figure(tmp_path: Path):
    pytest.importorskip("matplotlib")
    from PIL import Image

    seeds = [record(seed=seed, score=score) for seed, score in enumerate((0.46, 0.5, 0.54))]
    beaten = record(env_id="klrl/Brackets-v0", score=-3.0, score_interval=[-3.1, -2.9])
    write(tmp_path, *seeds, beaten, *lengths(0.5, 0.6))
    ran = klrl("report", str(tmp_path))
    assert ran.exit_code == 0, ran.output
    interval = mean_interval([0.46, 0.5, 0.54], 0.0)
    wanted = f"0.500 [{interval[0]:.3f}, {interval[1]:.3f}]"
    assert wanted in ran.output and "not final" in ran.output
    page = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert f"| GridNavigation-v0 | toy | 0, 1, 2 | {wanted} | 66 | 2 | 31 | 1,000 |" in page
    assert "| Brackets-v0 | toy | 0 | -3.000 [-3.100, -2.900] |" in page
    scores = page.partition("## Scores")[2]
    assert "DiagnosticLength" in page and "DiagnosticLength" not in scores, "sweeps are capabilities"
    with Image.open(tmp_path / "report" / "scores.png") as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    colour = styles(["toy"])["toy"][0]
    wanted_colour = tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))
    assert (pixels == wanted_colour).all(axis=1).sum() > 100, "the marks"

    alone = write(tmp_path / "alone", beaten)
    ran = klrl("report", str(alone))
    assert ran.exit_code == 0 and "Long texts" not in ran.output
    assert sorted(path.name for path in (alone / "report").iterdir()) == [
        "report.md",
        "scores.png",
        "scores.svg",
    ]


def test_many_agents_are_lines_of_one_table_and_one_figure(tmp_path: Path):
    pytest.importorskip("matplotlib")
    from matplotlib import colormaps
    from PIL import Image

    names = [f"agent_{number}" for number in range(9)]
    scored = [each for number, name in enumerate(names) for each in lengths(*[0.1 * number] * 4, agent=name)]
    write(tmp_path, *scored, diagnostic(GOLD, 0.7, agent="agent_3", comparison=comparison(GOLD, "optimal")))
    ran = klrl("report", str(tmp_path))
    assert ran.exit_code == 0, ran.output
    written = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert written.startswith("# 9 agents: one property at a time\n")
    table = [line for line in written.splitlines() if line.startswith(("| agent |", "| agent_"))][:10]
    assert table[0].startswith("| agent | Stays put | Starts elsewhere | Price of KL | Long texts |")
    assert table[1].startswith("| agent_3 | – | – | – | 0.30 |"), "who was asked more comes first"
    assert [line.split("|")[1].strip() for line in table[2:]] == [
        name for name in names[::-1] if name != "agent_3"
    ]
    with Image.open(tmp_path / "report" / "report.png") as image:
        width, height = image.size
        colours = [colour for _, colour in image.convert("RGB").getcolors(2**24) or ()]
    assert width > 1.5 * height
    for number in (0.1, 0.5, 0.8, 1.0):
        shade = 255 * np.array(colormaps["Blues"](number)[:3])
        assert any(np.abs(np.subtract(shade, other)).max() <= 2 for other in colours), number
    lines = ran.output.splitlines()
    assert any("agent_8" in line and "0.80" in line for line in lines), "in the console, too, a line for each"


def test_without_matplotlib_the_page_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write(tmp_path, record(), *lengths(0.5))
    ran = klrl("report", str(tmp_path))
    assert ran.exit_code == 0 and "pip install 'klrl-envs[plots]'" in ran.output
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["report.md"]
    page = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "| Long texts | 0.50 (1 of 4) |" in page and "| GridNavigation-v0 | toy |" in page
    assert ".png" not in page


def test_errors_are_one_line(tmp_path: Path):
    write(tmp_path, *lengths(0.5))
    for arguments, message in (
        ([str(tmp_path), "--agent", "nobody"], "--agent must be one of toy, got 'nobody'"),
        ([str(tmp_path / "none")], "there is no folder"),
    ):
        ran = klrl("report", *arguments)
        assert ran.exit_code == 2 and message in ran.stderr and len(ran.stderr.splitlines()) == 1
    assert not (tmp_path / "report").exists()
