"""The check of links finds what leads nowhere, and nothing else."""

from __future__ import annotations

from pathlib import Path

from docs.links import broken


def test_broken_links_and_anchors_are_found(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "picture one.png").write_bytes(b"")
    (tmp_path / "index.html").write_text(
        '<h1 id="top">t</h1><a href="#top">a</a><a href="deep/">b</a><img src="picture%20one.png?v=1">'
        '<a href="https://example.org/x">c</a><a href="mailto:a@example.org">d</a>'
        '<a href="deep/index.html#gone">e</a><a href="gone.html">f</a><a href="#nowhere">g</a>'
        '<a href="#first=ppo">h</a>'
    )
    (tmp_path / "deep" / "index.html").write_text('<a href="../index.html#top">a</a>')
    assert list(broken(tmp_path)) == [
        "index.html: #nowhere has no such anchor",
        "index.html: deep/index.html#gone has no such anchor",
        "index.html: gone.html is not there",
    ]
