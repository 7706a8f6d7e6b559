"""Measure an entry's policies ourselves, or train its agent again, and write the tier that this earns.

    python -m leaderboard.verify ENTRY                      from the policies beside it: the tier `verified`
    python -m leaderboard.verify ENTRY --rerun              from its command: the tier `reproduced`

An entry's policies lie in policies/<the entry's name>/seed-<n>.safetensors or .onnx beside it; those of
more than 4 MB do not belong in a repository and are given by --policy SEED=PATH. Each is evaluated in a
process with limits, with a seed that is drawn at that moment. Where the entry's claim lies within the error,
its numbers become those that were measured here; else the file stays as it is, and the exit code is 1.

`verified` attests the score and no budget: it does not say where the policy came from, and a network that
was distilled from the optimum verifies at 1.

`--rerun` clones the entry's commit, installs it in a fresh virtual environment, and runs the command of each
seed. That executes its author's code, with your rights: unless the code is of this repository it asks for
--yes-run-foreign-code, and a machine that holds nothing else is the place for it. What was run is kept in
--work, so that a run that was interrupted goes on. Where the runs disagree with the entry, that is published
beside the row, as a challenge (see leaderboard/challenge.py).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from klrl_envs.networks.files import SUFFIXES
from klrl_envs.results.entry import Entry, Seed, file_stem, mean_score
from klrl_envs.results.guard import check_entry, entry_interval
from klrl_envs.results.record import SCHEMA_VERSION, Tier
from leaderboard.agreement import check_claim
from leaderboard.challenge import Challenge, Run, challenge_path
from leaderboard.contained import CHECKOUT, Limits, Measurement, evaluate_file
from leaderboard.rerun import DisagreementError, Workplace, check_rerun, rerun

EPISODES = 4096
LARGEST_BESIDE = 4_000_000
"""Bytes of a policy that lies beside its entry."""
MEASURED = ("score", "score_interval", "objective", "expected_reward", "kl", "regret", "evaluation")
"""What of a seed becomes ours."""

Say = Callable[[str], None]


def policies_folder(entry: Entry, beside: Path) -> Path:
    """Where an entry's policies lie.

    Args:
        entry: the entry.
        beside: the folder of its file.
    """
    return beside / "policies" / file_stem(entry.env_id, entry.agent.name)


def policies_of(entry: Entry, beside: Path, given: Mapping[int, Path]) -> dict[int, Path]:
    """The file of each seed's policy.

    Args:
        entry: the entry.
        beside: the folder of its file.
        given: the files of seeds whose policies lie elsewhere.

    Raises:
        ValueError: a seed without a policy, or with two, or a policy without a seed.
    """
    folder, found = policies_folder(entry, beside), dict(given)
    numbers = [seed.seed for seed in entry.seeds]
    for number in numbers:
        here = [path for suffix in SUFFIXES if (path := folder / f"seed-{number}{suffix}").exists()]
        if len(here) > 1:
            raise ValueError(f"seed {number} must have one policy, not {' and '.join(map(str, here))}")
        if here and number not in found:
            size = here[0].lstat().st_size
            if size > LARGEST_BESIDE:
                raise ValueError(
                    f"{here[0]} has {size:,} bytes; policies of more than {LARGEST_BESIDE:,} lie elsewhere "
                    f"and are given by --policy {number}=PATH"
                )
            found[number] = here[0]
    for number in found:
        if number not in numbers:
            raise ValueError(f"--policy names seed {number}, and the entry has the seeds {numbers}")
    missing = [number for number in numbers if number not in found]
    if missing:
        raise ValueError(
            f"seeds {missing} have no policy: there is no {folder / f'seed-{missing[0]}'} with the ending "
            f"{' or '.join(SUFFIXES)}, and --policy gives none"
        )
    return found


def verify(
    entry: Entry, policies: Mapping[int, Path], *, episodes: int, limits: Limits, say: Say = print
) -> Entry:
    """The entry with the numbers that its policies were measured at, and its tier.

    Args:
        entry: the claim.
        policies: the file of each seed's policy.
        episodes: of each evaluation.
        limits: of each evaluation.
        say: what is told of each seed.

    Raises:
        ValueError: a policy that cannot be evaluated, or a claim that it does not bear out.
    """
    check_entry(entry)
    seeds: list[Seed] = []
    for seed in entry.seeds:
        measured = evaluate_file(policies[seed.seed], entry.env_id, episodes=episodes, limits=limits)
        if measured.task_sha256 != entry.task_sha256:
            raise ValueError(f"it was measured on the task {measured.task_sha256}, not {entry.task_sha256}")
        check_claim(seed, measured, entry.kl_coef)
        say(f"seed {seed.seed}: claimed {shown(seed)}, measured {shown(measured)}")
        seeds.append(seed.model_copy(update={name: getattr(measured, name) for name in MEASURED}))
    return with_seeds(entry, seeds, "verified")


def with_seeds(entry: Entry, seeds: Sequence[Seed], tier: Tier) -> Entry:
    """The entry with other seeds, their mean and its interval, and at least this tier; checked anew."""
    tiers = get_args(Tier)
    return Entry.model_validate(
        {
            **entry.plain(),
            "schema_version": SCHEMA_VERSION,
            "seeds": [seed.plain() for seed in seeds],
            "score": mean_score(seeds),
            "score_interval": entry_interval(entry.env_id, seeds),
            "tier": max(entry.tier, tier, key=tiers.index),
        }
    )


def shown(numbers: Seed | Measurement) -> str:
    """The number that ranks."""
    return f"regret {numbers.regret:.4g}" if numbers.score is None else f"score {numbers.score:.4f}"


def reproduce(entry: Entry, place: Workplace, only: Sequence[int] | None, limits: Limits, say: Say) -> Entry:
    """The entry after its command was run again; its tier rises where every seed was.

    Raises:
        ValueError: a run that failed, numbers that another mean explains better, seeds that it does not have.
    """
    check_entry(entry)
    numbers = [seed.seed for seed in entry.seeds]
    chosen = numbers if only is None else sorted(set(only))
    if not set(chosen) <= set(numbers):
        raise ValueError(f"--seeds must be of {numbers}, got {chosen}")
    if any(seed.evaluation is None for seed in entry.seeds):
        raise ValueError(
            "its seeds do not say how they were evaluated: run the agent with the present version"
        )
    records = [rerun(entry, seed, place, say) for seed in entry.seeds if seed.seed in chosen]
    for record, path in ((record, place.policy_of(record.seed)) for record in records):
        if path is None and place.foreign:
            raise ValueError(
                f"seed {record.seed}: the run left no policy{' or policy'.join(SUFFIXES)}, and what foreign "
                "code writes of itself is not believed"
            )
        if path is not None:  # what it wrote of itself is held to what it left
            measured = evaluate_file(path, entry.env_id, episodes=EPISODES, limits=limits)
            check_claim(
                Seed(**{name: getattr(record, name) for name in Seed.model_fields}), measured, entry.kl_coef
            )
    check_rerun(entry, records)
    if len(chosen) < len(numbers):
        say(f"{len(chosen)} of {len(numbers)} seeds were run again and agree; the tier asks for all")
        return entry
    return with_seeds(entry, entry.seeds, "reproduced")


def challenge_of(entry: Entry, found: DisagreementError, by: str) -> Challenge:
    """A failed reproduction as the board shows it."""
    on_record = {seed.seed: seed.objective for seed in entry.seeds}
    return Challenge(
        env_id=entry.env_id,
        agent=entry.agent.name,
        commit=entry.commit,
        task_sha256=entry.task_sha256,
        runs=tuple(
            Run(seed=record.seed, claimed=on_record[record.seed], found=record.objective)
            for record in found.records
        ),
        reason=str(found),
        by=by,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
    )


def read_policy(text: str) -> tuple[int, Path]:
    """SEED=PATH."""
    seed, equals, path = text.partition("=")
    if not equals or not seed.isdecimal() or not path:
        raise argparse.ArgumentTypeError(f"must be SEED=PATH, such as 0=runs/x/policy.onnx, got {text!r}")
    return int(seed), Path(path)


def read_seeds(text: str) -> list[int]:
    """Numbers with commas between."""
    if not all(part.isdecimal() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"must be numbers with commas between, such as 0,1, got {text!r}")
    return [int(part) for part in text.split(",")]


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m leaderboard.verify",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("entry", type=Path, help="a JSON file of leaderboard/entries")
    add(
        "--policy", type=read_policy, action="append", default=[], metavar="SEED=PATH", help="may be repeated"
    )
    add("--episodes", type=int, default=EPISODES, help="of each evaluation (default: %(default)s)")
    add(
        "--seconds",
        type=float,
        default=Limits.seconds,
        help="that an evaluation may take (default: %(default)g)",
    )
    add("--memory-gb", type=float, default=Limits.memory_gb, help="that it may take (default: %(default)g)")
    add("--rerun", action="store_true", help="run the entry's command again: executes its author's code")
    add("--seeds", type=read_seeds, help="with --rerun, these only, such as 0,1; the tier asks for all")
    add(
        "--work",
        type=Path,
        default=Path("runs/rerun"),
        help="with --rerun, the folder (default: %(default)s)",
    )
    add("--by", default="the maintainers", help="with --rerun, whom a challenge names (default: %(default)s)")
    add(
        "--yes-run-foreign-code",
        action="store_true",
        help="with --rerun, code that is not of this repository",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = make_parser().parse_args(arguments)
    limits = Limits(options.seconds, options.memory_gb)
    try:
        entry = Entry.load(options.entry)
        if options.rerun:
            place = Workplace.of(entry, options.work, CHECKOUT, foreign=options.yes_run_foreign_code)
            result = reproduce(entry, place, options.seeds, limits, print)
        else:
            policies = policies_of(entry, options.entry.parent, dict(options.policy))
            result = verify(entry, policies, episodes=options.episodes, limits=limits)
        check_entry(result)
    except (ValueError, ImportError) as error:
        if isinstance(error, DisagreementError):
            one = challenge_of(entry, error, options.by)
            one.save(challenge_path(one, options.entry.absolute().parent.parent))
            print("published beside the row: run `python -m leaderboard.build`", file=sys.stderr)
        print(
            f"{options.entry}: not {'reproduced' if options.rerun else 'verified'}: {error}", file=sys.stderr
        )
        return 1
    if result != entry:
        result.save(options.entry)
    print(f"{options.entry}: {result.tier}, {shown_mean(result)}")
    return 0


def shown_mean(entry: Entry) -> str:
    """The number that ranks an entry."""
    return f"regret {entry.mean('regret'):.4g}" if entry.score is None else f"score {entry.score:.4f}"


if __name__ == "__main__":
    sys.exit(main())
