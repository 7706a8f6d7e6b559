"""Grid navigation: the smallest member of the suite, with a uniform reference.

## Description
A walker on a square grid looks for a target cell. It pays to arrive, and it costs to wander off
again once near. The reference walks at random.

## Action Space
``Discrete(4)``: 0 one cell forward, 1 one cell back, 2 turn left, 3 turn right. A move into the
wall stays where it is.

## Observation Space
``Box(int64, (3,))``: x, y (0 at the top left) and heading (0 north, 1 east, 2 south, 3 west). The
time left is not in it; it is in the features id (one-hot x, y and heading, the time
left, log pi0) and in the wrapper ``StateIndex``, as the optimum of a finite horizon needs it.

## Starting State
Uniform over cells and headings, the target excluded.

## Rewards
+100 on reaching the target, -10 for each move from within the target region (cells within 2 of
the target, diagonals included) to outside it, else 0. KL is not part of the reward.

## Episode End
On the target, or after ``horizon`` actions; both terminate.

## Information
``reference_log_prob`` (nats) each step; at the end ``text`` (the actions) and ``success``.

## Arguments
``kl_coef`` (8), ``size`` (8) cells a side, ``target`` (x, y) or None for the cell two steps in from
the bottom right corner, ``horizon`` (40), ``slip`` (0): with this probability an action is
replaced by a uniformly random one, ``reference`` ("uniform").

## Optimum
Exact, by the soft dynamic programme over cell, heading and time. With ``slip`` above 0 the
soft-Bellman policy is the optimum and the KL is the sum of its conditional KLs.

## References
Todorov 2006, linearly solvable Markov decision problems.

## Version History
v0: first version.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reference.arrays import IntArray
from klrl_envs.reference.catalogue import load
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask, StateView
from klrl_envs.tasks.base import is_whole

ACTIONS = ("forward", "back", "left", "right")
HEADINGS = ((0, -1), (1, 0), (0, 1), (-1, 0))
REGION = 2
CELL_PIXELS = 32


def task(
    *,
    kl_coef: float,
    size: int = 8,
    target: tuple[int, int] | None = None,
    horizon: int = 40,
    slip: float = 0.0,
    reference: str = "uniform",
) -> AutomatonTask:
    """The task; the page above is its specification."""
    if size < 2:
        raise ValueError(f"size must be at least 2 cells, got {size}")
    if not 0 <= slip < 1:
        raise ValueError(f"slip must be in [0, 1), got {slip}")
    model = load(reference, allowed=("uniform",), words=ACTIONS)
    goal = (size - 3, size - 3) if target is None and size > 2 else tuple(target or (size - 1, size - 1))
    if len(goal) != 2 or not all(map(is_whole, goal)) or not all(0 <= part < size for part in goal):
        raise ValueError(f"target must be two whole numbers in 0..{size - 1}, got {target}")
    states = state_table(size)
    automaton = navigation_automaton(states, size, goal, slip)
    one_hot = np.concatenate([np.eye(n)[states[:, i]] for i, n in enumerate((size, size, 4))], axis=1)
    return AutomatonTask.of(
        model,
        automaton,
        kl_coef=kl_coef,
        horizon=horizon,
        reward_range=(-10.0 * horizon, 100.0),
        state_features=one_hot.astype(np.float32),
        view=StateView(states, np.array([size - 1, size - 1, 3])),
        final_metrics={"success": automaton.absorbing.astype(np.float64)},
        describe=partial(describe, size=size, goal=goal),
        draw=partial(draw, size=size, goal=goal),
    )


def state_table(size: int) -> IntArray:
    """x, y, heading of every state, int64 [4 size^2, 3]; state = (y size + x) 4 + heading."""
    y, x, heading = np.meshgrid(np.arange(size), np.arange(size), np.arange(4), indexing="ij")
    return np.stack([x.ravel(), y.ravel(), heading.ravel()], axis=1)


def navigation_automaton(states: IntArray, size: int, goal: tuple[int, ...], slip: float) -> RewardAutomaton:
    """Transitions, rewards, and a start that is uniform off the target."""
    cell, heading = states[:, :2], states[:, 2]
    ahead = np.array(HEADINGS)[heading]
    forward = np.clip(cell + ahead, 0, size - 1)
    back = np.clip(cell - ahead, 0, size - 1)

    def index(cells: IntArray, headings: IntArray) -> IntArray:
        return (cells[:, 1] * size + cells[:, 0]) * 4 + headings

    transition = np.stack(
        [
            index(forward, heading),
            index(back, heading),
            index(cell, (heading - 1) % 4),
            index(cell, (heading + 1) % 4),
        ],
        axis=1,
    )
    on_goal = (cell == goal).all(axis=1)
    near = np.abs(cell - goal).max(axis=1) <= REGION
    reward = 100.0 * on_goal[transition] - 10.0 * (near[:, None] & ~near[transition])
    execution = (1 - slip) * np.eye(4) + slip / 4 if slip else None
    return RewardAutomaton(
        transition, reward, start=~on_goal / (~on_goal).sum(), absorbing=on_goal, execution=execution
    )


def describe(state: int, *, size: int, goal: tuple[int, ...]) -> str:
    """The grid as text: an arrow for the walker, T for the target, + for its region."""
    x, y, heading = state_table(size)[state]
    rows: list[str] = []
    for row in range(size):
        marks: list[str] = []
        for column in range(size):
            near = max(abs(column - goal[0]), abs(row - goal[1])) <= REGION
            mark = "T" if (column, row) == tuple(goal) else "+" if near else "."
            marks.append("^>v<"[heading] if (column, row) == (x, y) else mark)
        rows.append(" ".join(marks))
    return "\n".join(rows)


def draw(state: int, *, size: int, goal: tuple[int, ...]) -> NDArray[np.uint8]:
    """The grid as pixels, uint8 [32 size, 32 size, 3]."""
    from PIL import Image, ImageDraw

    x, y, heading = (int(value) for value in state_table(size)[state])
    side = size * CELL_PIXELS
    image = Image.new("RGB", (side + 1, side + 1), "white")
    pen = ImageDraw.Draw(image)
    for row in range(size):
        for column in range(size):
            corner = (column * CELL_PIXELS, row * CELL_PIXELS)
            near = max(abs(column - goal[0]), abs(row - goal[1])) <= REGION
            fill = "#2e9e5b" if (column, row) == tuple(goal) else "#dff2e6" if near else "white"
            opposite = (corner[0] + CELL_PIXELS, corner[1] + CELL_PIXELS)
            pen.rectangle((corner, opposite), fill=fill, outline="#c8c8c8")
    middle = np.array([x, y]) * CELL_PIXELS + CELL_PIXELS / 2
    ahead = np.array(HEADINGS[heading])
    aside = np.array([-ahead[1], ahead[0]])
    corners = [middle + 11 * ahead, middle - 9 * ahead + 9 * aside, middle - 9 * ahead - 9 * aside]
    pen.polygon([tuple(corner) for corner in corners], fill="#2f5fd0")
    return np.asarray(image)
