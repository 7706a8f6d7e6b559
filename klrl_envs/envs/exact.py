"""Exact environments of one's own: an n-gram reference times a reward automaton."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from klrl_envs.envs.token_env import TokenEnv
from klrl_envs.reference.language_model import LanguageModel
from klrl_envs.reference.markov import MarkovModel
from klrl_envs.reference.vocabulary import WordVocabulary
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask


def exact_task(
    reference: MarkovModel,
    automaton: RewardAutomaton,
    *,
    horizon: int,
    kl_coef: float,
    end_token: int | None = None,
    words: Sequence[str] | None = None,
    features: bool = False,
) -> TokenEnv:
    """A Gymnasium environment of a reference and an automaton, which ``optimum`` and ``evaluate`` take.

    Its lanes side by side are ``TokenVectorEnv(env.unwrapped.task, num_envs)``.

    Args:
        reference: ``BigramReference``, ``TrigramReference`` or ``UniformReference`` of V tokens.
        automaton: the reward, over the same tokens.
        horizon: the most tokens of an episode, T.
        kl_coef: the price of KL in units of reward per nat, above 0.
        end_token: the token that ends an episode, or None.
        words: V strings that the tokens are shown as; "t0", "t1", ... where None.
        features: observe float32 features in place of tokens.

    Raises:
        ValueError: an argument out of range, vocabularies of unequal size, or states that no text reaches.
    """
    size = reference.vocab_size
    if automaton.vocab_size != size:
        raise ValueError(f"the automaton reads {automaton.vocab_size} tokens, the reference writes {size}")
    idle = np.flatnonzero(~automaton.reachable())
    if idle.size:
        raise ValueError(
            f"no text reaches {idle.size} of the automaton's {automaton.states} states, state {idle[0]} the "
            "first: a transition is missing, or use automaton.trimmed()"
        )
    if words is not None and len(words) != size:
        raise ValueError(f"words must hold {size} strings, one per token, got {len(words)}")
    if end_token is not None and not 0 <= end_token < size:
        raise ValueError(f"end_token must be None or 0 to {size - 1}, got {end_token}")
    shown = tuple(f"t{token}" for token in range(size)) if words is None else tuple(words)
    model = LanguageModel(reference, WordVocabulary(shown, end_token), end_token)
    task = AutomatonTask.of(model, automaton, kl_coef=kl_coef, horizon=horizon)
    return TokenEnv(task, features=features)
