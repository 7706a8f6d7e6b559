"""``brackets``: counts of brackets, separators and what stands between them in Python source code."""

from __future__ import annotations

import hashlib
import platform
import sysconfig
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from klrl_envs.assets import write_arrays
from klrl_envs.assets.build.recipe import Asset, Recipe
from klrl_envs.assets.build.words import count_pairs, cross_entropy, smoothed
from klrl_envs.reference.arrays import IntArray

SYMBOLS = ("<end>", "x", ",", "(", ")", "[", "]", "{", "}")
END, ATOM = 0, 1
ALPHA = 1.0
DEEPEST = 5
LEFT_OUT = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo"})
"""Folders that are not the library, or hold code that is wrong or strange on purpose."""

_BLANK = frozenset(
    (tokenize.ENCODING, tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
)
_MARKS = {symbol: token for token, symbol in enumerate(SYMBOLS) if token > ATOM}


def source_files(root: Path) -> list[Path]:
    """The Python files of a library by path, but for what is left out or tells of the building machine."""
    files = (
        path
        for path in root.rglob("*.py")
        if not LEFT_OUT & set(path.relative_to(root).parts[:-1])
        and not path.name.startswith("_sysconfigdata")
    )
    return sorted(files, key=lambda path: path.relative_to(root).as_posix())


def statements(path: Path) -> Iterator[list[int]]:
    """The symbols of each statement of a file; a run of anything else (names, operators) is one atom.

    A statement ends where Python's own tokenizer says that a logical line ends, so that one may be several
    lines long, and a line inside brackets is none. Comments and white space are dropped.
    """
    written: list[int] = []
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type in _BLANK:
                continue
            if token.type == tokenize.NEWLINE:
                yield [*written, END]
                written = []
            elif token.type == tokenize.OP and token.string in _MARKS:
                written.append(_MARKS[token.string])
            elif not written or written[-1] != ATOM:
                written.append(ATOM)


def depth_of(symbols: Sequence[int]) -> int:
    """The deepest nesting of brackets in a statement."""
    steps = [1 if SYMBOLS[s] in "([{" else -1 if SYMBOLS[s] in ")]}" else 0 for s in symbols]
    return int(np.cumsum(steps).max())


def is_held_out(name: str) -> bool:
    """Whether a file belongs to the held-out tenth, by a hash of its path inside the library."""
    return hashlib.sha256(name.encode()).digest()[0] < 26


def counts_of(
    texts: Sequence[Sequence[int]],
) -> tuple[IntArray, IntArray, IntArray]:
    """First symbols [9], pairs [9, 9] and single symbols [9] of statements."""
    return count_pairs([np.array(text) for text in texts], len(SYMBOLS))


def build(out: Path, root: Path | None = None) -> dict[str, object]:
    """Write ``brackets.safetensors`` to ``out``; return the card's measurements.

    Args:
        out: folder of the asset.
        root: of the source code; the running Python's standard library where None.
    """
    root = Path(sysconfig.get_path("stdlib")) if root is None else root
    files = source_files(root)
    if not files:
        raise FileNotFoundError(f"no Python source in {root}: the library is needed as .py files")
    texts: list[list[int]] = []
    held_texts: list[list[int]] = []
    for path in tqdm(files, desc="brackets", unit="file"):
        part = held_texts if is_held_out(path.relative_to(root).as_posix()) else texts
        part.extend(statements(path))
    start, pairs, single = counts_of(texts)
    _, held_pairs, _ = counts_of(held_texts)
    write_arrays(
        out / "brackets.safetensors",
        {
            "symbols": np.frombuffer("\n".join(SYMBOLS).encode(), dtype=np.uint8),
            "start": start.astype(np.uint32),
            "pairs": pairs.astype(np.uint32),
            "alpha": np.array([ALPHA]),
        },
    )
    lengths = np.array([len(text) - 1 for text in texts])
    depths = np.array([depth_of(text) for text in texts])
    unigram = np.tile(smoothed(single, ALPHA), (len(SYMBOLS), 1))
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "files": len(files),
        "statements": len(texts),
        "training_pairs": int(pairs.sum()),
        "distinct_pairs": int((pairs > 0).sum()),
        "mean_symbols_a_statement": round(float(lengths.mean()), 3),
        "statements_with_brackets_share": round(float((depths > 0).mean()), 4),
        "statements_nested_share": round(float((depths > 1).mean()), 4),
        f"statements_deeper_than_{DEEPEST}_share": round(float((depths > DEEPEST).mean()), 6),
        "held_out_statements": len(held_texts),
        "held_out_pairs": int(held_pairs.sum()),
        "held_out_perplexity_bigram": round(
            float(np.exp(cross_entropy(smoothed(pairs, ALPHA), held_pairs))), 3
        ),
        "held_out_perplexity_unigram": round(float(np.exp(cross_entropy(unigram, held_pairs))), 3),
    }


CARD = """\
# brackets: how brackets stand in source code

The reference of Brackets-v0: a bigram over an end token (id 0), an atom, the comma and the six brackets, with
additive smoothing (alpha 1). Every symbol may follow every symbol.

## Data
The standard library that ships with the Python named below, read at build time as the `.py` files lie there
(Python Software Foundation licence), but for its tests and for the folders that are named in the recipe. This
file holds counts of pairs of symbols, no code; it is under this project's own MIT licence.

A text is a statement: what Python's tokenizer counts as one logical line, which may span several lines. A run
of anything that is no bracket or comma (names, numbers, strings, operators, keywords) is one atom, so that an
atom never follows an atom; comments and white space are dropped. A tenth of the files, by a hash of their
paths, is held out.

## Recipe
`klrl_envs/assets/build/brackets.py`:
cut, count. Rebuild with `python -m klrl_envs.assets.build brackets`. Another
version of Python has another library and any other byte is another task, so a rebuilt file is for a new
version of the environment that uses it.

## Measured
Shares are of the training statements, perplexities of the held-out pairs.

$measured

## Limits
It knows one symbol back: which bracket is open it knows only where that bracket was the last symbol. Python's
habits are not those of other languages; curly brackets are rare.

## Files
$files
"""
RECIPE = Recipe(
    name="brackets",
    assets=(Asset("brackets", ("brackets.safetensors",), CARD),),
    takes="seconds; reads no reviews",
    reads=(),
    build=lambda out, work: {"brackets": build(out)},
)
