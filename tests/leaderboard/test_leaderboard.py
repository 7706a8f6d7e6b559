"""The leaderboard: what its schema refuses, and that what is built follows from the entries."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from benchmarks.run import interval_of
from klrl_envs.results.schema import (
    Entry,
    Result,
    budget_of,
    check_rules,
    check_run,
    digest,
    entry_path,
    load_aggregate,
    load_entries,
    load_entry,
    merge,
    results_of,
    task_sha256,
    to_json,
    write_atomically,
)
from leaderboard import build as builder
from leaderboard.build import BEGIN, END, build, markdown, number, readme_text
from leaderboard.folder import ENTRIES
from leaderboard.plots import aggregate, draw, main, styles

COMMAND = "python -m toy --env-id klrl/GridNavigation-v0 --seed {seed} --out {out}"


def record(**changes: Any) -> dict[str, Any]:
    """A valid result.json of GridNavigation-v0, with changes."""
    return {
        "schema_version": 1,
        "agent": {"name": "toy", "url": "https://example.org/toy", "license": "MIT"},
        "env_id": "klrl/GridNavigation-v0",
        "env_kwargs": {},
        "kl_coef": 8.0,
        "task_sha256": "a" * 64,
        "command": "python -m toy",
        "seed": 0,
        "score": 0.5,
        "score_interval": [0.45, 0.55],
        "objective": 50.0,
        "expected_reward": 66.0,
        "kl": 2.0,
        "regret": 31.0,
        "tokens": 1000,
        "seconds": 12.5,
        "hardware": {"cpu": "a|cpu", "cores": 2, "gpu": None, "memory_gb": 16.0},
        "versions": {"python": "3.11.7", "klrl_envs": "0.1.0", "torch": None, "gymnasium": "1.2.2"},
        "commit": "0123456789" * 4,
        "date": "2026-01-01",
        **changes,
    }


def result(**changes: Any) -> Result:
    return Result.model_validate(record(**changes))


def entry(**changes: Any) -> Entry:
    """An entry of three seeds with mean score 0.5."""
    seeds = [result(seed=seed, score=score, **changes) for seed, score in enumerate((0.46, 0.5, 0.54))]
    return merge(seeds, command=COMMAND, tier="submitted", interval=(0.4, 0.6))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scoer": 1}, "scoer"),
        ({"schema_version": 2}, "schema_version"),
        ({"score_interval": [0.6, 0.4]}, "ordered"),
        ({"score": 0.9}, "hold the score"),
        ({"score": 1.2, "score_interval": [1.1, 1.3]}, "above 1 beyond its interval"),
        ({"score": None}, "both None"),
        ({"score": float("nan")}, "finite"),
        ({"kl_coef": 0}, "kl_coef"),
        ({"kl": 2 / 0.693147, "objective": 66 - 8 * 2 / 0.693147 * 4}, "far from expected_reward"),
        ({"task_sha256": "abc"}, "task_sha256"),
        ({"agent": {"name": "a b", "url": "https://example.org", "license": "MIT"}}, "agent.name"),
        ({"agent": {"name": "a", "url": "javascript:alert(1)", "license": "MIT"}}, "agent.url"),
        ({"tokens": -1}, "tokens"),
    ],
)
def test_wrong_results_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        result(**changes)


def test_a_score_near_1_within_its_interval_is_allowed():
    assert result(score=1.02, score_interval=[0.97, 1.07]).score == 1.02


def test_no_score_is_allowed_where_there_is_none():
    assert result(score=None, score_interval=None).score is None


def test_records_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        result().seed = 3  # type: ignore[misc]


DIAGNOSTICS = {
    "exact": True,
    "reverse_kl": 0.5,
    "forward_kl": None,
    "entropy": 9.0,
    "optimal_entropy": 8.0,
    "metrics": {"gold": 0.4},
    "optimal_metrics": {"gold": 0.5},
}


def test_results_may_have_diagnostics_which_entries_drop():
    with_them = result(diagnostics=DIAGNOSTICS)
    assert with_them.diagnostics is not None and with_them.diagnostics.forward_kl is None
    assert Result.model_validate_json(to_json(with_them)) == with_them
    for wrong in ({"entropy": None}, {"metrics": {"gold": "much"}}, {"extra": 1.0}):
        with pytest.raises(ValidationError):
            result(diagnostics={**DIAGNOSTICS, **wrong})
    merged = merge([with_them], command=COMMAND, tier="submitted", interval=(0.45, 0.55))
    assert "diagnostics" not in to_json(merged)
    assert merged == merge([result()], command=COMMAND, tier="submitted", interval=(0.45, 0.55))


def test_a_run_with_settings_is_checked_against_them():
    check_run(result(env_kwargs={"kl_coef": 4.0}, kl_coef=4.0, kl=4.0))
    with pytest.raises(ValueError, match=r"kl_coef must be the set 4\.0"):
        check_run(result(env_kwargs={"kl_coef": 4.0}))
    check_run(result(env_kwargs={"horizon": 3}))
    with pytest.raises(ValueError, match="tokens; klrl/GridNavigation-v0 allows"):
        check_run(result(env_kwargs={"horizon": 3}, tokens=10_000_000))


def test_entries_keep_all_that_the_results_say():
    other = {"cpu": "another", "cores": 8, "gpu": "H", "memory_gb": 64.0}
    seeds = [
        result(seed=1, score=0.52, date="2026-01-02"),
        result(seed=0, score=0.48, hardware=other, commit="f" * 40),
    ]
    merged = merge(seeds, command=COMMAND, tier="reproduced", interval=(0.4, 0.6))
    assert merged.date == "2026-01-02" and merged.hardware.cpu == "a|cpu"
    assert merged.seeds[0].hardware is not None and merged.seeds[1].hardware is None
    assert len(merged.distinct("hardware")) == 2
    text = to_json(merged)
    assert Entry.model_validate_json(text) == merged
    assert "hardware" not in json.loads(text)["seeds"][1]
    back = results_of(merged)
    assert [(item.seed, item.commit, item.hardware) for item in back] == [
        (0, "f" * 40, seeds[1].hardware),
        (1, seeds[0].commit, seeds[0].hardware),
    ]
    assert merge(back, command=COMMAND, tier="reproduced", interval=(0.4, 0.6)) == merged


def test_results_of_different_tasks_make_no_entry():
    with pytest.raises(ValueError, match="agree in task_sha256"):
        merge(
            [result(seed=0), result(seed=1, task_sha256="b" * 64)],
            command=COMMAND,
            tier="submitted",
            interval=(0, 1),
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": 0.55}, "mean of the seeds"),
        ({"command": "python -m toy --seed {seed}"}, "out"),
        ({"tier": "gold"}, "tier"),
        ({"seeds": []}, "seeds"),
        ({"score": None, "score_interval": None}, "None exactly"),
    ],
)
def test_wrong_entries_are_refused(changes: dict[str, Any], message: str):
    data = json.loads(to_json(entry()))
    with pytest.raises(ValidationError, match=message):
        Entry.model_validate({**data, **changes})


def test_seeds_are_distinct():
    data = json.loads(to_json(entry()))
    data["seeds"][1]["seed"] = 0
    with pytest.raises(ValidationError, match="distinct and ascending"):
        Entry.model_validate(data)


def test_the_rules_are_those_of_the_registry():
    kl_coef, budget = budget_of("klrl/GridNavigation-v0")
    check_rules(result(kl_coef=kl_coef, tokens=budget + budget // 200))
    with pytest.raises(ValueError, match="tokens; klrl/GridNavigation-v0 allows"):
        check_rules(result(kl_coef=kl_coef, tokens=budget + budget // 50))
    with pytest.raises(ValueError, match="kl_coef must be the declared"):
        check_rules(result(kl_coef=kl_coef * 1.1))
    with pytest.raises(ValueError, match="env_kwargs must be empty"):
        check_rules(result(kl_coef=kl_coef, env_kwargs={"horizon": 3}))
    with pytest.raises(ValueError, match="env_id must be one of"):
        check_rules(result(env_id="klrl/Unknown-v0"))


def test_an_entry_of_a_task_that_moved_is_refused():
    kl_coef, _ = budget_of("klrl/GridNavigation-v0")
    builder.verify([entry(kl_coef=kl_coef, task_sha256=task_sha256("klrl/GridNavigation-v0"))])
    with pytest.raises(ValueError, match=r"GridNavigation-v0--toy\.json: task_sha256 is aaa.* is now"):
        builder.verify([entry(kl_coef=kl_coef)])


def test_files_are_named_after_what_they_hold(tmp_path: Path):
    path = entry_path("klrl/GridNavigation-v0", "toy", tmp_path)
    assert path.name == "GridNavigation-v0--toy.json"
    write_atomically(path, to_json(entry()))
    assert load_entry(path) == entry()
    other = path.rename(tmp_path / "other.json")
    with pytest.raises(ValueError, match=r"other\.json: .*must be called GridNavigation-v0--toy\.json"):
        load_entry(other)


def write(folder: Path, *entries: Entry) -> None:
    for item in entries:
        write_atomically(entry_path(item.env_id, item.agent.name, folder / "entries"), to_json(item))


def better() -> Entry:
    """A second agent, with a higher score."""
    agent = {"name": "better", "url": "agents/better.py", "license": "MIT"}
    seeds = [result(seed=seed, agent=agent, score=0.54) for seed in range(2)]
    return merge(seeds, command=COMMAND, tier="reproduced", interval=(0.5, 0.58))


def test_what_is_built_is_complete_sorted_and_deterministic(tmp_path: Path):
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    write(tmp_path, entry(), better())
    write_atomically(tmp_path / "aggregate.json", to_json(aggregate(load_entries(tmp_path / "entries"))))
    stale = build(tmp_path, readme, verifier=lambda entries: None)
    assert stale == ["figures/GridNavigation-v0.svg is stale: run `python -m leaderboard.plots`"]
    table = (tmp_path / "TABLE.md").read_text()
    for heading in (
        "score",
        "expected reward",
        "KL (nats)",
        "regret",
        "tokens",
        "seconds",
        "hardware",
        "seeds",
    ):
        assert heading in table
    assert table.index("[better](../agents/better.py)") < table.index("[toy](https://example.org/toy)")
    assert "0.500 [0.400, 0.600]" in table and "0123456789 " in table and "a\\|cpu, 2 cores" in table
    shown = readme.read_text()
    assert shown.startswith("# Title") and shown.endswith("after\n") and "old" not in shown
    assert "[better](agents/better.py)" in shown and "a\\|cpu" not in shown
    page = (tmp_path / "index.html").read_text()
    assert "figures/GridNavigation-v0.svg" in page and 'href="../agents/better.py"' in page

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
    assert "+| GridNavigation-v0 | [better]" in stale
    assert (tmp_path / "TABLE.md").read_text() == table


def test_no_entries_make_an_empty_table(tmp_path: Path):
    assert build(tmp_path, tmp_path / "README.md") == []
    assert "No entries yet" in (tmp_path / "TABLE.md").read_text()
    assert build(tmp_path, tmp_path / "README.md", check=True) == []


def test_a_readme_without_markers_is_left_alone():
    assert readme_text("# Title\n", [entry()]) == "# Title\n"
    with pytest.raises(ValueError, match="needs both"):
        readme_text(f"{END} {BEGIN}", [entry()])


def test_numbers_and_tables():
    assert [number(value) for value in (0.0, 0.12345, 3.14159, 99.2, 12345.6, -2.5)] == [
        "0",
        "0.123",
        "3.14",
        "99.2",
        "12,346",
        "-2.50",
    ]
    assert markdown(["a"], [["x|y"]]) == "| a |\n| --- |\n| x\\|y |"


def test_the_aggregate_is_of_all_environments():
    keywords = entry(env_id="klrl/Keywords-v0")
    rows = aggregate([entry(), keywords, better()]).rows
    assert [(row.agent, len(row.environments)) for row in rows] == [("toy", 2), ("better", 1)]
    assert rows[0].score == pytest.approx(0.5)  # six scores, the outer one left out at either end
    bounds = rows[0].score_interval
    assert bounds is not None and 0.45 < bounds[0] < 0.5 < bounds[1] < 0.55


def test_a_figure_carries_the_digest_of_its_entries(tmp_path: Path):
    pytest.importorskip("matplotlib")
    import klrl_envs

    agent = {"name": "far", "url": "https://example.org/far", "license": "MIT"}
    far = merge(
        [
            result(
                agent=agent,
                score=-3.0,
                score_interval=[-3.1, -2.9],
                kl=40.0,
                expected_reward=50.0,
                objective=-270.0,
            )
        ],
        command=COMMAND,
        tier="submitted",
        interval=(-3.1, -2.9),
    )
    entries = [better(), entry(), far]
    optimum = klrl_envs.optimum("klrl/GridNavigation-v0")
    path = draw(entries, optimum, styles(["toy", "better", "far"]), tmp_path)
    text = path.read_bytes()
    assert digest(entries).encode() in text and path.with_suffix(".png").stat().st_size > 10_000
    assert draw(entries, optimum, styles(["toy", "better", "far"]), tmp_path).read_bytes() == text


def test_the_committed_leaderboard_is_up_to_date():
    entries = load_entries(ENTRIES)
    assert build(check=True, verifier=builder.verify if entries else lambda _: None) == []
    assert load_aggregate(ENTRIES.parent / "aggregate.json") == aggregate(entries)
    for entry in entries:
        seeds = {result.seed: result for result in results_of(entry)}
        assert entry.score_interval == pytest.approx(interval_of(seeds))


def test_plots_take_no_arguments_of_others():
    with pytest.raises(SystemExit):
        main(["--folder", "x"])
