"""The ledger: every text for which a reward is given is counted, by whatever door the reward leaves.

The doors are
- ``Engine.step``, and so ``TokenEnv``, ``TokenVectorEnv``, ``SB3VecEnv``, ``exact_task``, every wrapper, and
  the episodes of ``evaluate``, of certificates and of cards;
- ``Task.text_rewards``, and so ``as_reward_fn``;
- ``Task.score``, where it is called by hand, and a ``TextTask``'s ``score_texts``.

One token is one action in a lane that has not ended: no step that only resets a lane counts. A text that is
scored as a string counts the tokens that an episode of it has (``Task.episode_tokens``). What an agent writes
to itself and is not rewarded for does not count, so that reading pi0 is free. The parameters of a task (its
automaton, its classifier, ``optimum``, ``evaluate_exactly``) are no texts: nothing here sees who reads them.

Each process counts for itself. Where the environment variable ``KLRL_LEDGER`` names a file when ``klrl_envs``
is imported, every process keeps lines of its own in it, one for each account, and each count is in the file
as soon as it is made: the numbers are overwritten in place, in memory that the operating system shares, so
that nothing is lost whatever ends a process. A forked child begins lines of its own.
"""

from __future__ import annotations

import json
import mmap
import os
import secrets
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from klrl_envs.whole import BINARY, append_to

VARIABLE = "KLRL_LEDGER"
PURPOSES = ("training", "search", "evaluation", "certify")
WIDTH = 16
NUMBER = b"%16d"
BETWEEN = b', "texts": '
LINE_END = b', "tokens": ' + NUMBER + BETWEEN + NUMBER + b"}\n"

_purpose: ContextVar[str] = ContextVar("klrl_purpose", default=PURPOSES[0])


class Account(NamedTuple):
    """What is counted together.

    Attributes:
        task: the task's id.
        split: "train", "evaluation", or "none" where a task has no prompts.
        purpose: "training", "evaluation" (the episodes of ``evaluate``), "search" (what a policy has rewarded
            while it is evaluated, as best-of-n does) or "certify" (certificates and cards).
    """

    task: str
    split: str
    purpose: str


class Tally(NamedTuple):
    """How many tokens and texts."""

    tokens: int
    texts: int


@dataclass(frozen=True)
class Counts:
    """What was counted, by account."""

    accounts: Mapping[Account, Tally] = field(default_factory=dict[Account, Tally])

    def total(self, *, purpose: str | None = None, split: str | None = None) -> Tally:
        """Tokens and texts of all tasks, of one purpose and one split where these are given."""
        chosen = [
            tally
            for account, tally in self.accounts.items()
            if purpose in (None, account.purpose) and split in (None, account.split)
        ]
        return Tally(sum(tally.tokens for tally in chosen), sum(tally.texts for tally in chosen))

    @property
    def tokens(self) -> int:
        """What counts in a budget: the tokens of training, and of searches while a policy is evaluated."""
        return self.total(purpose="training").tokens + self.total(purpose="search").tokens

    @property
    def misplaced(self) -> int:
        """Texts of evaluation prompts that were rewarded outside ``evaluate``, which no run may have."""
        return self.total(purpose="training", split="evaluation").texts

    def __sub__(self, other: Counts) -> Counts:
        """What was counted since ``other``."""
        nothing = Tally(0, 0)
        left = {
            account: Tally(*(new - old for new, old in zip(tally, other.accounts.get(account, nothing))))
            for account, tally in self.accounts.items()
        }
        return Counts({account: tally for account, tally in left.items() if any(tally)})


@dataclass(frozen=True)
class Mark:
    """A moment from which to count: what was counted by then, and its ``time.monotonic()`` in seconds."""

    counts: Counts = field(default_factory=Counts)
    moment: float = field(default_factory=time.monotonic)


class Entry:
    """An account of a process: its numbers, and its line in the ledger's file, which is written in place."""

    __slots__ = ("_texts_at", "_tokens_at", "memory", "texts", "tokens")

    def __init__(self, account: Account, process: str, path: str | None) -> None:
        self.tokens = self.texts = 0
        self.memory: mmap.mmap | None = None
        if path is None:
            return
        head = json.dumps({"process": process, "pid": os.getpid(), **account._asdict()})[:-1].encode()
        line = head + LINE_END % (0, 0)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | BINARY, 0o644)
        try:
            append_to(descriptor, line, path)
            end = Path(path).read_bytes().index(head) + len(line)
            page = (end - len(line)) // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
            self.memory = mmap.mmap(descriptor, end - page, offset=page)
        finally:
            os.close(descriptor)
        self._texts_at = slice(end - page - WIDTH - 2, end - page - 2)
        first = self._texts_at.start - len(BETWEEN)
        self._tokens_at = slice(first - WIDTH, first)

    def write(self, texts: int) -> None:
        """Put the numbers in the file; that of the texts only where some are new."""
        if self.memory is not None:
            self.memory[self._tokens_at] = NUMBER % self.tokens
            if texts:
                self.memory[self._texts_at] = NUMBER % self.texts


class Book:
    """The counts of a process.

    Args:
        path: the file in which they are kept, too; its folder must be there.

    Raises:
        FileNotFoundError: it is not.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = None if path is None else os.path.abspath(path)
        if self.path is not None and not os.path.isdir(os.path.dirname(self.path)):
            raise FileNotFoundError(f"{VARIABLE} names {path}, and the folder of that file is not there")
        self.began = Mark()
        self.begin()

    def begin(self) -> None:
        """Count from nothing, under a name of its own: at first, and in a forked child."""
        self._lock = threading.Lock()
        self._process = secrets.token_hex(8)
        self._entries: dict[tuple[str, str, str], Entry] = {}

    def count(self, task: str, split: str, tokens: int, texts: int) -> None:
        """Count texts that were rewarded, for the purpose that the program is at; it costs a microsecond."""
        key = task, split, _purpose.get()
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                if not (tokens or texts):
                    return
                entry = self._entries[key] = Entry(Account(*key), self._process, self.path)
            entry.tokens += tokens
            entry.texts += texts
            if entry.memory is not None:
                entry.write(texts)

    def counts(self) -> Counts:
        """What this process has counted."""
        with self._lock:
            return Counts({Account(*key): Tally(one.tokens, one.texts) for key, one in self._entries.items()})


_book = Book(os.environ.get(VARIABLE) or None)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_book.begin)


count = _book.count


def book() -> Book:
    """The book of this process."""
    return _book


def counts() -> Counts:
    """What was counted so far: by all processes that share the ledger's file, or else by this one."""
    return _book.counts() if _book.path is None else read_ledger(_book.path)


def mark() -> Mark:
    """This moment: what a run counts that begins now is ``counts() - mark().counts``, later."""
    return Mark(counts())


def read_ledger(path: str | Path) -> Counts:
    """What all processes have counted in a ledger's file; nothing where there is no file.

    Raises:
        ValueError: a line that no ledger has written.
    """
    totals: dict[Account, Tally] = {}
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return Counts()
    for number, line in enumerate(text.splitlines(), 1):
        try:
            said = json.loads(line)
            account = Account(str(said["task"]), str(said["split"]), str(said["purpose"]))
            tokens, texts = int(said["tokens"]), int(said["texts"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: no count of a ledger: {line[:80]!r}") from error
        before = totals.get(account, Tally(0, 0))
        totals[account] = Tally(before.tokens + tokens, before.texts + texts)
    return Counts(totals)


@contextmanager
def counting_as(purpose: str) -> Generator[None]:
    """Count what is rewarded inside for a purpose; also a decorator."""
    if purpose not in PURPOSES:
        raise ValueError(f"purpose must be one of {', '.join(PURPOSES)}, got {purpose!r}")
    before = _purpose.set(purpose)
    try:
        yield
    finally:
        _purpose.reset(before)
