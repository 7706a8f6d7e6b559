"""Figures: which files a block writes, that they are the same again, and what is left as it was."""

import sys

import pytest

from klrl_envs.results.drawing import drawing

matplotlib = pytest.importorskip("matplotlib")
Figure = pytest.importorskip("matplotlib.figure").Figure


def test_a_name_becomes_svg_and_png_the_same_every_time(tmp_path):
    for folder in ("one", "other"):
        with drawing(tmp_path / folder / "figure", (3, 2), description="of nothing") as figure:
            figure.subplots().plot([0, 1], [1, 0])
    first = {file.name: file.read_bytes() for file in (tmp_path / "one").iterdir()}
    assert first == {file.name: file.read_bytes() for file in (tmp_path / "other").iterdir()}
    assert set(first) == {"figure.svg", "figure.png"}
    assert b"of nothing" in first["figure.svg"] and b"matplotlib" not in first["figure.png"].lower()


def test_a_suffix_chooses_one_file(tmp_path):
    with drawing(tmp_path / "figure.pdf", (3, 2)) as figure:
        figure.subplots()
    assert [file.name for file in tmp_path.iterdir()] == ["figure.pdf"]


def test_a_kill_between_two_files_leaves_no_old_one_beside_a_new_one(tmp_path, monkeypatch):
    for name in ("figure.svg", "figure.png"):
        (tmp_path / name).write_text("old")
    savefig = Figure.savefig

    def killed(figure, file, **settings):
        if file.suffix == ".png":
            raise KeyboardInterrupt
        savefig(figure, file, **settings)

    monkeypatch.setattr(Figure, "savefig", killed)
    with pytest.raises(KeyboardInterrupt), drawing(tmp_path / "figure", (3, 2)) as figure:
        figure.subplots()
    assert [file.name for file in tmp_path.iterdir()] == ["figure.svg"]


def test_a_block_that_fails_writes_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), drawing(tmp_path / "figure", (3, 2)):
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


def test_the_backend_the_look_and_the_open_figures_of_the_caller_stay(tmp_path):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    before = matplotlib.get_backend(), dict(matplotlib.rcParams), pyplot.get_fignums()
    with drawing(tmp_path / "figure", (3, 2)) as figure:
        figure.subplots()
    assert (matplotlib.get_backend(), dict(matplotlib.rcParams), pyplot.get_fignums()) == before


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    names = r"pip install 'klrl-envs\[plots\]'"
    with pytest.raises(ImportError, match=names), drawing(tmp_path / "x", (3, 2)):
        pass
