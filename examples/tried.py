"""Which libraries were tried, with which versions: the table of ``examples/README.md``.

python -m examples.tried sb3_ppo    # runs an example here, notes versions, tokens and score
python -m examples.tried            # the table, from what was noted in examples/tried.json
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).parent
NOTES, PAGE = HERE / "tried.json", HERE / "README.md"
BEGIN, END = "<!-- tried:begin -->", "<!-- tried:end -->"
SCORE = re.compile(r"^score (-?[\d.]+) after (\d+) tokens in ([\d.]+) s$", re.M)


@dataclass(frozen=True)
class Library:
    """A library with its example."""

    example: str
    """the module in this folder"""
    name: str
    distribution: str
    """whose version is noted, on PyPI"""
    extra: str
    """of klrl-envs, that installs what it needs; empty where none can"""
    modules: tuple[str, ...]
    """that must be there"""
    kl: str
    """how the KL comes into what it maximises"""


KL_REWARD, VECTOR = "`KLReward` in each lane", "`VectorKLReward` around the vector environment"
LIBRARIES = (
    Library("sb3_ppo", "Stable-Baselines3", "stable-baselines3", "agents", ("stable_baselines3",),
            "`KLCallback`, from the rollout's log-probs"),
    Library("sb3_contrib_trpo", "sb3-contrib", "sb3-contrib", "sb3-contrib", ("sb3_contrib",),
            "`KLCallback`, from the rollout's log-probs"),
    Library("cleanrl_ppo", "CleanRL", "tyro", "cleanrl", ("tyro", "tensorboard"),
            "`KLReward` within the id that the script is given"),
    Library("rllib_ppo", "RLlib", "ray", "rllib", ("ray", "tree", "lz4", "ormsgpack"),
            "a learner connector, from the episodes' log-probs"),
    Library("torchrl_ppo", "TorchRL", "torchrl", "torchrl", ("torchrl",), VECTOR),
    Library("tianshou_ppo", "Tianshou", "tianshou", "tianshou", ("tianshou",), KL_REWARD),
    Library("skrl_ppo", "skrl", "skrl", "skrl", ("skrl",), VECTOR),
    Library("agilerl_ppo", "AgileRL", "agilerl", "agilerl", ("agilerl",), VECTOR),
    Library("pufferlib_reinforce", "PufferLib", "pufferlib", "", ("pufferlib", "gym"), KL_REWARD),
)  # fmt: skip


@dataclass(frozen=True)
class Note:
    """What a run of an example said, and what it ran on."""

    version: str
    python: str
    gymnasium: str
    torch: str
    tokens: int
    score: float


def run(library: Library, tokens: int | None = None) -> tuple[float, int]:
    """Score and tokens of an example, run by this interpreter.

    Raises:
        RuntimeError: it failed, or said no score; with the end of what it wrote.
    """
    words = [] if tokens is None else ["--tokens", str(tokens)]
    command = [sys.executable, "-W", "ignore", "-m", f"examples.{library.example}", *words]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(command, cwd=HERE.parent, env=environment, capture_output=True, text=True)
    said = SCORE.search(done.stdout)
    if done.returncode or said is None:
        raise RuntimeError(f"{library.example} exited with {done.returncode}: {done.stderr[-2000:]}")
    return float(said[1]), int(said[2])


def version_of(library: Library) -> str:
    """What is installed; of CleanRL, which is no package, the commit that is checked out."""
    if library.name != "CleanRL":
        return importlib.metadata.version(library.distribution)
    command = ["git", "-C", os.environ["CLEANRL"], "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def missing(library: Library) -> list[str]:
    """Modules that it needs and that are not installed here."""
    return [name for name in library.modules if importlib.util.find_spec(name) is None]


def notes() -> dict[str, Note]:
    """What was noted, by example."""
    return {name: Note(**values) for name, values in json.loads(NOTES.read_text(encoding="utf-8")).items()}


def note(library: Library) -> Note:
    """Run an example and keep what it said."""
    score, tokens = run(library)
    made = Note(
        version=version_of(library),
        python=platform.python_version(),
        gymnasium=importlib.metadata.version("gymnasium"),
        torch=importlib.metadata.version("torch").partition("+")[0],
        tokens=tokens,
        score=score,
    )
    kept = {name: asdict(each) for name, each in notes().items()} | {library.example: asdict(made)}
    order = [each.example for each in LIBRARIES]
    lines = json.dumps({name: kept[name] for name in order if name in kept}, indent=1)
    NOTES.write_text(lines + "\n", encoding="utf-8")
    return made


def table() -> str:
    """The rows of the page, in Markdown."""
    rows = [
        "| library | version | example | install | the KL is paid by | score after tokens | tried with |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    noted = notes()
    for each in LIBRARIES:
        install = f"`klrl-envs[{each.extra}]`" if each.extra else "commands of its own"
        found = noted.get(each.example)
        if found is None:
            rows.append(
                f"| {each.name} | | [{each.example}]({each.example}.py) | {install} | {each.kl} | | not yet |"
            )
            continue
        rows.append(
            f"| {each.name} | {found.version} | [{each.example}]({each.example}.py) | {install} "
            f"| {each.kl} | {found.score:.3f} after {found.tokens:,} "
            f"| Python {found.python}, Gymnasium {found.gymnasium}, torch {found.torch} |"
        )
    return "\n".join(rows)


def page() -> str:
    """The page with its table made anew."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.tried",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = {each.example: each for each in LIBRARIES}
    parser.add_argument("examples", nargs="*", metavar="example", help=", ".join(known))
    names = parser.parse_args(argv).examples
    if unknown := set(names) - set(known):
        parser.error(f"no such example: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for name in names:
        print(name, note(known[name]))
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
