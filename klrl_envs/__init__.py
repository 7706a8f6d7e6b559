"""Reinforcement learning of language models under a KL penalty, each task with its exact optimum.

``import klrl_envs`` registers every environment under ``klrl/`` and imports neither torch nor SciPy;
the other public names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from klrl_envs.registry import REGISTRY, Row, make_task, register_all

if TYPE_CHECKING:
    from klrl_envs.envs.exact import exact_task
    from klrl_envs.evaluation.comparison import (
        Diagnostics,
        ExactEvaluation,
        evaluate_exactly,
        metrics_along_frontier,
    )
    from klrl_envs.evaluation.evaluate import Evaluation, evaluate
    from klrl_envs.integrations.trl import as_reward_fn
    from klrl_envs.optima.optimum import NotCertified, Optimum, optimum
    from klrl_envs.reference.hub import fetch_reference
    from klrl_envs.reference.markov import MarkovReference as BigramReference
    from klrl_envs.reference.markov import UniformReference
    from klrl_envs.reference.trigram import TrigramReference
    from klrl_envs.reference.words import words_bigram, words_trigram
    from klrl_envs.reward import automata
    from klrl_envs.reward.automaton import RewardAutomaton

__version__ = "0.1.0"

_LAZY = {
    "Evaluation": ("klrl_envs.evaluation.evaluate", "Evaluation"),
    "evaluate": ("klrl_envs.evaluation.evaluate", "evaluate"),
    "Diagnostics": ("klrl_envs.evaluation.comparison", "Diagnostics"),
    "ExactEvaluation": ("klrl_envs.evaluation.comparison", "ExactEvaluation"),
    "evaluate_exactly": ("klrl_envs.evaluation.comparison", "evaluate_exactly"),
    "metrics_along_frontier": ("klrl_envs.evaluation.comparison", "metrics_along_frontier"),
    "exact_task": ("klrl_envs.envs.exact", "exact_task"),
    "as_reward_fn": ("klrl_envs.integrations.trl", "as_reward_fn"),
    "NotCertified": ("klrl_envs.optima.optimum", "NotCertified"),
    "Optimum": ("klrl_envs.optima.optimum", "Optimum"),
    "optimum": ("klrl_envs.optima.optimum", "optimum"),
    "fetch_reference": ("klrl_envs.reference.hub", "fetch_reference"),
    "BigramReference": ("klrl_envs.reference.markov", "MarkovReference"),
    "UniformReference": ("klrl_envs.reference.markov", "UniformReference"),
    "TrigramReference": ("klrl_envs.reference.trigram", "TrigramReference"),
    "RewardAutomaton": ("klrl_envs.reward.automaton", "RewardAutomaton"),
    "automata": ("klrl_envs.reward.automata", ""),
    "words_bigram": ("klrl_envs.reference.words", "words_bigram"),
    "words_trigram": ("klrl_envs.reference.words", "words_trigram"),
}

__all__ = ["REGISTRY", "Row", "make_task", *_LAZY]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'klrl_envs' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    found = importlib.import_module(module)
    value = getattr(found, attribute) if attribute else found
    globals()[name] = value
    return value


register_all()
