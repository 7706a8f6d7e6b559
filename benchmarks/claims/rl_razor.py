"""RL's razor, and online against offline: the KL that each way spends for the same reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.claims import tied, ways
from benchmarks.claims.gradient_flow import flow, free, shared
from benchmarks.claims.page import Page, percent, table
from benchmarks.studies import mistakes
from benchmarks.studies.laws import OperatingPoint, best_of, highest, of_law, tilt
from klrl_envs.optima.problem import Problem
from klrl_envs.optima.terminal_law import TerminalLaw
from klrl_envs.reference.arrays import FloatArray
from klrl_envs.results.drawing import drawing
from klrl_envs.results.look import INK
from klrl_envs.signals.check import one_thread
from klrl_envs.signals.policy import standing
from klrl_envs.signals.tiny import TinyTask, random_task

NAME = "rl_razor"
TASK = mistakes.ONE_PRICE
REWARDS = (0.3, 0.5, 0.8)
RL = "RL: the natural gradient, or the optimum with a KL"
PLAIN = "RL: the plain gradient without KL, a logit a state"
SHARED = "RL: the same with logits that all times and contexts share"
ENDS = "DPO on pi0's pairs, Bradley-Terry labels: its ends"
STEPS = 200
"""Of the plain gradient, at most."""
CUT = 12.0
"""Nats, at the right edge of the figure."""
SHARES = 1 - np.geomspace(1, 1e-9, 300)
SEEDS = tuple(range(3))
PRICES = tuple(np.geomspace(0.03, 0.5, 6).tolist())
COUNTS = tuple(np.geomspace(1.5, 50, 6).tolist())
TEMPERATURE = 0.3
WORD, WEIGHTS = 1, (0.0, 0.3, 0.7)
"""A text is paid by this word's share of its tokens, with a weight in the reward."""
WEIGHTED, BEST, PAIRS = (
    "imitation of pi0's texts, weighted by exp(r / c)",
    "imitation of the best of n, n the best at each price",
    "DPO on pi0's pairs, Bradley-Terry labels",
)

CLAIMED = """
Shenfeld, Pari and Agrawal 2025, *RL's razor* (2509.04259): among the ways to solve a new task on-policy
RL prefers those near the original model in KL, while supervised fine-tuning may end arbitrarily far from
it. Tang and others 2024 (2405.08448): online alignment does better than offline at equal KL, which
coverage and quality of the data alone do not explain. Read were both abstracts.
"""
MEASURED = """
On DiagnosticCoefficient-v0 with free logits and unlimited data every way is a path of laws of the reward,
and its KL at equal reward is exact. RL is there three times: as the optimum at each kl_coef, which is also
the way of the natural gradient of E[r] alone, and so the frontier by theory, not by measurement; and as the
plain policy gradient of E[r] alone, on-policy, followed exactly in at most {steps} steps of one length, with
a logit for every state and with shared ones. Beside it stand supervised fine-tuning (stopped early) towards
pi0's texts that earn at least a third, or everything, and towards one ideal text; best-of-n learnt round
after round (RAFT); own texts weighted by reward; IPO and DPO on pi0's pairs, labelled by the larger reward
or by Bradley-Terry of the reward. Then the same losses in a class that does not hold the optimum, one logit
a token for all states, on {tasks} tiny tasks of two prompts with {texts} texts, paid for one word's share of
the text and for the whole at random: RL at {prices} prices against imitation of pi0's texts weighted by
exp(r / c), against imitation of the best of n, and against DPO on pi0's pairs, all minimised over all texts.
"""
NOT_SHOWN = """
What the natural gradient does where it must be estimated, or how near to it Adam and a network come: both
plain gradients are those of tables. What trained preference and imitation learners do with few pairs, in
which the sources see a good part of the difference: that is left until there are such baselines here.
Forgetting is not measured, only the KL that the first source found it to follow. On-policy means the
population's gradient; nothing is said of its noise.
"""


@dataclass(frozen=True)
class Way:
    """A way: KL (nats) and expected reward along it, [K] each, and the KL at each of ``REWARDS``."""

    name: str
    kl: FloatArray
    reward: FloatArray

    def kl_at(self, reward: float) -> float | None:
        """The KL where the reward is first reached; None where it never is."""
        reached = np.flatnonzero(self.reward >= reward)
        if reached.size == 0:
            return None
        place = int(reached[0])
        if place == 0:
            return float(self.kl[0])
        low, high = self.reward[place - 1], self.reward[place]
        share = (reward - low) / (high - low)
        return float(self.kl[place - 1] + share * (self.kl[place] - self.kl[place - 1]))


@dataclass(frozen=True)
class Measured:
    """Ways of free logits, and losses in the tied class.

    Attributes:
        paths: of free logits.
        missed: offline loss -> for each of ``WEIGHTS`` the shares of RL's gain in the objective that it
            misses at the same price, one for each task and price.
        texts: of a tiny task's prompt.
    """

    paths: list[Way]
    missed: dict[str, list[list[float]]]
    texts: int


def path_of(name: str, law: TerminalLaw, laws: Sequence[FloatArray]) -> Way:
    """A way of laws [1, U] from pi0."""
    return by_points(name, [of_law(law, one, 1.0) for one in laws])


def by_points(name: str, points: Sequence[OperatingPoint]) -> Way:
    """A way of points."""
    kl, reward = np.array([one.kl for one in points]), np.array([one.expected_reward for one in points])
    return Way(name, kl, reward)


def plain_gradients(problem: Problem) -> list[Way]:
    """On-policy gradients of E[r] alone, in free logits and in shared ones."""
    found: list[Way] = []
    for name, logits in ((PLAIN, free(problem)), (SHARED, shared(problem))):
        way = flow(problem, 0.0, logits, steps=STEPS)
        found.append(Way(name, np.array([at.kl for at in way]), np.array([at.objective for at in way])))
    return found


def free_paths() -> list[Way]:
    """Every way on the exact task."""
    from klrl_envs.optima.probes import maximiser_objective
    from klrl_envs.optima.terminal_law import terminal_law

    task, best = mistakes.task_and_optimum(TASK)
    assert best.policy is not None and task.exact is not None
    law = terminal_law(best.policy.problem)
    top = float(law.rewards.max())
    log_probability = (maximiser_objective(task.exact, best) - top) / task.kl_coef
    prices = np.geomspace(1e2, 1e-3, 600)
    return [
        path_of(RL, law, [law.probabilities, *[tilt(law, np.full(1, c)) for c in prices], highest(law)]),
        *plain_gradients(best.policy.problem),
        path_of(ENDS, law, [law.probabilities, *[tilt(law, np.full(1, c)) for c in prices]]),
        path_of(
            "DPO on pi0's pairs, Bradley-Terry labels, stopped early", law,
            ways.preference_flow(law, task.kl_coef),
        ),
        path_of(
            "DPO on pi0's pairs, the larger reward wins, stopped early", law, ways.preference_flow(law, None),
        ),
        path_of(
            "IPO on pi0's pairs, the larger reward wins", law,
            [law.probabilities, *ways.identity_preferences(law, np.geomspace(1e2, 1e-3, 600))],
        ),
        path_of(
            "best-of-n learnt, round after round (RAFT)", law,
            [best_of(law, n) for n in 2.0 ** np.arange(0, 40, 0.125)],
        ),
        path_of(
            "own texts weighted by reward, round after round", law,
            ways.reward_weighted(law, np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 600)])),
        ),
        path_of(
            "SFT towards pi0's texts with the full reward", law, ways.mixtures(law, highest(law), SHARES)
        ),
        path_of(
            "SFT towards pi0's texts with a third of it", law,
            ways.mixtures(law, ways.kept(law, top / 3), SHARES),
        ),
        by_points("SFT towards one ideal text", ways.towards_one_text(law, log_probability, top, SHARES)),
    ]  # fmt: skip


def tiny(seed: int, weight: float) -> TinyTask:
    """A tiny task, of whose reward the class of tied logits can follow a part of so much weight."""
    task = random_task(words=3, horizon=3, seed=seed, kl_coef=TEMPERATURE)
    said = ((task.tokens == WORD) & task.mask).sum(axis=1) / task.mask.sum(axis=1)
    return replace(task, rewards=weight * said + (1 - weight) * task.rewards)


def missed_on(task: TinyTask) -> dict[str, list[float]]:
    """For each offline loss the share of RL's gain in the objective that it misses, at each price."""
    start = standing(task, task.reference).reward
    chosen = [tied.least(task, tied.imitation(task, tied.best_of(task, n))) for n in COUNTS]
    missed: dict[str, list[float]] = {WEIGHTED: [], BEST: [], PAIRS: []}
    for price in PRICES:

        def gain(end: tied.End) -> float:
            return end.at.reward - price * end.at.kl - start  # noqa: B023

        others = {
            WEIGHTED: tied.least(task, tied.imitation(task, tied.tilted(task, price))),
            BEST: max(chosen, key=gain),
            PAIRS: tied.least(task, tied.preferences(task, price, TEMPERATURE)),
        }
        # RL's objective has more than one top in this class: it is climbed from every other end, too
        starts = [np.zeros_like(others[BEST].logits), *[end.logits for end in others.values()]]
        online = max(gain(tied.least(task, tied.online(task, price), logits)) for logits in starts)
        for name, end in others.items():
            missed[name].append(1 - gain(end) / online)
    return missed


def measure() -> Measured:
    """Everything."""
    missed: dict[str, list[list[float]]] = {WEIGHTED: [], BEST: [], PAIRS: []}
    with one_thread():
        for weight in WEIGHTS:
            found = [missed_on(tiny(seed, weight)) for seed in SEEDS]
            for name, each in missed.items():
                each.append([share for one in found for share in one[name]])
    return Measured(free_paths(), missed, tiny(0, 0.0).texts)


def found(measured: Measured) -> list[str]:
    """What came out."""
    target = REWARDS[1]
    paid = {path.name: path.kl_at(target) for path in measured.paths}
    known = {name: kl for name, kl in paid.items() if kl is not None}
    rl, plain, together = known[RL], known[PLAIN], known[SHARED]
    offline = {name: kl for name, kl in known.items() if name not in (RL, PLAIN, SHARED)}
    farthest = max(offline, key=lambda name: offline[name])
    nearer = sum(kl < plain for kl in offline.values())
    nearer_together = sum(kl < together for kl in offline.values())
    raft = known["best-of-n learnt, round after round (RAFT)"]
    worst = known["SFT towards pi0's texts with the full reward"]
    worst_fit = "; ".join(
        f"{name}: {percent(float(np.mean(each[0])))} (up to {percent(max(each[0]))})"
        for name, each in measured.missed.items()
    )
    best_fit = max(float(np.mean(each[-1])) for each in measured.missed.values())
    return [
        f"""The razor is not one of being on-policy. RL with a KL, and the natural gradient without one,
        have the least KL for a reward that there is, by theory; the plain policy gradient without a KL, no
        less on-policy, has not. For a reward of {target:g} the first spend {rl:.2f} nats, the plain
        gradient {plain:.2f} with a logit a state and {together:.2f} with shared ones, more than
        {nearer} and {nearer_together} of the {len(offline)} other ways that get there. Of those DPO on pi0's
        pairs, though offline, ends at {known[ENDS]:.2f} where its labels say how much better; RAFT spends
        {raft:.2f}, supervised fine-tuning towards the best of pi0's own texts {worst:.2f}, and {farthest}
        {offline[farthest]:.2f}: how far it goes is said by what is imitated.""",
        f"""Online and offline do not differ with free logits and unlimited pairs, where the labels say
        how much better: DPO on pi0's pairs ends on the frontier. They differ, and whose texts are learnt
        from matters, by how badly the class of policies fits the reward. Where it fits worst (a reward for
        whole texts at random), of RL's gain in the objective at the same price are missed, on average:
        {worst_fit}; where it fits best, at most {percent(best_fit)} (above 100 % is worse than pi0). That
        RL is best in a class is its definition; the size is what was measured.""",
    ]


def page(measured: Measured) -> Page:
    """What there is to say."""
    rows: list[tuple[str, ...]] = []
    for path in measured.paths:
        paid = [path.kl_at(reward) for reward in REWARDS]
        end = f"{path.reward[-1]:.3f}", f"{path.kl[-1]:.2f}"
        rows.append((path.name, *("not reached" if kl is None else f"{kl:.3f}" for kl in paid), *end))
    columns = ("way", *(f"KL at E[r] = {reward:g}" for reward in REWARDS), "last E[r]", "its KL")
    cells = [
        (name, *(f"{percent(float(np.mean(each)))} ({percent(max(each))})" for each in shares))
        for name, shares in measured.missed.items()
    ]
    return Page(
        name=NAME,
        title="On-policy RL is nearer to the reference than other ways to the same reward",
        sources=("2509.04259", "2405.08448"),
        claimed=CLAIMED,
        measured=MEASURED.format(
            tasks=len(SEEDS), texts=measured.texts, prices=len(PRICES), steps=STEPS
        ),
        found=found(measured),
        tables=(
            ("Free logits, DiagnosticCoefficient-v0: KL in nats.", table(columns, rows)),
            (
                "Tied logits, tiny tasks: the share of RL's gain in the objective that a loss misses at the "
                "same price, the mean over tasks and prices (and the most), by the weight of what the class "
                "can follow.",
                table(("loss", *(f"weight {weight:g}" for weight in WEIGHTS)), cells),
            ),
        ),
        not_shown=NOT_SHOWN,
    )  # fmt: skip


def draw(measured: Measured, out: Path) -> None:
    """The figure: reward against KL, with free and with tied logits."""
    colours = (
        "#1d2433",
        "#666666",
        "#999999",
        "#CC79A7",
        "#56B4E9",
        "#0072B2",
        "#117733",
        "#009E73",
        "#999933",
        "#E69F00",
        "#D55E00",
        "#882255",
    )
    with drawing(out / NAME, (14, 6.4)) as figure:
        left, right = figure.subplots(1, 2)
        for path, colour in zip(measured.paths, colours, strict=True):
            wide = 3.5 if path is measured.paths[0] else 1.5
            dashes = {ENDS: "--", PLAIN: "-.", SHARED: ":"}.get(path.name, "-")
            left.plot(path.kl, path.reward, dashes, color=colour, linewidth=wide, label=path.name)
        left.set_xlim(0, CUT)
        handles, names = left.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower left", ncols=3, frameon=False, fontsize=8)
        left.set_title(f"free logits, {TASK}", loc="left", fontsize=11, color=INK)
        for (name, shares), hue, shift in zip(
            measured.missed.items(), ("#E69F00", "#009E73", "#56B4E9"), (-0.01, 0.0, 0.01), strict=True
        ):
            places = np.array(WEIGHTS) + shift
            right.plot(places, [np.mean(each) for each in shares], "o-", color=hue, label=name)
            right.vlines(places, [min(each) for each in shares], [max(each) for each in shares], color=hue)
        right.legend(frameon=False, fontsize=8)
        right.set_title("one logit a token for all states, tiny tasks", loc="left", fontsize=11, color=INK)
        farthest = max(float(path.kl[-1]) for path in measured.paths)
        left.set_xlabel(f"KL from the reference (nats; cut at {CUT:g}, some ways go on to {farthest:.0f})")
        left.set_ylabel("expected reward")
        right.set_xlabel("weight, in the reward, of what the class can follow")
        right.set_ylabel("share of RL's gain that is missed at the same price")
