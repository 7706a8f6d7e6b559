"""The budget of a run: what its record says, against what the ledger has counted."""

from __future__ import annotations

import warnings
from typing import Literal

from klrl_envs.ledger import Counts, Mark, book, counts, read_ledger
from klrl_envs.results.record import Measured

__all__ = ["LEDGER", "Budget", "budget_of", "check_ledger", "read_ledger"]

LEDGER = "ledger.jsonl"
"""The ledger in a run's folder."""

Budget = Literal["counted", "declared"]


def budget_of(tokens: int | None, since: Mark | None) -> tuple[int, Budget]:
    """The tokens of a run that ends here, and who says so.

    Args:
        tokens: as the agent declares them, or None for what the ledger has counted.
        since: when the run began; None for the beginning of the process, or of the ledger's file.

    Raises:
        ValueError: the ledger has counted more than is declared.
    """
    begun = book().began if since is None else since
    found = counts() - begun.counts
    if found.misplaced:
        warnings.warn(f"no benchmark takes this run: {misplaced(found)}", stacklevel=3)
    if tokens is None:
        # without a file only this process is known, and it may have had children
        return found.tokens, "counted" if book().path is not None else "declared"
    if found.tokens > tokens:
        raise ValueError(
            f"tokens must be at least the {found.tokens:,} that the ledger has counted, got {tokens:,}; "
            "leave tokens out to take the ledger's number, and name since where a process has several runs"
        )
    return tokens, "declared"


def check_ledger(record: Measured, found: Counts) -> None:
    """Raise ValueError unless a record's tokens are those that the ledger of its run has counted.

    Where the record's are declared they may be more: a program in another language counts for itself.
    """
    if found.misplaced:
        raise ValueError(misplaced(found))
    certified = found.total(purpose="certify").texts
    if certified:
        raise ValueError(f"{certified:,} texts were rewarded for certificates, which no run makes")
    if found.tokens > record.tokens or (record.budget == "counted" and found.tokens != record.tokens):
        raise ValueError(f"result.json has tokens {record.tokens:,}, and the ledger counts {found.tokens:,}")


def misplaced(found: Counts) -> str:
    """What is wrong with rewards for evaluation prompts outside ``evaluate``."""
    return (
        f"{found.misplaced:,} texts of evaluation prompts were rewarded outside klrl_envs.evaluate, which "
        "alone may do that"
    )
