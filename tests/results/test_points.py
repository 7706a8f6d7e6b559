"""Which records are of one setting, and files that cannot be reported."""

import json
from pathlib import Path

import pytest

from klrl_envs.results.findings import findings_of
from klrl_envs.results.points import key, outside, read_records
from klrl_envs.results.report import page
from tests.results.diagnostics import LENGTH, diagnostic, diagnostic_fields, finding, write

AGENT = {"name": "toy", "url": "https://example.org", "license": "MIT"}


def test_settings_are_alike_where_defaults_say_the_same():
    env_id = "klrl/DiagnosticDelay-v0"
    assert key(env_id, {}) == key(env_id, {"delay": 4}) == key(env_id, {"delay": 4.0, "kl_coef": 0.15})
    assert key(env_id, {}) != key(env_id, {"delay": 5})
    runs = [diagnostic(env_id, 0.9), diagnostic(env_id, 0.8, env_kwargs={"delay": 5})]
    found = finding(env_id, runs)
    assert [point.settings for point in found.points] == [{"delay": 4}] and found.number == 0.9
    assert outside(runs) == runs[1:]
    assert "- toy on `klrl/DiagnosticDelay-v0` with `{'delay': 5}`, seed 0" in page(findings_of(runs), runs)


def test_results_of_all_environments_are_read(tmp_path: Path):
    write(
        tmp_path,
        diagnostic_fields("klrl/Keywords-v0", 0.3),
        diagnostic_fields("me/Unknown-v0", 0.3),
        diagnostic_fields(LENGTH, 0.5, env_kwargs={"horizon": 4}),
    )
    assert [run.env_id for run in read_records(tmp_path)] == ["klrl/Keywords-v0", "me/Unknown-v0", LENGTH]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"run-0/seed-0/result\.json: Invalid JSON"),
        (
            json.dumps({**diagnostic_fields(LENGTH, 0.5), "kl_coef": 0}),
            r"result\.json: kl_coef: .*greater",
        ),
        (json.dumps({**diagnostic_fields(LENGTH, 0.5), "tokens": "many"}), "tokens: "),
        (
            json.dumps({"schema_version": 1, "agent": AGENT}),
            "env_id: Field required",
        ),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, text: str, message: str):
    write(tmp_path, {})
    (tmp_path / "run-0" / "seed-0" / "result.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_records(tmp_path)


def test_folders_that_cannot_be_reported_are_named(tmp_path: Path):
    with pytest.raises(ValueError, match="there is no folder"):
        read_records(tmp_path / "none")
    with pytest.raises(ValueError, match=r"holds no result\.json: klrl benchmark"):
        read_records(tmp_path)
    write(tmp_path, diagnostic_fields(LENGTH, 0.5), diagnostic_fields(LENGTH, 0.6))
    with pytest.raises(ValueError, match=r"run-0.* and .*run-1.* are both seed 0 of toy"):
        read_records(tmp_path)
