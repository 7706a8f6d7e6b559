"""Brackets: the bigram of source code."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

import numpy as np

from klrl_envs.assets.build import brackets as brackets_build
from klrl_envs.reference.code import code_bigram


def test_code_bigram_has_full_support_and_the_habits_of_code() -> None:
    symbols, bigram = code_bigram()
    assert symbols == brackets_build.SYMBOLS
    assert np.isfinite(bigram.table).all()
    after = np.exp(bigram.table[symbols.index("(")])
    assert after[symbols.index("x")] > 0.5 and after[symbols.index(")")] > 100 * after[symbols.index("]")]
