"""The page of the signals: what was measured, one line a loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.signals.formula_rows import READ
from benchmarks.signals.row import CHANGES, TASK, Row
from klrl_envs.signals.policy import optimal, standing
from klrl_envs.signals.report import MOVED

Found = tuple[Row, dict[str, Any]]
"""A row and its numbers."""

COLUMNS = (
    "#", "loss", "cos J at pi0", "half way", "what it is the gradient of", "E[r]", "KL (nats)", "score",
    "in tenfold units", "what moves its end", "variance", "verdict",
)  # fmt: skip
TENFOLD = CHANGES[0]
SHORT = {
    "Right": "right",
    "Not yet right": "right, but what should not move its end does",
    "It ends at the optimum": "ends at the optimum, by another way",
    "Wrong: it ends short of the optimum": "ends short of the optimum",
    "Wrong: it ends with one text a prompt": "ends with one text a prompt",
    "Wrong: it ends no better than where it began": "ends no better than pi0",
    "No end was found": "no end was found",
    "No gradient on average": "no gradient on average",
}
"""Beginnings of a report's verdict, and what the table says."""
TITLES = {"TRL": "TRL, as it is installed", "formula": "Published formulas"}
HEAD = """# Today's trainers, untouched

Made by `python -m benchmarks.signals`. Nothing is trained and nothing sampled: on two prompts of {texts}
texts, of 1 to {longest} tokens, every expectation is a finite sum
([what is computed](../../klrl_envs/signals/check.py)).

![Where the losses end](signals.png)

kl_coef is {kl_coef:g}. pi0 has E[r] {start:.3f} and scores 0; pi* has E[r] {best:.3f} at {kl:.3f} nats and
scores 1.

- *cos J*: the cosine of a loss's expected gradient with that of J = E[r] - kl_coef KL, at pi0 and half way to
  pi*. At pi0 the KL has no gradient, and half way J's has the reward's direction: what a loss makes of the KL
  shows where it ends.
- The end is where exact natural gradient steps of the expected loss lead from pi0. What is missing to 1 is
  not noise, the optimiser or the network, for there is none of them: it is what the loss aims at, which in
  rows without a KL never was J. On another task [four of TRL's settings were trained](trained/README.md), and
  ended where their losses do.
- *In tenfold units*: the score with rewards and kl_coef times 10, which is the same problem in another unit.
- *What moves its end*: the probability that lies elsewhere with a change that leaves the optimum where it is,
  and the score with {steps}, where clipping has a say. Tried are: {changes}.
- *variance*: of one call half way, at equal progress, leave-one-out REINFORCE's being 1.
- A group has 4 texts, a call one group and a batch one step, but where it is said.

"""
ABOUT = {
    "TRL": """{versions}. Trainers are made as anyone makes them; three methods are replaced: what is
written, what it is paid, and what policy and pi0 think of it. Advantages, KL, masks, normalisers and clipping
are TRL's own code ([trl_losses.py](trl_losses.py)). beta is kl_coef but where the label says otherwise; GRPO
is told of several steps a batch (num_iterations), so that it clips; with one step that changes nothing.
What is divided by a standard deviation of the batch has 2 groups of 2 texts a call. A call of one group is
what one device has by TRL's defaults: per_device_train_batch_size is num_generations. TRL has no PPO any
more, neither in `trl.trainer` nor in `trl.experimental`.

- A reward over its group's standard deviation is worth more, beside the KL, the less a group's rewards
  differ: kl_coef counts for little, and for ever less as the policy narrows.
- Less the group's mean, which has the text's own reward in it, a reward of G texts is worth 1 - 1 / G of
  itself. With the KL in the loss kl_coef therefore counts G / (G - 1) times, and the end moves with G; RLOO
  leaves the own reward out, and takes the KL off it.
- The KL in GRPO's loss is that of visited states, blind to the KL to come: KL(pi || pi0), or KL(pi0 || pi)
  with use_bias_correction_kl False.
- cispo holds the ratio at epsilon_high, not at 1 + epsilon_high. Where that is not set it is epsilon, .2:
  each weight is .2 on-policy, and kl_coef counts five times.
""",
    "formula": """Written down anew in [formulas.py](formulas.py): the formula is the source's, the code not.
Repositories are cited at the commit that was read, the newest of {read}. Clipping is the default of the
source, .2 where a paper was read for its loss alone; the KL's coefficient is kl_coef. A KL in the reward is
made of the log-probs as the text was written, once for all steps on a batch. What is whitened over the batch
has 2 groups of 4 texts a call.
""",
}
LIMITS = """## What this does not show

- A rank. Where a reward is divided by a deviation, the score depends on the reward's unit: {flipped}
  below pi0 in this unit and above it in the other. That the end moves with the unit is the finding; where it
  lies is not, nor is a verdict such as "no better than pi0".
- What a loss is worth that never aimed at J. Rows without a KL are scored all the same: that a pure
  maximiser ends with one text a prompt is no fault of its code.
- Long texts, many prompts, large batches. With {texts} texts of at most {longest} tokens a mean over tokens
  differs little from one over texts, and a group often has one reward only.
- Training: noise, Adam, the network's shape, a limit on steps. A loss that ends badly may be at a good policy
  on its way.
- Other steps on a batch than the 4 that were tried, at the one size that was tried.
- Other versions. Of a repository one commit was read, of TRL one release ran.
"""


def number(value: float | None, digits: int = 3) -> str:
    """A number; nothing where there is none."""
    return "" if value is None else f"{value:.{digits}f}".replace("-0.000", "0.000")


def at(report: dict[str, Any], policy: str) -> dict[str, Any]:
    """The gradient at a policy."""
    return next(one for one in report["gradients"] if one["policy"] == policy)


def verdict(report: dict[str, Any]) -> str:
    """In a few words.

    Raises:
        ValueError: the report says something that the table has no words for.
    """
    for beginning, told in SHORT.items():
        if report["verdict"].startswith(beginning):
            return told
    raise ValueError(f"no words for the verdict {report['verdict']!r}")


def moves(report: dict[str, Any]) -> str:
    """What moves the end, and by how much."""
    told = [
        f"{one['name']} ({one['moved']:.2f})"
        for one in report["moves"]
        if one["kind"] == "same optimum" and one["moved"] is not None and one["moved"] > MOVED
    ]
    told += [
        f"{one['name']}: {one['score']:.3f}" + ("" if one["found"] else ", not at rest")
        for one in report["moves"]
        if one["kind"] == "condition" and one["score"] is not None
    ]
    told += [f"{one['name']}: could not be computed" for one in report["moves"] if one["score"] is None]
    return "; ".join(told)


def tenfold(report: dict[str, Any]) -> float | None:
    """The score with rewards and kl_coef times 10; None where it was not tried."""
    return next((one["score"] for one in report["moves"] if one["name"] == TENFOLD), None)


def source(row: Row) -> str:
    """Of a formula: a link to the paper, or to the repository's files at a commit."""
    if row.kind == "TRL":
        return ""
    whole, *paths = row.source.split()
    if not paths:
        return f" ([{whole}](https://arxiv.org/abs/{whole}))"
    repository, commit = whole.split("@")
    files = ", ".join(
        f"[{path.rpartition('/')[2]}](https://github.com/{repository}/blob/{commit}/{path})" for path in paths
    )
    return f" ({repository.rpartition('/')[2]} {commit[:7]}: {files})"


def line(place: int, row: Row, numbers: dict[str, Any]) -> str:
    """A row of the table."""
    report = numbers["report"]
    end, half = report["end"], at(report, "half way")
    cells = (
        str(place),
        row.label + source(row),
        number(at(report, "pi0")["cosine"]),
        number(half["cosine"]),
        report["follows"] or "no sum of the known terms",
        number(end["reward"]),
        number(end["kl"]),
        number(end["score"]),
        number(tenfold(report)),
        moves(report),
        number(half["variance"], 2),
        verdict(report),
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def versions(found: Sequence[Found]) -> str:
    """What was installed when rows were computed."""
    told = {f"{name} {value}" for _, numbers in found for name, value in numbers["versions"].items()}
    return ", ".join(sorted(told)) or "No row yet"


def flipped(found: Sequence[Found]) -> str:
    """Which rows change the side of pi0 with the reward's unit, as the subject of a sentence."""
    reports = [numbers["report"] for row, numbers in sorted(found, key=lambda one: one[0].kind != "TRL")]
    known = [(place, one["end"]["score"], tenfold(one)) for place, one in enumerate(reports, 1)]
    places = [str(place) for place, score, other in known if other is not None and score < 0 < other]
    if len(places) < 2:
        return f"row {places[0]} ends" if places else "a row may end"
    return f"{len(places)} rows ({', '.join(places)}) end"


def page(found: Sequence[Found], missing: Sequence[Row]) -> str:
    """The page as Markdown."""
    start, best = standing(TASK, TASK.reference), standing(TASK, optimal(TASK))
    parts = [
        HEAD.format(
            texts=TASK.texts,
            longest=TASK.tokens.shape[1],
            kl_coef=TASK.kl_coef,
            start=start.reward,
            best=best.reward,
            kl=best.kl,
            steps=CHANGES[-1],
            changes=", ".join(CHANGES),
        )
    ]
    place = 0
    for kind, title in TITLES.items():
        own = [(row, numbers) for row, numbers in found if row.kind == kind]
        rule = "| ---: | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | --- | ---: | --- |"
        lines = [f"| {' | '.join(COLUMNS)} |", rule]
        for row, numbers in own:
            place += 1
            lines.append(line(place, row, numbers))
        parts += [
            f"## {title}\n\n",
            ABOUT[kind].format(versions=versions(own), read=READ),
            "\n",
            "\n".join(lines),
            "\n\n",
        ]
    parts.append(LIMITS.format(flipped=flipped(found), texts=TASK.texts, longest=TASK.tokens.shape[1]))
    if missing:
        parts.append(f"\nNot computed yet: {'; '.join(row.name for row in missing)}.\n")
    return "".join(parts).rstrip("\n") + "\n"
