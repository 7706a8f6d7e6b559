"""Reinforcement learning of language models under a KL penalty, each task with its exact optimum.

``import klrl_envs`` registers every environment under ``klrl/`` and imports neither torch nor SciPy;
the other public names are loaded when they are first used. Its public modules are ``automata``, ``kl``,
``ledger``, ``policies``, ``results``, ``signals``, ``wrappers`` and ``integrations``.
"""

# pyright: reportUnusedImport=false
# what type checkers import here, `__getattr__` loads when it is used

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from klrl_envs.registry import (
    REGISTRY,
    Row,
    find_row,
    import_module,
    make_task,
    register,
    register_with_gymnasium,
)

if TYPE_CHECKING:
    from klrl_envs import integrations, kl, ledger, policies, results, signals, wrappers
    from klrl_envs.envs.engine import Engine
    from klrl_envs.envs.exact import exact_task
    from klrl_envs.envs.lookup import evaluation_task
    from klrl_envs.envs.observation import observer_of
    from klrl_envs.evaluation.comparison import (
        Comparison,
        ExactEvaluation,
        evaluate_exactly,
        metrics_along_frontier,
    )
    from klrl_envs.evaluation.evaluate import evaluate, optimal_policy
    from klrl_envs.evaluation.impossible import ImpossibleEvaluation
    from klrl_envs.evaluation.optimal_draws import draw_optimal
    from klrl_envs.evaluation.rejection import RejectionSampler
    from klrl_envs.evaluation.result import Evaluation
    from klrl_envs.integrations.trl import as_reward_fn
    from klrl_envs.networks.files import load_policy, save_policy
    from klrl_envs.optima.optimum import NotCertified, Optimum, optimum
    from klrl_envs.reference.catalogue import load as load_reference
    from klrl_envs.reference.device import device_named
    from klrl_envs.reference.hub import fetch_reference
    from klrl_envs.reference.language_model import LanguageModel
    from klrl_envs.reference.markov import MarkovReference as BigramReference
    from klrl_envs.reference.markov import UniformReference
    from klrl_envs.reference.protocol import NeuralReference
    from klrl_envs.reference.sampling import sample_rows
    from klrl_envs.reference.trigram import TrigramReference
    from klrl_envs.reference.words import words_bigram, words_trigram
    from klrl_envs.results.record import RunRecord
    from klrl_envs.results.write import write_result
    from klrl_envs.reward import automata
    from klrl_envs.reward.automaton import RewardAutomaton
    from klrl_envs.reward.replies import Replies
    from klrl_envs.tasks.automaton_task import AutomatonTask
    from klrl_envs.tasks.base import Prompts, Task
    from klrl_envs.tasks.text_task import TextTask

__version__ = "0.2.0"

_LAZY = {
    "AutomatonTask": ("klrl_envs.tasks.automaton_task", "AutomatonTask"),
    "BigramReference": ("klrl_envs.reference.markov", "MarkovReference"),
    "Comparison": ("klrl_envs.evaluation.comparison", "Comparison"),
    "Engine": ("klrl_envs.envs.engine", "Engine"),
    "Evaluation": ("klrl_envs.evaluation.result", "Evaluation"),
    "ExactEvaluation": ("klrl_envs.evaluation.comparison", "ExactEvaluation"),
    "ImpossibleEvaluation": ("klrl_envs.evaluation.impossible", "ImpossibleEvaluation"),
    "LanguageModel": ("klrl_envs.reference.language_model", "LanguageModel"),
    "NeuralReference": ("klrl_envs.reference.protocol", "NeuralReference"),
    "NotCertified": ("klrl_envs.optima.optimum", "NotCertified"),
    "Optimum": ("klrl_envs.optima.optimum", "Optimum"),
    "Prompts": ("klrl_envs.tasks.base", "Prompts"),
    "RejectionSampler": ("klrl_envs.evaluation.rejection", "RejectionSampler"),
    "Replies": ("klrl_envs.reward.replies", "Replies"),
    "RewardAutomaton": ("klrl_envs.reward.automaton", "RewardAutomaton"),
    "RunRecord": ("klrl_envs.results.record", "RunRecord"),
    "Task": ("klrl_envs.tasks.base", "Task"),
    "TextTask": ("klrl_envs.tasks.text_task", "TextTask"),
    "TrigramReference": ("klrl_envs.reference.trigram", "TrigramReference"),
    "UniformReference": ("klrl_envs.reference.markov", "UniformReference"),
    "as_reward_fn": ("klrl_envs.integrations.trl", "as_reward_fn"),
    "automata": ("klrl_envs.reward.automata", ""),
    "device_named": ("klrl_envs.reference.device", "device_named"),
    "draw_optimal": ("klrl_envs.evaluation.optimal_draws", "draw_optimal"),
    "evaluate": ("klrl_envs.evaluation.evaluate", "evaluate"),
    "evaluate_exactly": ("klrl_envs.evaluation.comparison", "evaluate_exactly"),
    "evaluation_task": ("klrl_envs.envs.lookup", "evaluation_task"),
    "exact_task": ("klrl_envs.envs.exact", "exact_task"),
    "fetch_reference": ("klrl_envs.reference.hub", "fetch_reference"),
    "integrations": ("klrl_envs.integrations", ""),
    "kl": ("klrl_envs.kl", ""),
    "ledger": ("klrl_envs.ledger", ""),
    "load_policy": ("klrl_envs.networks.files", "load_policy"),
    "load_reference": ("klrl_envs.reference.catalogue", "load"),
    "metrics_along_frontier": ("klrl_envs.evaluation.comparison", "metrics_along_frontier"),
    "observer_of": ("klrl_envs.envs.observation", "observer_of"),
    "optimal_policy": ("klrl_envs.evaluation.evaluate", "optimal_policy"),
    "optimum": ("klrl_envs.optima.optimum", "optimum"),
    "policies": ("klrl_envs.policies", ""),
    "results": ("klrl_envs.results", ""),
    "save_policy": ("klrl_envs.networks.files", "save_policy"),
    "signals": ("klrl_envs.signals", ""),
    "sample_rows": ("klrl_envs.reference.sampling", "sample_rows"),
    "words_bigram": ("klrl_envs.reference.words", "words_bigram"),
    "words_trigram": ("klrl_envs.reference.words", "words_trigram"),
    "wrappers": ("klrl_envs.wrappers", ""),
    "write_result": ("klrl_envs.results.write", "write_result"),
}
"""Name -> the module that has it, and its name there ("" for the module itself)."""

_OLD = {"Diagnostics": "Comparison"}
"""Names that are still found, and not listed."""

__all__ = ["REGISTRY", "Row", "find_row", "import_module", "make_task", "register", *_LAZY]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    known = _OLD.get(name, name)
    if known not in _LAZY:
        raise AttributeError(f"module 'klrl_envs' has no attribute {name!r}")
    module, attribute = _LAZY[known]
    found = importlib.import_module(module)
    value = getattr(found, attribute) if attribute else found
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


for _row in REGISTRY:
    register_with_gymnasium(_row)
