"""How figures look: colours that the colour-blind tell apart, and files that are the same on every day."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

INK, SOFT = "#1d2433", "#6b7484"
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "h")
LOOK: Any = {
    "svg.hashsalt": "klrl",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": INK,
}

Style = tuple[str, str]
"""Colour and shape."""

# The agents of this repository, which no other agent's coming or going moves. Those of one family have shades
# of one colour, most of Okabe and Ito's, and every agent its own pair of shade and shape.
KNOWN: dict[str, Style] = {
    # floors and bounds
    "posterior": ("#0072B2", "o"),
    "best_of_n": ("#0072B2", "h"),
    "reference": ("#CC79A7", "D"),
    "uniform": ("#CC79A7", "v"),
    "greedy": ("#CC79A7", "X"),
    # tables
    "q_learning": ("#009E73", "^"),
    "sarsa": ("#009E73", "v"),
    "bayesian_policy": ("#009E73", "D"),
    # the policy's gradient
    "ppo": ("#D55E00", "s"),
    "ppo-all": ("#8C2D04", "s"),
    "ppo-lora": ("#FDAE6B", "s"),
    "reinforce": ("#E69F00", "v"),
    "reinforce-all": ("#B38600", "v"),
    "reinforce-tokens": ("#7A5195", "X"),
    "sb3_ppo": ("#56B4E9", "P"),
    "sb3_a2c": ("#56B4E9", "X"),
    "grpo": ("#C44E52", "o"),
    "grpo-corrected": ("#C44E52", "^"),
    # squared errors of log-ratios and values
    "trajectory_balance": ("#117A8B", "o"),
    "path_consistency": ("#117A8B", "s"),
    "klq": ("#117A8B", "^"),
    "dqn": ("#5B8C5A", "s"),
    "q_sharp": ("#5B8C5A", "*"),
    # towards texts of pi*
    "dpg": ("#8E6C8A", "o"),
    "smc": ("#8E6C8A", "^"),
    "dpo": ("#B07AA1", "s"),
    "dpo-offline": ("#B07AA1", "v"),
    "expert_iteration": ("#9C755F", "D"),
    "raft": ("#9C755F", "s"),
    "adversarial": ("#994F88", "P"),
    # a model of the reward
    "model_based": ("#000000", "*"),
    "model_based-all": ("#777777", "*"),
}
# Tol's muted colours, for all others.
COLOURS = ("#332288", "#882255", "#117733", "#999933", "#AA4499", "#44AA99", "#661100")
FREE = tuple((colour, shape) for shape in SHAPES for colour in COLOURS)


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A colour and a shape for each agent.

    Those of known agents are theirs; others take one by a hash of the name, and the next free one where
    another drawn with them has it, as long as there are any.
    """
    dealt: dict[str, Style] = {}
    for name in sorted(set(names)):
        if name in KNOWN:
            dealt[name] = KNOWN[name]
            continue
        first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % len(FREE)
        turned = FREE[first:] + FREE[:first]
        taken = set(dealt.values())
        dealt[name] = next((style for style in turned if style not in taken), turned[0])
    return dealt
