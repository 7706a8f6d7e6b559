"""What is built follows from the entries."""

from pathlib import Path

import pytest

from klrl_envs.results.benchmark import Benchmark
from klrl_envs.results.entry import Entry, load_entries
from klrl_envs.results.look import styles
from leaderboard import build as builder
from leaderboard.aggregate import Aggregate, aggregate
from leaderboard.build import build, of_an_older, problems, readme_text
from leaderboard.folder import ENTRIES
from leaderboard.matrix import Asked
from leaderboard.plots import draw_all
from tests.leaderboard.entries import better, card, write
from tests.results.records import entry

BEGIN, END = "<!-- leaderboard:begin -->", "<!-- leaderboard:end -->"


def test_an_entry_of_a_task_that_moved_is_refused():
    committed = Entry.load(ENTRIES / "GridNavigation-v0--ppo.json")
    builder.verify([committed])
    with pytest.raises(ValueError, match=r"GridNavigation-v0--ppo\.json: task_sha256 is aaa.* is now"):
        builder.verify([committed.model_copy(update={"task_sha256": "a" * 64})])


def test_what_is_built_is_complete_sorted_and_deterministic(tmp_path: Path):
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{BEGIN}\nof yesterday\n{END}\n\nafter\n")
    write(tmp_path, entry(), better())
    aggregate(load_entries(tmp_path / "entries")).save(tmp_path / "aggregate.json")
    stale = build(tmp_path, readme, verifier=lambda entries: None)
    assert stale == [
        "figures/GridNavigation-v0.svg is stale: run `python -m leaderboard.plots`",
        "figures/profiles.svg is stale: run `python -m leaderboard.plots`",
        "cards/GridNavigation-v0.json is stale: run `python -m leaderboard.cards`",
    ]
    table = (tmp_path / "TABLE.md").read_text()
    for heading in (
        "score",
        "expected reward",
        "KL (nats)",
        "regret",
        "tokens",
        "budget",
        "log-probs",
        "observes",
        "trains",
        "tuned",
        "seconds",
        "hardware",
        "seeds",
        "tier",
    ):
        assert heading in table
    assert table.index("[better](../agents/better.py)") < table.index("[toy](https://example.org/toy)")
    assert "0.500 [0.400, 0.600]" in table and "0123456789 " in table and "a\\|cpu, 2 cores" in table
    shown = readme.read_text()
    assert shown.startswith("# Title") and shown.endswith("after\n") and "of yesterday" not in shown
    assert "[better](agents/better.py)" in shown and "a\\|cpu" not in shown
    assert "| [better](agents/better.py) | **0.54**\\* |" in shown
    assert table.index("| 1 | better | 0.540") < table.index("| (2) | toy | 0.500") < table.index("[better]")
    page = (tmp_path / "index.html").read_text()
    assert "Performance profiles" in page and 'href="../agents/better.py"' in page

    before = {path: path.read_bytes() for path in (tmp_path / "TABLE.md", tmp_path / "index.html", readme)}
    build(tmp_path, readme, verifier=lambda entries: None)
    assert before == {path: path.read_bytes() for path in before}


def test_check_says_what_is_stale_and_writes_nothing(tmp_path: Path):
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    write(tmp_path, entry())
    build(tmp_path, readme, verifier=lambda entries: None)
    write(tmp_path, better())
    table = (tmp_path / "TABLE.md").read_text()
    stale = "\n".join(build(tmp_path, readme, check=True, verifier=lambda entries: None))
    for name in ("TABLE.md", "index.html", "README.md", "aggregate.json", "figures/GridNavigation-v0.svg"):
        assert f"{name} is stale" in stale
    assert "+| [better](../agents/better.py) | 0.540" in stale
    assert (tmp_path / "TABLE.md").read_text() == table


def test_no_entries_make_an_empty_table(tmp_path: Path):
    assert build(tmp_path, tmp_path / "README.md") == []
    assert "No entries yet" in (tmp_path / "TABLE.md").read_text()
    assert build(tmp_path, tmp_path / "README.md", check=True) == []


def test_a_readme_without_markers_is_left_alone():
    assert readme_text("# Title\n", [entry()], Asked(agents={}), frozenset()) == "# Title\n"
    with pytest.raises(ValueError, match="needs both"):
        readme_text(f"{END} {BEGIN}", [entry()], Asked(agents={}), frozenset())


@pytest.mark.slow
def test_the_committed_leaderboard_is_up_to_date():
    entries = load_entries(ENTRIES)
    assert build(check=True, verifier=builder.verify if entries else lambda _: None) == []
    assert Aggregate.load(ENTRIES.parent / "aggregate.json") == aggregate(entries)
    benchmark = Benchmark(out=ENTRIES, entries=None, threads=1)
    for committed in entries:
        assert committed.score_interval == pytest.approx(benchmark.score_interval(committed.records()))


def test_an_aggregate_of_another_form_is_stale(tmp_path: Path):
    write(tmp_path, entry())
    (tmp_path / "aggregate.json").write_text('{"entries_digest": "", "rows": [{"agent": "toy"}]}')
    stale = build(tmp_path, tmp_path / "README.md", verifier=lambda entries: None)
    assert "aggregate.json is stale: run `python -m leaderboard.plots`" in stale


def test_a_profile_of_other_entries_is_stale(tmp_path: Path):
    pytest.importorskip("matplotlib")
    entries = [better(), entry()]
    write(tmp_path, *entries)
    aggregated = aggregate(load_entries(tmp_path / "entries"))
    draw_all(entries, aggregated, styles(["better", "toy"]), tmp_path)
    assert not [line for line in problems(entries, aggregated, {}, tmp_path) if "profiles" in line]
    stale = problems(entries[:1], aggregated, {}, tmp_path)
    assert [line for line in stale if "profiles.svg is stale" in line]


def test_a_card_of_another_task_is_stale():
    line = "cards/GridNavigation-v0.json is stale: run `python -m leaderboard.cards`"
    assert line not in problems([entry()], None, {card().env_id: card()}, ENTRIES)
    other = card().model_copy(update={"task_sha256": "b" * 64})
    assert line in problems([entry()], None, {other.env_id: other}, ENTRIES)


def test_the_site_is_written_beside_what_is_committed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert builder.main(["--site", str(tmp_path / "site"), "--code", "https://example.org/klrl"]) == 0
    page = (tmp_path / "site" / "entries" / "Keywords-v0--klq.html").read_text()
    assert 'href="https://example.org/klrl/agents/klq.py"' in page
    for wrong in (["--site", "x", "--check"], ["--code", "javascript:alert(1)"]):
        with pytest.raises(SystemExit):
            builder.main(wrong)
    assert "--code must begin with http" in capsys.readouterr().err


def test_nobody_enters_as_older():
    (old, *_) = [each for each in load_entries(ENTRIES) if each.tier == "older"]
    assert of_an_older(old) == []
    moved = old.model_copy(update={"date": "2026-11-20"})
    assert "nobody can enter there" in of_an_older(moved)[0]
    assert of_an_older(entry()) == []
