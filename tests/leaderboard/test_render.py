"""Entries are written by strangers: nothing of theirs runs, or is linked blindly."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest

from leaderboard.board import Board
from leaderboard.challenge import Challenge, Run
from leaderboard.exhibits import Exhibit
from leaderboard.render import TEMPLATES, code_url, markdown_html
from leaderboard.site import site_files
from tests.leaderboard.entries import EVIL, board_of, card, hostile, made
from tests.leaderboard.pages import Page

GRID = "klrl/GridNavigation-v0"


def hostile_board(*, pages: bool = True) -> Board:
    """A board on which all that strangers may write is hostile."""
    entry = hostile()
    doubt = Challenge(
        env_id=GRID, agent=entry.agent.name, commit=EVIL, task_sha256=entry.task_sha256,
        runs=(Run(seed=0, claimed=1.0, found=None),), reason=EVIL, by=EVIL, date="2026-01-01",
    )  # fmt: skip
    known = card()
    beside = known.texts[0].model_copy(update={"prompt": EVIL})
    texts = tuple(each.reference.model_copy(update={"text": EVIL}) for each in known.texts)
    shown = Exhibit(
        env_id=GRID, agent=entry.agent.name, task_sha256=entry.task_sha256, approximate=True, curves=(),
        texts_seed=0, texts=texts,
    )  # fmt: skip
    return board_of(
        entry,
        made("ours", GRID, [0.5, 0.6]),
        challenges=[doubt],
        cards={GRID: known.model_copy(update={"texts": (beside, *known.texts[1:])})},
        exhibits={(GRID, entry.agent.name): shown},
        pages=pages,
    )


@pytest.mark.parametrize("pages", [True, False])
def test_what_strangers_write_stays_text(pages: bool) -> None:
    script = (TEMPLATES / "board.js").read_text()
    files = {name: text for name, text in site_files(hostile_board(pages=pages)).items() if "html" in name}
    assert len(files) > 20
    for name, text in files.items():
        page = Page(text)
        assert [each for kind, each in page.scripts if not kind] == [script], name
        assert not [tag for tag, _ in page.tags if tag in ("img", "iframe", "object", "embed", "base")], name
        assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")], name
        schemes = {link.split(":")[0].lower() for link in page.links if ":" in link.split("/")[0]}
        assert schemes <= {"http", "https"}, name
    for name in ("index.html", "entries/GridNavigation-v0--constructor.html"):
        assert EVIL in Page(files[name]).words, f"{name} shows it as it was written"


def test_data_for_the_script_is_whole() -> None:
    page = Page(site_files(hostile_board())["index.html"])
    [(kind, text)] = [each for each in page.scripts if each[0]]
    assert kind == "application/json" and "<" not in text
    told = json.loads(text)
    assert EVIL in dict(told["agents"])["constructor"]
    facets = [json.loads(each["data-facets"]) for _, each in page.tags if "data-facets" in each]
    assert [EVIL] in [each["trains"] for each in facets]


def test_the_policy_of_a_page_names_its_script_and_allows_no_request() -> None:
    page = Page(site_files(hostile_board())["index.html"])
    [policy] = [each["content"] for tag, each in page.tags if tag == "meta" and "http-equiv" in each]
    [(_, script)] = [each for each in page.scripts if not each[0]]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ") and f"script-src 'sha256-{digest}'" in policy
    assert "http" not in policy and "connect-src" not in policy


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.org/x", "https://example.org/x"),
        ("agents/ppo.py", "../agents/ppo.py"),
        ("javascript:alert(1)", None),
        ("JaVaScRiPt:alert(1)", None),
        ("data:text/html,x", None),
        ("//example.org", None),
        (" javascript:alert(1)", None),
        (None, None),
    ],
)
def test_only_addresses_of_code_are_linked(url: str | None, expected: str | None) -> None:
    assert code_url(url, "../") == expected
    if expected is not None and not expected.startswith("http"):
        assert code_url(url, "") is None, "a page that does not know where the code is links to none"


def test_html_in_markdown_stays_text() -> None:
    told = markdown_html("# Title\n\n<script>x</script> [a](javascript:x) ``code``", deeper=1)
    assert "<h2>Title</h2>" in told and "<script" not in told and "<a " not in told
    assert "<code>code</code>" in told


def test_nothing_is_taken_from_elsewhere() -> None:
    for path in Path(TEMPLATES).iterdir():
        text = path.read_text()
        assert "http://" not in text and "https://" not in text and "@import" not in text, path.name
        assert len(text.splitlines()) < 400
