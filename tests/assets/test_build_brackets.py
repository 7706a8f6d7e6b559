"""The build of the bigram of source code."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

import os
from pathlib import Path

import pytest

from klrl_envs.assets.build import brackets as brackets_build


def test_statements_of_source_code_are_cut_as_the_card_says(tmp_path: Path) -> None:
    code = 'x = f(a, [1, 2],\n      {"k": 3})  # a comment, (with) brackets\n\nif x[0]:\n    pass\n'
    (tmp_path / "sample.py").write_text(code)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "left_out.py").write_text("(((")
    (tmp_path / "_sysconfigdata_here.py").write_text("x = 1")
    assert [path.name for path in brackets_build.source_files(tmp_path)] == ["sample.py"]
    symbols = brackets_build.SYMBOLS
    written = [
        "".join(symbols[s] for s in text[:-1]) for text in brackets_build.statements(tmp_path / "sample.py")
    ]
    assert written == ["x(x,[x,x],{x})", "x[x]x", "x"]
    nested = [[symbols.index(s) for s in text] for text in written]
    assert [brackets_build.depth_of(text) for text in nested] == [2, 1, 0]


def test_brackets_build_writes_what_the_task_reads(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    (tmp_path / "library").mkdir()
    for number in range(40):
        (tmp_path / "library" / f"module_{number}.py").write_text(f"a = [f({number}), (1, 2)]\nb = a[0]\n")
    measured = brackets_build.build(tmp_path, tmp_path / "library")
    table = load_file(os.fspath(tmp_path / "brackets.safetensors"))
    assert measured["files"] == 40
    assert measured["statements"] + measured["held_out_statements"] == 80
    assert table["pairs"].sum() == measured["training_pairs"] and table["pairs"][0].sum() == 0
    assert measured["held_out_perplexity_bigram"] < measured["held_out_perplexity_unigram"]
    with pytest.raises(FileNotFoundError, match="no Python source"):
        brackets_build.build(tmp_path, tmp_path / "nowhere")
