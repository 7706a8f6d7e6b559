"""Over-optimisation: gold and proxy reward along the square root of the KL, with and without a KL penalty."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.claims.gradient_flow import flow, free, shared
from benchmarks.claims.page import Page, percent, table
from benchmarks.studies.laws import best_of, highest, of_law, tilt
from klrl_envs.optima.terminal_law import TerminalLaw
from klrl_envs.reference.arrays import FloatArray
from klrl_envs.results.drawing import drawing
from klrl_envs.results.look import INK, SOFT

NAME = "overoptimisation"
TASK = "klrl/DiagnosticGold-v0"
STEPS = 130
COUNTS = 2.0 ** np.arange(0, 30, 0.25)
POINTS = 200
LEVEL = 0.05
"""Gold at which ways are compared by their KL: the largest multiple of this that all of them reach."""
KL = "with the KL penalty (kl_coef {:g})"
NO_KL = "without KL"

CLAIMED = """
Gao, Schulman and Hilton 2022, *Scaling laws for reward model overoptimization*: with d the square root of
the KL, gold reward follows d (alpha - beta d) for best-of-n and d (alpha - beta log d) for RL; RL spends
far more KL than best-of-n for the same optimisation; and a KL penalty in RL does not change the curve of
gold reward against KL. Read were the abstract and the authors' summary; the two forms are as they are
known. No figure is quoted.
"""
MEASURED = """
DiagnosticGold-v0: the proxy counts words of praise, the gold is best at two of them. Both are functions
of the count, so that the law of the proxy under pi0 gives the gold of every policy that depends on a text
through its proxy: exactly along the proxy's optimum at every kl_coef (which is also the way of the
natural gradient without KL, stopped early: they are one curve) and along best-of-n. The plain policy
gradient, followed exactly from pi0 in at most {steps} steps of one length, leaves that curve; it is
followed with a logit for every state, and with logits that all times and contexts share, each with and
without the penalty. Both forms are fitted by least squares to the gain in gold over pi0 at {points}
equally spaced d.
"""
NOT_SHOWN = """
The size of the coefficients, or how they scale with a reward model: the proxy here is wrong by design,
not learnt, and its error does not come from few data. The policies are tables, and steps are exact: of
PPO's clipping and of Adam nothing is seen. One pair of proxy and gold is one pair; where the gold keeps
rising there is nothing to fit.
"""


@dataclass(frozen=True)
class Way:
    """A way from pi0: KL (nats), proxy and gold along it, float64 [K] each."""

    name: str
    kl: FloatArray
    proxy: FloatArray
    gold: FloatArray

    def at(self, kl: FloatArray, column: str) -> FloatArray:
        """Proxy or gold at KLs, between the points by straight lines in d."""
        return np.interp(np.sqrt(kl), np.sqrt(self.kl), getattr(self, column))

    def kl_of(self, gold: float) -> float:
        """The KL where so much gold is first reached, between the points by straight lines in d."""
        after = int((self.gold >= gold).argmax())
        low, high = self.gold[after - 1], self.gold[after]
        d = np.sqrt(self.kl[after - 1 : after + 1])
        return float((d[0] + (gold - low) / (high - low) * (d[1] - d[0])) ** 2)

    @property
    def peak(self) -> tuple[float, float]:
        """KL and gold where gold is largest."""
        place = int(self.gold.argmax())
        return float(self.kl[place]), float(self.gold[place])


@dataclass(frozen=True)
class Fit:
    """A form's coefficients, the share of the variance that it explains, and the d of its peak."""

    alpha: float
    beta: float
    explained: float
    peak: float


@dataclass(frozen=True)
class Measured:
    """All ways, in the order of the figure: the frontier, best-of-n, then pairs with and without penalty."""

    kl_coef: float
    paths: list[Way]

    def named(self, name: str) -> Way:
        """A way by its name."""
        return next(path for path in self.paths if path.name == name)


def fit(path: Way, form: str) -> Fit:
    """Fit d (alpha - beta d) ("linear") or d (alpha - beta log d) ("logarithmic") to the gain in gold."""
    d = np.linspace(0, np.sqrt(path.kl[-1]), POINTS + 1)[1:]
    gain = path.at(d**2, "gold") - path.gold[0]
    bend = d if form == "linear" else np.log(d)
    matrix = np.stack([d, -d * bend], axis=1)
    (alpha, beta), *_ = np.linalg.lstsq(matrix, gain, rcond=None)
    left = gain - matrix @ np.array([alpha, beta])
    peak = alpha / (2 * beta) if form == "linear" else np.exp(alpha / beta - 1)
    explained = 1 - float((left**2).sum() / ((gain - gain.mean()) ** 2).sum())
    return Fit(float(alpha), float(beta), explained, float(peak))


def of_laws(name: str, law: TerminalLaw, tilted: list[FloatArray], gold: FloatArray) -> Way:
    """A way of laws of the reward, each [1, U]."""
    points = [of_law(law, one, 1.0) for one in tilted]
    return Way(
        name,
        np.maximum([point.kl for point in points], 0.0),  # of pi0 itself it is 0 to rounding
        np.array([point.expected_reward for point in points]),
        np.array([float((one @ gold)[0]) for one in tilted]),
    )


def measure() -> Measured:
    """Every way on the task."""
    import klrl_envs
    from klrl_envs.optima.optimum import problem_of
    from klrl_envs.optima.terminal_law import terminal_law
    from klrl_envs.tasks.diagnostics.gold import GOLD

    task = klrl_envs.evaluation_task(TASK).exact
    assert task is not None
    problem, gold = problem_of(task), np.array(GOLD)
    law = terminal_law(problem)
    coefficients = np.geomspace(1e2, 1e-3, 400)
    tilts = [law.probabilities, *[tilt(law, np.full(1, c)) for c in coefficients], highest(law)]
    paths = [
        of_laws("the optimum at each kl_coef", law, tilts, gold),
        of_laws("best-of-n", law, [best_of(law, n) for n in COUNTS], gold),
    ]
    for kind, logits in (("plain gradient", free(problem)), ("shared logits", shared(problem))):
        for kl_coef, how in ((0.0, NO_KL), (task.kl_coef, KL.format(task.kl_coef))):
            way = flow(problem, kl_coef, logits, steps=STEPS)
            kl = np.maximum.accumulate([one.kl for one in way])
            states = np.array([one.final_states for one in way])
            proxy = states @ task.automaton.horizon_reward
            paths.append(Way(f"{kind} {how}", kl, proxy, states @ gold))
    return Measured(task.kl_coef, paths)


def gap(one: Way, other: Way, column: str) -> tuple[float, float]:
    """The KL up to which both go, and the largest difference of proxy or gold at equal KL up to there."""
    most = min(one.kl[-1], other.kl[-1])
    kl = np.linspace(0, np.sqrt(most), POINTS) ** 2
    return float(most), float(np.abs(one.at(kl, column) - other.at(kl, column)).max())


def found(measured: Measured) -> list[str]:
    """What came out."""
    best, n_best = measured.paths[0], measured.paths[1]
    plain, held = measured.paths[2], measured.paths[3]
    tied, tied_held = measured.paths[4], measured.paths[5]
    forms = {path.name: (fit(path, "linear"), fit(path, "logarithmic")) for path in (best, n_best, plain)}
    linear, log = forms[best.name]
    level = LEVEL * np.floor(min(path.peak[1] for path in measured.paths) / LEVEL)
    paid = {path.name: path.kl_of(level) for path in measured.paths}
    dearer = [name for name, kl in paid.items() if kl > paid[n_best.name] and name != n_best.name]
    most, gold, proxy = (*gap(plain, held, "gold"), gap(plain, held, "proxy")[1])
    return [
        f"""Whether a KL penalty changes the curve of gold against KL depends on the optimiser. The
        natural gradient's way is the proxy's frontier with or without it: nothing changes, as claimed.
        The plain gradient's way does change: at equal KL, up to {most:.2f} nats, by up to {gold:.3f} in
        gold and {proxy:.3f} in proxy. The most gold on the way is not more for it: {held.peak[1]:.3f}
        with the penalty, {plain.peak[1]:.3f} without ({tied_held.peak[1]:.3f} and {tied.peak[1]:.3f} with
        shared logits).""",
        f"""What is best for the proxy is not best for the gold: the most gold along best-of-n is
        {n_best.peak[1]:.3f}, along the proxy's own optimum {best.peak[1]:.3f}, which is above every other
        way in proxy. For the same gold, {level:.2f}, RL spends more KL than best-of-n on {len(dearer)} of its
        {len(paid) - 1} ways: best-of-n {paid[n_best.name]:.2f} nats, the optimum {paid[best.name]:.2f}, the
        plain gradient {paid[plain.name]:.2f} without KL and {paid[held.name]:.2f} with it, shared logits
        {paid[tied.name]:.2f} and {paid[tied_held.name]:.2f}: by far the most on the plain gradient without
        KL, which moves first what it visits most. (By the KL for the same proxy the optimum spends least of
        all, best-of-n included.)""",
        f"""Both forms fit in the middle and fail at the ends: of the gold along the optimum d (alpha -
        beta d) explains {percent(linear.explained)} of the variance and d (alpha - beta log d)
        {percent(log.explained)}, along best-of-n {percent(forms[n_best.name][0].explained)} and
        {percent(forms[n_best.name][1].explained)}, along the plain gradient
        {percent(forms[plain.name][0].explained)} and {percent(forms[plain.name][1].explained)}. Near pi0
        the gain of every smooth way is proportional to d, which d log d is not.""",
    ]


def page(measured: Measured) -> Page:
    """What there is to say."""
    rows: list[tuple[str, ...]] = []
    for path in measured.paths:
        fits = [fit(path, form) for form in ("linear", "logarithmic")]
        kl, gold = path.peak
        cells = [
            f"{one.alpha:.3f}, {one.beta:.3f}: {percent(one.explained)}, peak {one.peak**2:.2f}"
            for one in fits
        ]
        end = f"{path.kl[-1]:.2f}", f"{path.proxy[-1]:.3f}", f"{path.gold[-1]:.3f}"
        rows.append((path.name, f"{kl:.2f}", f"{gold:.3f}", *end, *cells))
    columns = (
        "way from pi0", "KL of most gold", "most gold", "last KL", "its proxy", "its gold",
        "d (alpha - beta d): alpha, beta: explained, KL of its peak", "d (alpha - beta log d): the same",
    )  # fmt: skip
    return Page(
        name=NAME,
        title="Gold and proxy reward against the square root of the KL, and what a KL penalty changes",
        sources=("2210.10760",),
        claimed=CLAIMED,
        measured=MEASURED.format(points=POINTS, steps=STEPS),
        found=found(measured),
        tables=(("Every way, its peak, its end, and both fits. KL in nats.", table(columns, rows)),),
        not_shown=NOT_SHOWN,
    )


def draw(measured: Measured, out: Path) -> None:
    """The figure: proxy and gold against d, and the fits."""
    looks = (
        (INK, "-"), ("#0072B2", "--"), ("#D55E00", "-"), ("#D55E00", ":"), ("#009E73", "-"), ("#009E73", ":"),
    )  # fmt: skip
    styled = list(zip(measured.paths, looks, strict=True))
    with drawing(out / NAME, (14.5, 8.6)) as figure:
        panels = figure.subplots(2, 3)
        for path, (colour, dashes) in styled:
            d = np.sqrt(path.kl)
            panels[0, 0].plot(d, path.gold, dashes, color=colour, linewidth=1.8, label=path.name)
            panels[0, 1].plot(d, path.proxy, dashes, color=colour, linewidth=1.8)
        fitted = [styled[place] for place in (0, 1, 2, 4)]
        for axes, (path, (colour, dashes)) in zip(panels.flat[2:], fitted, strict=True):
            d = np.linspace(1e-3, np.sqrt(path.kl[-1]), POINTS)
            axes.plot(d, path.at(d**2, "gold") - path.gold[0], dashes, color=colour, linewidth=2.2)
            one, other = fit(path, "linear"), fit(path, "logarithmic")
            axes.plot(d, d * (one.alpha - one.beta * d), color="#666666", linewidth=1, label="d (a - b d)")
            axes.plot(
                d, d * (other.alpha - other.beta * np.log(d)), "-.", color="#666666", linewidth=1,
                label="d (a - b log d)",
            )  # fmt: skip
            axes.axhline(0, color=SOFT, linewidth=0.8)
            axes.set_title(f"gold gained: {path.name}", loc="left", fontsize=11, color=INK)
            axes.legend(frameon=False, fontsize=8, loc="lower left")
        for axes, title in zip(panels.flat, ("gold reward", "proxy reward")):
            axes.set_title(title, loc="left", fontsize=11, color=INK)
        for axes in panels.flat:
            axes.set_xlabel("d = square root of the KL from pi0 (nats)")
            axes.set_xlim(left=0)
        handles, names = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower left", ncols=3, frameon=False, fontsize=9)
