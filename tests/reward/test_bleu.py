"""BLEU of a corpus, beside the library that defines it."""

from __future__ import annotations

import numpy as np
import pytest
from sacrebleu import corpus_bleu as theirs
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from klrl_envs.reward.bleu import ENTITIES, bleu_counts, corpus_bleu, tokenized
from tests.reward.pairs import EDGES, shuffled, synopses

SPECIAL = [
    *(
        "a &amp;quot; b",
        "&lt;b&gt; &quot;x&quot;",
        "1,000.5 files, version 2.0-1.",
        "it's 3-4 well-known ~",
        "-",
    ),
    *("<skipped> x", "end-\nof line", "two\nlines ", "[x] {y} (z) ; a/b @c #1 $2 %3", "« é » ’", "...", ""),
]


def test_tokens_are_those_of_mteval() -> None:
    cut = Tokenizer13a()
    for text in [*SPECIAL, *synopses(), *(text for pair in EDGES for text in pair)]:
        assert tokenized(text) == cut(text.rstrip()).split(), text
    assert list(ENTITIES) == ["&quot;", "&amp;", "&lt;", "&gt;"]


@pytest.mark.parametrize("most", [1, 3])
def test_bleu_is_that_of_sacrebleu(most: int) -> None:
    """200 pairs and what is special; with one reference each, and with up to three, of several lengths."""
    lines, rng = synopses(), np.random.default_rng(most)
    candidates = [*shuffled(lines), *SPECIAL]
    answers = [
        [line, *(lines[int(at)] for at in rng.integers(0, len(lines), size=rng.integers(0, most)))]
        for line in [*lines, *SPECIAL[::-1]]
    ]
    streams = [[each[at] if at < len(each) else None for each in answers] for at in range(most)]
    counts = bleu_counts(candidates, answers)
    for part in (slice(None), slice(0, 1), slice(3, 9), slice(200, None), slice(211, 212)):
        ours = corpus_bleu({name: values[part] for name, values in counts.items()})
        expected = theirs(candidates[part], [stream[part] for stream in streams]).score / 100  # type: ignore[arg-type]
        assert ours == pytest.approx(expected, abs=1e-9), part
    assert 0.2 < corpus_bleu(counts) < 0.8


@pytest.mark.parametrize(
    ("ours", "other"),
    [
        (["a b c d"], ["a b c d"]),
        (["a b c"], ["a b c"]),  # no text has four words
        (["x a y z", "p q r s t"], ["a b c d", "q u v w"]),  # orders without a match are smoothed
        (["x y z w v"], ["a b c d"]),
        ([""], ["a b"]),
        (["a"], [""]),
        (["a b c d e"], ["a b c d e f g h i"]),  # too short
    ],
)
def test_few_texts(ours: list[str], other: list[str]) -> None:
    expected = theirs(ours, [other]).score / 100
    assert corpus_bleu(bleu_counts(ours, [[text] for text in other])) == pytest.approx(expected, abs=1e-9)


def test_each_needs_a_reference() -> None:
    with pytest.raises(ValueError, match="each candidate must have a reference, and that at 1 has none"):
        bleu_counts(["a", "b"], [["a"], []])
    assert corpus_bleu(bleu_counts([], [])) == 0.0
