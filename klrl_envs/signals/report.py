"""What `check_signal` found: numbers, a table, a verdict in a sentence."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from klrl_envs.showing import frame_of, new_axes

if TYPE_CHECKING:
    from klrl_envs.signals.variants import Kind

MOVED = 0.01
"""Of probability: an end that lies farther off has moved."""
RIGHT = 1e-6
"""Off 1 in cosine or score: so much is rounding."""
NEAR = 0.999
MARGINS = 2.0
"""Of a sampled cosine: as five policies are looked at, one of five may be off by more than its own margin."""
SAME_LENGTH, SAME_LENGTH_OF_A_SAMPLE = 0.005, 0.05
"""Off 1 in the ratio of lengths: not worth a sentence."""
NUMBERS = ("score", "cosine", "ratio", "moved", "padding", "reward", "kl", "texts_left", "found")
"""What can be asserted."""
LEGEND = (
    "cos J, ratio: the expected gradient beside that of J = E[r] - kl_coef KL(pi || pi0). cos E[r], cos pi*: "
    "with that of the reward alone, and of covering pi*. sd: of one call. variance: of one call at equal "
    "progress, leave-one-out REINFORCE's being 1. moved: probability that lies elsewhere than it should."
)
TITLES: dict[Kind, str] = {"same optimum": "the end with", "condition": "under harder conditions"}


@dataclass(frozen=True)
class AtPolicy:
    """The expected gradient (of ascent) at a policy, in its logits.

    Attributes:
        policy: which one.
        cosine: with grad J; None where grad J is 0, as at pi*.
        ratio: of its length to grad J's; likewise.
        cosine_reward: with grad E[r].
        cosine_covering: with that of -KL(pi* || pi), which distillation of the optimum has.
        length: of the expected gradient.
        deviation: of one call's gradient: the root of its summed variances.
        variance: of one call, scaled so that its part along grad J is grad J's own, over that of
            leave-one-out REINFORCE with as many texts; None where there is no such part.
        cosine_margin: how far off ``cosine`` may be where calls were sampled; 0 where all were.
    """

    policy: str
    cosine: float | None
    ratio: float | None
    cosine_reward: float | None
    cosine_covering: float | None
    length: float
    deviation: float
    variance: float | None
    cosine_margin: float


@dataclass(frozen=True)
class Ending:
    """Where the signal ends.

    Attributes:
        reward: E[r].
        kl: nats from pi0.
        score: 0 as pi0, 1 as the optimum.
        found: whether it is at rest there.
        texts_left: how many texts a prompt it writes, as the exponential of the entropy.
        score_margin: how far off ``score`` may be where calls were sampled; 0 where all were.
        law_margin: how much probability lay elsewhere at the ends of other, smaller samples.
    """

    reward: float
    kl: float
    score: float
    found: bool
    texts_left: float
    score_margin: float = 0.0
    law_margin: float = 0.0


@dataclass(frozen=True)
class Move:
    """The end under a change.

    Attributes:
        name: the change.
        kind: "same optimum" where the end should stay, "condition" where training is made harder.
        score: at the new end, of the optimum there; None where there is no end.
        moved: how much probability lies elsewhere than it should, mean over prompts; likewise.
        found: whether it came to rest.
        failed: why it could not be computed; empty where it could.
    """

    name: str
    kind: Kind
    score: float | None
    moved: float | None
    found: bool
    failed: str = ""


@dataclass(frozen=True)
class Report:
    """What a training signal does.

    Attributes:
        name: of the loss.
        texts, prompts, group, batch, kl_coef: of the task and a call; texts a prompt.
        calls: of the loss, over which each expectation was taken.
        exact: whether these are all that there are.
        vectorised: whether many were computed at once.
        one_by_one: why they were not; empty where they were.
        gradients: the expected gradient at several policies.
        follows: what it is the gradient of; None where no sum of the known terms is.
        silent: whether there is no gradient on average, at any of the policies; nothing is followed then.
        padding: how much log-probs at padding have to do with the gradient, or it with them; 0 where the
            mask is right.
        left_out: sentences on tokens that have no part in the loss, or in its KL, though they should.
        end: from pi0.
        moves: ends under changes.
    """

    name: str
    texts: int
    prompts: int
    group: int
    batch: int
    kl_coef: float
    calls: int
    exact: bool
    vectorised: bool
    one_by_one: str
    gradients: list[AtPolicy]
    follows: str | None
    silent: bool
    padding: float
    left_out: list[str]
    end: Ending
    moves: list[Move]

    @property
    def score(self) -> float:
        """At the end."""
        return self.end.score

    @property
    def cosine(self) -> float | None:
        """With grad J: the least over the policies; None where there is no gradient."""
        cosines = [one.cosine for one in self.gradients if one.cosine is not None]
        return None if self.silent else min(cosines, default=None)

    @property
    def ratio(self) -> float | None:
        """Of the gradient's length to grad J's, at pi0; None where there is no gradient."""
        return None if self.silent else self.gradients[0].ratio

    @property
    def moved(self) -> float | None:
        """The most that a change moves the end though it should stay; None where one change failed."""
        found = [one.moved for one in self.moves if one.kind == "same optimum"]
        known = [one for one in found if one is not None]
        return max(known, default=0.0) if len(known) == len(found) else None

    @property
    def verdict(self) -> str:
        """In a few sentences."""
        found = [self._of_the_end(), self._of_moves(), self._of_failures(), self._of_tokens()]
        return " ".join(part for part in found if part)

    def _of_the_end(self) -> str:
        end, sample = self.end, "" if self.exact else ", as far as the sample tells"
        about = f" +- {end.score_margin:.3f}" if end.score_margin else ""
        where = f"E[r] {end.reward:.3f} at {end.kl:.2f} nats, score {end.score:.3f}{about}"
        if self.silent:
            return f"No gradient on average{sample}: it goes nowhere."
        if not end.found:
            return f"No end was found: still on its way at {where}."
        if self._follows_the_objective() and end.score > 1 - RIGHT - end.score_margin:
            clean = not (self._of_moves() or self._of_failures("same optimum") or self._of_tokens())
            told = (
                f"Right{sample}: on average it is the gradient of the objective, and it ends at the optimum."
                if clean
                else "Not yet right, though on average it is the gradient of the objective on this task, and "
                f"ends at the optimum{sample}."
            )
            return told + self._of_lengths()
        if end.score > NEAR:
            return f"It ends at the optimum ({where}), by another way than the gradient of the objective."
        follows = f" It is the gradient of {self.follows}." if self.follows else ""
        if end.texts_left < 1 + MOVED:
            return f"Wrong: it ends with one text a prompt ({where}).{follows}"
        if end.score < MOVED:
            return f"Wrong: it ends no better than where it began ({where}).{follows}"
        return f"Wrong: it ends short of the optimum ({where}).{follows}"

    def _follows_the_objective(self) -> bool:
        """Whether its direction is the objective's wherever that has one, within what the sample tells."""
        known = [(one.cosine, one.cosine_margin) for one in self.gradients if one.ratio is not None]
        return all(value is not None and value > 1 - RIGHT - MARGINS * margin for value, margin in known)

    def _of_lengths(self) -> str:
        ratios = [one.ratio for one in self.gradients if one.ratio is not None]
        if max(abs(one - 1) for one in ratios) < (SAME_LENGTH if self.exact else SAME_LENGTH_OF_A_SAMPLE):
            return ""
        low, high = f"{min(ratios):.2g}", f"{max(ratios):.2g}"
        between = low if low == high else f"{low} to {high}"
        return f" Its gradient is {between} times as long as the objective's."

    def _of_moves(self) -> str:
        most = MOVED + self.end.law_margin
        moved = [
            f"{one.name} ({one.moved:.2f})"
            for one in self.moves
            if one.kind == "same optimum" and one.moved is not None and one.moved > most
        ]
        if not moved:
            return ""
        return f"Its end moves, though the optimum does not, with: {'; '.join(moved)}."

    def _of_failures(self, kind: Kind | None = None) -> str:
        failed = [one for one in self.moves if one.failed and kind in (None, one.kind)]
        told = "; ".join(f"{one.name} ({one.failed})" for one in failed)
        return f"Could not be computed: {told}." if failed else ""

    def _of_tokens(self) -> str:
        padding = ["Log-probs at padding have a part in it: the mask is wrong."] if self.padding > 0 else []
        return " ".join(padding + [f"{one}: the mask may be off." for one in self.left_out])

    def numbers(self) -> dict[str, float | None]:
        """What can be asserted: name -> value, of ``NUMBERS``; None where there is no such number."""
        values = (
            self.score, self.cosine, self.ratio, self.moved, self.padding, self.end.reward, self.end.kl,
            self.end.texts_left, float(self.end.found),
        )  # fmt: skip
        return dict(zip(NUMBERS, values))

    def to_json(self) -> str:
        """All of it."""
        return json.dumps(
            {**asdict(self), "verdict": self.verdict, "numbers": self.numbers()}, indent=1, allow_nan=False
        )

    def head(self) -> str:
        """What was computed."""
        how = "every case" if self.exact else "a stratified sample"
        return (
            f"{self.name}: {self.prompts} prompts of {self.texts} texts, kl_coef {self.kl_coef:g}, groups of "
            f"{self.group}, {self.batch} a call; {self.calls:,} calls, {how}"
            + (f"\nCalled once for each, which is slow: {self.one_by_one}" if self.one_by_one else "")
        )

    def foot(self) -> list[str]:
        """What is said below the tables: what they mean, what it is the gradient of, the verdict."""
        follows = [f"It is the gradient of: {self.follows}"] if self.follows else []
        return [LEGEND, *follows, self.verdict]

    def __str__(self) -> str:
        """Head, tables and verdict, as plain text."""
        tables = (aligned([(title, *columns), *rows]) for title, columns, rows in self.tables())
        return "\n\n".join([self.head(), *tables, *self.foot()])

    def _repr_html_(self) -> str:
        parts = [f"<p>{html.escape(self.head())}</p>"]
        for title, columns, rows in self.tables():
            head = "".join(f"<th>{html.escape(each)}</th>" for each in (title, *columns))
            body = "".join(
                f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
            )
            parts.append(f"<table><tr>{head}</tr>{body}</table>")
        return "".join([*parts, f"<p><b>{html.escape(self.verdict)}</b></p>"])

    def to_frame(self) -> Any:
        """What was changed, where the loss ends then and how far that is, as a pandas DataFrame."""
        return frame_of([asdict(move) for move in self.moves], "name")

    def plot(self, axes: Any = None) -> Any:
        """The score of the end, and with each change, as bars on axes of matplotlib, which are returned."""
        axes = new_axes(axes)
        moves = {one.name: one.score for one in self.moves if one.score is not None}
        scores = {"from pi0": self.end.score} | moves
        axes.barh(list(scores)[::-1], list(scores.values())[::-1])
        axes.axvline(1.0, linestyle=":", color="grey")
        axes.set(xlabel="score: 0 pi0, 1 the optimum", title=self.name)
        return axes

    def tables(self) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
        """(title, columns, rows): of the gradients, the end, and what moves it."""
        gradients = [
            (
                one.policy, shown(one.cosine, one.cosine_margin), shown(one.ratio), shown(one.cosine_reward),
                shown(one.cosine_covering), shown(one.length), shown(one.deviation), shown(one.variance),
            )
            for one in self.gradients
        ]  # fmt: skip
        end = self.end
        ends = [
            (
                "from pi0",
                shown(end.reward),
                shown(end.kl),
                shown(end.score, end.score_margin),
                at_rest(end.found),
            )
        ]
        return [
            (
                "gradient at",
                ("cos J", "ratio", "cos E[r]", "cos pi*", "length", "sd", "variance"),
                gradients,
            ),
            ("the end", ("E[r]", "KL, nats", "score", "at rest"), ends),
            *(
                (
                    title,
                    ("score", "moved", "at rest"),
                    [
                        (
                            one.name, shown(one.score), shown(one.moved),
                            "failed" if one.failed else at_rest(one.found),
                        )
                        for one in self.moves if one.kind == kind
                    ],
                )
                for kind, title in TITLES.items()
            ),
        ]  # fmt: skip


def shown(value: float | None, margin: float = 0.0) -> str:
    """A number to four places, with half of its interval."""
    if value is None:
        return "-"
    return f"{value:.4f}" + (f" +- {margin:.4f}" if margin else "")


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """A table as text, its first column to the left and the others to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths))
        )
        for row in rows
    )


def at_rest(found: bool) -> str:
    """Whether an end was found."""
    return "yes" if found else "no"
