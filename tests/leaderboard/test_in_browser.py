"""The board in a real browser: it sorts, filters, compares, goes by keyboard, and asks nobody for a thing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from klrl_envs.results.entry import Entry, entry_path
from klrl_envs.results.outcome import shown_score
from leaderboard.aggregate import aggregate
from leaderboard.build import read_board
from leaderboard.folder import FOLDER
from leaderboard.site import write_site
from leaderboard.tables import number
from tests.leaderboard.chromium import installed_chromium
from tests.leaderboard.entries import hostile

pytestmark = pytest.mark.browser
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE = 60_000
"""Milliseconds that a step may take, on a machine that does other things too."""
PAGES = (
    "index.html",
    "entries/Keywords-v0--klq.html",
    "entries/GridNavigation-v0--constructor.html",
    "environments/Sentiment-v0.html",
    "rules.html",
)
KEYWORDS = "klrl/Keywords-v0"
SHOWN = {
    "klrl/GridNavigation-v0": {"ppo", "q_learning", "reinforce", "posterior", "reference"},
    KEYWORDS: {"klq", "path_consistency", "ppo", "reinforce", "sb3_ppo", "posterior", "reference"},
    "klrl/Sentiment-v0": {"ppo", "ppo-all", "reinforce", "reinforce-all", "posterior", "reference"},
}
"""The committed entries that the site is made of, so that a new one moves nothing here."""
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of some committed entries and of a hostile one."""
    board, _ = read_board(FOLDER, lambda entries: None)
    kept = [entry for entry in board.entries if entry.agent.name in SHOWN.get(entry.env_id, ())]
    assert len(kept) == sum(map(len, SHOWN.values())), "an entry that is looked at is no longer there"
    first = kept[0]
    stranger = hostile(first.env_id).model_copy(update={"task_sha256": first.task_sha256})
    entries = [
        *(each for each in kept if each.env_id == first.env_id),
        stranger,
        *(each for each in kept if each.env_id != first.env_id),
    ]
    folder = tmp_path_factory.mktemp("site")
    write_site(replace(board, entries=entries, aggregate=aggregate(entries), pages=True, code=""), folder)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium."""
    path = installed_chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        started = running.chromium.launch(executable_path=path, args=FLAGS, timeout=PATIENCE)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Any, site: Path) -> Iterator[Open]:
    """Opens a page of the site; at the end nothing was complained of, and nothing asked for but its pages."""
    faults: list[str] = []
    opened: list[Any] = []

    def go(name: str = "index.html", *, scheme: str = "light", width: int = 1200, fragment: str = "") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        opened.append(context)
        page.on("console", lambda message: faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: asked(request.url))
        page.goto(f"{(site / name).as_uri()}{fragment}")
        return page

    def asked(url: str) -> None:
        if not url.startswith((site.as_uri(), "data:")) or not url.split("#")[0].endswith(
            (".html", "data:,")
        ):
            faults.append(f"request: {url}")

    yield go
    for context in opened:
        context.close()
    assert not faults


def choice(page: Any, name: str) -> Any:
    """A list to choose from."""
    return page.get_by_role("combobox", name=name, exact=True)


def committed(name: str, env_id: str = KEYWORDS) -> Entry:
    """A committed entry."""
    return Entry.load(entry_path(env_id, name, FOLDER / "entries"))


def told(entry: Entry) -> str:
    """The score of an entry with its interval, as the board writes it."""
    return shown_score(entry.score, entry.score_interval)


def column(page: Any, label: str, place: int) -> list[str]:
    """The cells of a column that are shown, of a table within a region."""
    rows = page.locator(f'[aria-label="{label}"] tbody tr')
    shown = "rows => rows.filter(row => row.offsetParent).map(row => row.cells[PLACE].innerText.trim())"
    return rows.evaluate_all(shown.replace("PLACE", str(place)))


def test_a_column_sorts_both_ways_as_numbers_or_as_words(visit: Open) -> None:
    page = visit()
    region = page.get_by_role("region", name="scores on Keywords-v0")
    label = "scores on Keywords-v0"

    def tokens() -> list[int]:
        return [int(cell.replace(",", "")) for cell in column(page, label, 5)]

    head = region.get_by_role("columnheader", name="tokens")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending" and len(tokens()) == 7
    assert tokens() == sorted(tokens(), reverse=True) and max(tokens()) > 500_000
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending" and tokens() == sorted(tokens())
    region.get_by_role("columnheader", name="agent").get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None
    names = [name.split()[0] for name in column(page, label, 0)]
    assert names == sorted(names) and names[0] == "klq"
    ranks = page.get_by_role("region", name="agents on all environments")
    ranks.get_by_role("columnheader", name="rank").get_by_role("button").click()
    assert column(page, "agents on all environments", 0)[-1] == "bound", "what is no number comes last"


def test_filters_leave_what_was_asked_for_and_are_in_the_address(visit: Open) -> None:
    page = visit()
    everything = len(page.locator("tr[data-facets]:visible").all())
    choice(page, "what it trains").select_option("all weights")
    assert column(page, "scores on Sentiment-v0", 0) == ["ppo-all", "reinforce-all"]
    assert column(page, "scores on Keywords-v0", 0) == [] == column(page, "agents on all environments", 1)
    assert page.locator("svg .agent:visible").count() == 2
    assert page.locator("#filters output").inner_text().endswith("rows")
    choice(page, "kind").select_option("bound")
    assert column(page, "scores on Sentiment-v0", 0) == []
    address = page.url
    assert "trains=all+weights" in address and "kind=bound" in address
    page.get_by_role("button", name="Show all").click()
    page.wait_for_url(lambda url: not url.partition("#")[2])
    assert len(page.locator("tr[data-facets]:visible").all()) == everything
    choice(page, "where it stands").select_option("every environment")
    assert column(page, "agents without every environment", 0) == []
    assert "ppo" in column(page, "agents on all environments", 1)
    again = visit(fragment="#kind=bound")
    assert choice(again, "kind").input_value() == "bound"
    assert set(column(again, "scores on Keywords-v0", 0)) == {"posterior (bound)", "reference (bound)"}


def test_two_agents_are_compared(visit: Open) -> None:
    page = visit(fragment="#first=klq")
    choice(page, "against").select_option("ppo")
    cells = page.get_by_role("region", name="klq against ppo").locator("tbody tr").first.locator("th, td")
    assert cells.all_inner_texts() == [
        "Keywords-v0",
        told(committed("klq")),
        told(committed("ppo")),
        "1.00 [0.62, 1.00]",
    ]
    assert page.get_by_role("link", name="texts on Keywords-v0").count() == 0, "ppo shows none"
    choice(page, "against").select_option("path_consistency")
    page.get_by_role("link", name="texts on Keywords-v0").click()
    page.wait_for_url("**/environments/Keywords-v0.html#agents-texts")
    writers = page.locator("details[open] .prompt").first.locator(".who")
    assert [each.split()[0] for each in writers.all_inner_texts()] == ["path_consistency", "klq"]
    page.go_back()
    choice(page, "against").select_option("q_learning")
    assert "They share no environment." in page.locator("#pairing").inner_text()
    choice(page, "against").select_option("klq")
    assert "Choose two agents." in page.locator("#pairing").inner_text()
    choice(page, "agent").select_option("constructor")
    assert "alert(1)" in page.locator("#pairing").inner_text(), "hostile words are words"


def test_the_plane_tells_what_one_points_at(visit: Open) -> None:
    page = visit()
    plane = page.get_by_role("group", name="The reward-KL plane of Sentiment-v0")
    tip = page.locator("#tip")
    assert tip.is_hidden()
    entry = committed("ppo", "klrl/Sentiment-v0")
    reward, kl = number(entry.mean("expected_reward")), number(entry.mean("kl"))
    plane.get_by_role("img", name="2. ppo: score ").hover()
    assert tip.inner_text().startswith(f"2. ppo: score {told(entry)}, expected reward {reward} at {kl} nats")
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    plane.locator("circle.hit").nth(30).hover()
    assert tip.inner_text().startswith("frontier, kl_coef ")
    box, view = tip.bounding_box(), page.viewport_size
    assert min(box["x"], box["y"]) >= 0 and box["x"] + box["width"] <= view["width"]


def test_all_of_it_goes_by_keyboard(visit: Open) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    choice(page, "kind").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_url(lambda url: "kind=" in url.partition("#")[2])
    page.get_by_role("button", name="Show all").press("Enter")
    page.wait_for_url(lambda url: not url.partition("#")[2])
    button = page.get_by_role("region", name="scores on Keywords-v0").get_by_role("button", name="KL (nats)")
    button.press("Enter")
    assert column(page, "scores on Keywords-v0", 0)[-1] == "reference (bound)"
    assert page.evaluate("document.activeElement.textContent") == "KL (nats)", "focus stays on the button"
    plane = page.get_by_role("group", name="The reward-KL plane of Keywords-v0")
    plane.get_by_role("img").first.focus()
    first = page.locator("#tip").inner_text()
    page.keyboard.press("Tab")
    assert page.locator("#tip").inner_text() not in ("", first)


def test_an_entry_has_a_page_that_leads_back(visit: Open) -> None:
    page = visit()
    page.get_by_role("region", name="scores on Keywords-v0").get_by_role("link", name="klq").click()
    page.wait_for_url("**/entries/Keywords-v0--klq.html")
    assert page.get_by_role("heading", level=1).inner_text().strip().startswith("klq")
    assert "python -m agents.klq" in page.locator("pre").inner_text()
    assert page.get_by_role("group", name="Learning curves of klq").get_by_role("img").count() == 5
    assert (
        page.locator(".prompt").count() == 6 and page.locator(".beside .who").nth(1).inner_text()[:3] == "klq"
    )
    page.get_by_role("link", name="compare with another agent").click()
    page.wait_for_url("**/index.html#first=klq")
    assert choice(page, "agent").input_value() == "klq"


@functools.cache
def axe() -> Any:
    """The accessibility checker."""
    return pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs axe-playwright-python"
    ).Axe()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_pages_are_accessible_and_fit(visit: Open, scheme: str, width: int) -> None:
    for name in PAGES:
        page = visit(name, scheme=scheme, width=width)
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        found = axe().run(page).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        told = [(each["id"], [node["target"] for node in each["nodes"]][:3]) for each in serious]
        assert not told, f"{name}, {scheme}, {width} pixels"


def test_axe_sees_what_is_wrong(browser: Any) -> None:
    page = browser.new_page()
    page.set_content(
        "<html><body><img src='data:,'><p style='color:#ccc;background:#fff'>faint</p></body></html>"
    )
    assert {"image-alt", "color-contrast"} <= {each["id"] for each in axe().run(page).response["violations"]}
    page.close()


def test_without_a_script_all_is_there(browser: Any, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    assert page.locator("#filters").is_hidden() and page.locator("#pair").is_hidden()
    assert "klq" in page.locator("table").nth(1).inner_text()
    context.close()
