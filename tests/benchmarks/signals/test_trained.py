"""Real trainings: the task is the model's own, the table is that of the numbers that were kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.signals import trained
from benchmarks.signals.row import version_of
from klrl_envs.signals.policy import log_law


def numbers(score: float) -> dict:
    """What a training keeps, that was said to score .5."""
    point = {"reward": 0.5, "kl": 0.1}
    return {
        "versions": {"trl": "1"},
        "core_seconds": 10.0,
        "predicted": point | {"score": 0.5},
        "trained": point | {"score": score},
    }


def test_the_table_says_which_ends_are_near(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path), "--draw"]
    assert trained.main(out) == 1 and "no trainings in" in capsys.readouterr().err
    for training, score in zip(trained.TRAININGS, (0.54, 0.56)):
        training.path(tmp_path).write_text(json.dumps(numbers(score)))
    assert trained.main(out) == 0
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| 0.540 | yes | 10 |" in page and "| 0.560 | no | 10 |" in page
    assert f"Not trained yet: {'; '.join(one.name for one in trained.TRAININGS[2:])}." in page
    assert "rloo: predicted 0.500, trained 0.540" in capsys.readouterr().out


def test_the_task_is_what_the_model_writes(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    model, tokenizer = trained.tiny_model(tmp_path, trained.WORDS, trained.HIDDEN, trained.SPREAD)
    model.eval()
    task = trained.task_of(model)
    law = np.exp(log_law(task, task.reference))
    assert task.texts == 7 and task.prompts == 2
    np.testing.assert_allclose(law.sum(axis=1), 1.0, atol=1e-6)
    assert tokenizer(["1", "2"])["input_ids"] == [[1], [2]]
    with torch.no_grad():
        rows = model(torch.tensor([[2, 1, 2]])).logits[0].double().log_softmax(dim=1)
    text = list(task.sequences()).index((1, 2))
    assert law[1, text] == pytest.approx(float((rows[0, 1] + rows[1, 2]).exp()), rel=1e-5)


@pytest.mark.slow
def test_rloo_trains_to_where_its_loss_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl")
    pytest.importorskip("datasets")
    found = trained.train(trained.TRAININGS[0])
    assert found["predicted"]["score"] == pytest.approx(1.0, abs=1e-6)
    assert trained.off(found) < trained.NEAR


def committed() -> dict[str, dict]:
    """The numbers of the trainings that are kept."""
    paths = {one.name: one.path(trained.FOLDER) for one in trained.TRAININGS}
    return {
        name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()
    }


def test_at_least_three_trainings_are_committed_and_end_where_they_are_said_to() -> None:
    kept = committed()
    assert len(kept) >= 3
    for name, found in kept.items():
        assert trained.off(found) < trained.NEAR, name


def test_the_committed_table_is_that_of_the_committed_trainings() -> None:
    kept = committed()
    found = [(one, kept[one.name]) for one in trained.TRAININGS if one.name in kept]
    missing = [one for one in trained.TRAININGS if one.name not in kept]
    written = (trained.FOLDER / "README.md").read_text(encoding="utf-8")
    assert trained.page(found, missing) == written
    assert "not that of the table of losses" in written and "16 groups" in written


@pytest.mark.slow
@pytest.mark.parametrize("training", trained.TRAININGS, ids=lambda training: training.name)
def test_what_is_predicted_is_computed_anew(training: trained.Training, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    pytest.importorskip("datasets")
    kept = committed()[training.name]
    other = {name: known for name, known in kept["versions"].items() if version_of(name) != known}
    if other:
        pytest.skip(f"the training was with {other}")
    torch.manual_seed(trained.SEED)
    model, _ = trained.tiny_model(tmp_path / "pi0", trained.WORDS, trained.HIDDEN, trained.SPREAD)
    found = trained.predicted(training.called, trained.task_of(model.eval()))
    assert found == pytest.approx(kept["predicted"], abs=1e-4)
