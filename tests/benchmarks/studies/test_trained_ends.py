"""Ends and trainings side by side: the committed page, its records, and what a line says."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict

import pytest

import klrl_envs
from agents.arguments import settings_of
from agents.grpo import DEFAULTS, GRPOArguments, variant_of
from benchmarks.studies.group_ends import GroupSignal
from benchmarks.studies.trained_ends import (
    ENVIRONMENTS,
    FOLDER,
    NEAR,
    VARIANTS,
    Point,
    Row,
    end_point,
    line,
    load_rows,
    page,
    suite_of,
)
from klrl_envs import optimum
from klrl_envs.results.plan import expand


def test_the_committed_page_is_of_the_records_and_whole() -> None:
    rows = load_rows(FOLDER)
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == page(rows)
    wanted = [(variant.name, run.env_id) for variant in VARIANTS for run in expand(suite_of(variant))]
    assert [(row.variant, row.env_id) for row in rows] == wanted


def test_the_corrected_loss_ends_where_it_is_sent_and_at_the_optimum() -> None:
    corrected = [row for row in load_rows(FOLDER) if row.variant == "corrected"]
    assert len(corrected) == 5 and all(row.score(row.trained) > 0.9 for row in corrected)


def test_on_unequal_stakes_training_ends_where_the_loss_sends_it() -> None:
    rows = [row for row in load_rows(FOLDER) if row.env_id == "klrl/DiagnosticPromptScale-v0"]
    published = next(row for row in rows if row.variant == "grpo")
    assert published.apart <= NEAR and published.score(published.trained) < 0.5


@pytest.mark.parametrize("place", [0, 3, 22, 24])
def test_a_record_s_end_is_computed_again(place: int) -> None:
    row = load_rows(FOLDER)[place]
    signal = next(each.signal for each in VARIANTS if each.name == row.variant)
    again = end_point(signal, row.env_id, row.settings, optimum(row.env_id, **row.settings))
    assert asdict(again) == pytest.approx(asdict(row.end), abs=1e-5)


def test_what_is_trained_is_what_the_end_is_computed_for() -> None:
    for each in VARIANTS:
        words = shlex.split(each.flags)
        args = GRPOArguments(env_id=ENVIRONMENTS[0], tokens=1, out="")
        for flag, value in zip(words[::2], words[1::2], strict=True):
            setattr(args, flag.removeprefix("--"), int(value) if value.isdecimal() else value)
        loss = variant_of(args)
        assert (loss.kl == "reward") == (each.signal is None), "pi* is the end of k1 in the reward alone"
        if each.signal is not None:
            group = settings_of(args, klrl_envs.make_task(ENVIRONMENTS[0]), DEFAULTS)["group"]
            told = GroupSignal(int(group), deviation=loss.scale == "group", by_length=loss.mean == "texts")
            assert (told, loss.kl) == (each.signal, "loss"), each.name


def test_apart_is_of_the_score_above_the_reference_and_of_the_way_below_it() -> None:
    row = Row(
        "klrl/DiagnosticCoefficient-v0",
        {"kl_coef": 0.5},
        0.5,
        "grpo",
        1.0,
        2.0,
        Point(2.0, 1.0),
        Point(2.0, 0.9),
    )
    assert row.score(row.end) == pytest.approx(0.5)
    assert row.apart == pytest.approx(0.05)
    below = Row(
        "klrl/DiagnosticCoefficient-v0", {}, 0.5, "grpo", 1.0, 2.0, Point(2.0, 24.0), Point(2.0, 25.0)
    )
    assert below.apart == pytest.approx(0.5 / 12)
    assert "`DiagnosticCoefficient-v0`, kl_coef 0.5 | as published | 0.500 | 2.000 | 1 |" in line(row)
    assert Row.load(json.loads(json.dumps(asdict(row)))) == row
