"""The catalogue: one load by name, and clear words for what is not there."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from klrl_envs.reference.catalogue import CATALOGUE, OWN, load
from klrl_envs.reference.language_model import cloned, originals

PARAMETERS: dict[str, dict[str, Any]] = {
    "uniform": {"words": ("left", "right")},
    "scale": {"probability": 0.1, "horizon": 4},
}


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_reference_speaks_its_vocabulary(name: str) -> None:
    model = load(name, **PARAMETERS.get(name, {}))
    assert model.reference.vocab_size == model.vocabulary.size == model.vocab_size
    assert model.end_token is None or 0 <= model.end_token < model.vocab_size
    assert len(model.reference.fingerprint) == 64
    assert model is load(name, **PARAMETERS.get(name, {})), "loaded twice"


@pytest.mark.parametrize("name", sorted(set(CATALOGUE) - {"nano", "sums", "prose"}))
def test_rows_of_tables_are_distributions(name: str) -> None:
    model = load(name, **PARAMETERS.get(name, {})).markov
    rows = model.rows(np.array([model.start_context, 0]))
    np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-such-model", "reference must be 'uniform' or 'words' or .* or the folder of a causal language"),
        (None, "reference must be"),
        (3, "reference must be"),
    ],
)
def test_unknown_names_are_refused(name: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(name)


def test_a_name_that_a_task_does_not_take_is_refused_with_those_that_it_takes() -> None:
    with pytest.raises(ValueError, match="reference must be 'words', got 'nano'"):
        load("nano", allowed=("words",))
    with pytest.raises(ValueError, match="reference must be 'words', got 'some/model'"):
        load("some/model", allowed=("words",))
    with pytest.raises(ValueError, match="reference must be 'nano' or the folder of"):
        load("words", allowed=("nano", OWN))


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "~/no/such/folder", "a/b/c", "no\\such"])
def test_a_folder_that_is_not_there_is_called_so(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="is a folder that is not there"):
        load(name)


def test_a_file_an_empty_name_and_a_very_long_one_are_called_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="is a file; give the folder that it lies in"):
        load(str(tmp_path / "file"))
    for name in ("", "x" * 300):
        with pytest.raises(ValueError, match="reference must be"):
            load(name)


def test_parameters_are_those_of_the_reference() -> None:
    with pytest.raises(TypeError, match="the reference 'words' takes kept, ends, got 'foo'"):
        load("words", foo=1)
    with pytest.raises(TypeError, match="'some/model' takes nothing beside its name, got 'kept'"):
        load("some/model", kept=())
    assert load("words", kept=["good"], ends=True) is load("words", kept=("good",), ends=True)
    assert load("uniform").words == ("0", "1")


def test_a_hub_id_that_was_never_fetched_names_the_command() -> None:
    with pytest.raises(FileNotFoundError, match="download it once with: klrl fetch nobody/nothing"):
        load("nobody/nothing")
    with pytest.raises(FileNotFoundError, match="neither a folder nor in the local cache"):
        load("nobody--x/nothing..")


def test_a_network_is_no_table_and_a_table_has_words() -> None:
    with pytest.raises(TypeError, match="needs an n-gram, and the reference 'nano' is a network"):
        _ = load("nano").markov
    with pytest.raises(TypeError, match="are not words"):
        _ = load("nano").words


def test_a_part_of_the_words_keeps_its_odds() -> None:
    whole, part = load("words"), load("words", kept=("good", "film"), ends=True)
    assert part.words == (whole.words[0], "good", "film") and part.end_token == 0
    tokens = whole.tokens(part.words)
    row, own = whole.markov.rows(np.array([tokens[1]]))[0, tokens], part.markov.rows(np.array([1]))[0]
    np.testing.assert_allclose(row - row[0], own - own[0], atol=1e-12)
    without = load("words", kept=("good", "film"), ends=False)
    assert without.end_token is None and without.words == ("good", "film")
    with pytest.raises(ValueError, match="kept must be distinct words of 'words'; \\['xyzzy'\\]"):
        load("words", kept=("xyzzy",))
    with pytest.raises(ValueError, match="one is there twice"):
        load("words", kept=("good", "good"))


def test_clones_share_a_word() -> None:
    one = load("words", kept=("good", "film"), ends=True)
    many = cloned(one, 3)
    assert many.words == (one.words[0], "good", "good_2", "good_3", "film", "film_2", "film_3")
    origin = originals(3, 3)
    assert origin.tolist() == [0, 1, 1, 1, 2, 2, 2]
    for clone, token in enumerate(origin):
        row, own = many.markov.rows(np.array([clone]))[0], one.markov.rows(np.array([token]))[0]
        assert row[0] == pytest.approx(own[0])
        assert row[5] == pytest.approx(own[2] - math.log(3))
