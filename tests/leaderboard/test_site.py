"""The whole board: every link leads somewhere, and what is to download is what the entries say."""

from __future__ import annotations

import csv
import io
import json
import posixpath
from dataclasses import replace

import pytest

from klrl_envs.registry import REGISTRY
from klrl_envs.results.entry import Entry, file_id
from leaderboard.build import read_board
from leaderboard.downloads import csv_text, plain
from leaderboard.environment_page import AGENTS_TEXTS
from leaderboard.folder import FOLDER
from leaderboard.page import compared, page_text
from leaderboard.site import site_files
from tests.leaderboard.entries import board_of, card, made
from tests.leaderboard.pages import Page

GRID, KEYWORDS = "klrl/GridNavigation-v0", "klrl/Keywords-v0"


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """The site of the committed entries."""
    board, _ = read_board(FOLDER, lambda entries: None)
    return site_files(replace(board, pages=True, code=""))


def test_every_link_leads_somewhere(files: dict[str, str]) -> None:
    pages = {name: Page(text) for name, text in files.items() if name.endswith(".html")}
    followed = 0
    for name, page in pages.items():
        for link in page.links:
            if "://" in link:
                continue
            path, _, fragment = link.partition("#")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
            assert target in files, f"{name} links to {link}"
            if fragment and "=" not in fragment:
                assert fragment in pages[target].anchors, f"{name} links to {link}"
            followed += 1
    assert followed > 200


def test_there_is_a_page_for_each_environment_and_each_entry(files: dict[str, str]) -> None:
    for row in REGISTRY:
        words = Page(files[f"environments/{file_id(row.gym_id)}.html"]).words
        for part in ("Specification", "Law of the reward", "Optimum", "Entries", row.summary, "pi*"):
            assert part in words, row.id
    words = Page(files["entries/Keywords-v0--klq.html"]).words
    entry = Entry.load(FOLDER / "entries" / "Keywords-v0--klq.json")
    for part in (entry.command, entry.commit, entry.hardware.cpu, entry.versions.python, entry.task_sha256):
        assert part in words
    assert entry.score is not None and entry.score_interval is not None
    shown = "{:.3f} [{:.3f}, {:.3f}]".format(entry.score, *entry.score_interval)
    for part in (shown, "Learning curves", "seed 0", "chance to win", "heads on pi0"):
        assert part in words
    assert "None came with this entry" not in words
    assert "None came with this entry" in Page(files["entries/Keywords-v0--ppo.html"]).words


def test_what_agents_write_behind_the_same_prompts_stands_side_by_side(files: dict[str, str]) -> None:
    board, _ = read_board(FOLDER, lambda entries: None)
    page = Page(files["environments/Keywords-v0.html"])
    ours, theirs = (board.exhibits[KEYWORDS, agent] for agent in ("klq", "path_consistency"))
    for each in (*ours.texts, *theirs.texts):
        assert " ".join(each.text.split()) in " ".join(page.words.split())
    told = compared(replace(board, pages=True))["texts"]
    address, writers = told["Keywords-v0"]
    assert address == f"environments/Keywords-v0.html#{AGENTS_TEXTS}" and AGENTS_TEXTS in page.anchors
    assert {"klq", "path_consistency"} <= set(writers) and "ppo" not in writers
    assert compared(board)["texts"] == {}, "one file has no other pages"


def test_downloads_are_the_entries(files: dict[str, str]) -> None:
    entries = [Entry.load(path) for path in sorted((FOLDER / "entries").glob("*.json"))]
    told = json.loads(files["board.json"])
    assert sorted(map(json.dumps, told)) == sorted(json.dumps(entry.plain()) for entry in entries)
    lines = list(csv.DictReader(io.StringIO(files["board.csv"])))
    assert len(lines) == sum(len(entry.seeds) for entry in entries)
    assert {float(line["score"]) for line in lines if line["agent"] == "klq"} == {
        seed.score for entry in entries if entry.agent.name == "klq" for seed in entry.seeds
    }
    assert json.loads(files["entries/Keywords-v0--klq.json"])["agent"]["name"] == "klq"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_no_cell_is_a_formula(text: str) -> None:
    entry = made("ours", GRID, [0.5])
    entry = entry.model_copy(update={"agent": entry.agent.model_copy(update={"tuned": text})})
    [line] = csv.DictReader(io.StringIO(csv_text([entry])))
    assert line["tuned"] == "'" + text
    assert plain("words, and =") == "words, and =" and plain(None) == ""


def test_the_page_shows_every_table() -> None:
    entries = [
        made("ours", GRID, [0.6, 0.7]),
        made("ours", KEYWORDS, [0.5, 0.6]),
        made("theirs", KEYWORDS, [0.1, 0.2]),
    ]
    text = page_text(board_of(*entries, cards={GRID: card()}))
    for part in ("Apart", "Performance profiles", "Which of two wins", "1 of 2: Keywords-v0", "<td>(1)</td>"):
        assert part in text
    assert text.count("<details") == 4 and text.count('class="frontier"') == 1
    assert "All environments of the suite" not in text and "board.csv" not in text


def test_what_is_compared_is_told_as_the_tables_tell_it() -> None:
    told = compared(board_of(made("ours", KEYWORDS, [0.5, 0.6]), made("theirs", KEYWORDS, [0.1, 0.2])))
    chances = {(first, second): (mean, on) for first, second, mean, on in told["chances"]}
    assert chances["ours", "theirs"][0].startswith("1.00 [") and chances["theirs", "ours"][0].startswith(
        "0.00 ["
    )
    assert chances["ours", "theirs"][1][0][0] == "Keywords-v0"
    assert ["ours", "Keywords-v0", "0.550 [0.500, 0.600]"] in told["scores"]
