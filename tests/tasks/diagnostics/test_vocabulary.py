"""DiagnosticVocabulary: clones of a word."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

import numpy as np
import pytest

from tests.oracles import evaluation_task


def test_clones_share_a_word_alike() -> None:
    one, many = (evaluation_task("DiagnosticVocabulary-v0", clones=clones) for clones in (1, 5))
    assert many.vocab_size == 5 * 26 + 1
    words = many.vocabulary.words
    for previous in ("film", "film_4"):
        row = np.exp(many.reference.table[words.index(previous)])
        plain = np.exp(one.reference.table[one.vocabulary.words.index("film")])
        assert row[0] == pytest.approx(plain[0], rel=1e-12)
        np.testing.assert_allclose(
            row[1:].reshape(26, 5), np.repeat(plain[1:, None] / 5, 5, axis=1), rtol=1e-12
        )
    assert many.vocabulary.encode("film_4 the") == [words.index("film_4"), words.index("the")]
