"""Problems: what is refused, by name."""

from __future__ import annotations

import pytest

from klrl_envs.optima.dynamic_programme import solve
from klrl_envs.reference.markov import UniformReference
from klrl_envs.reward.automaton import RewardAutomaton

TASK = {"horizon": 2, "end_token": None, "kl_coef": 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizon": 0}, "horizon must be at least 1 token, got 0"),
        ({"end_token": 2}, "end_token must be None or 0 to 1, got 2"),
        ({"end_token": -1}, "end_token must be None or 0 to 1, got -1"),
        ({"kl_coef": 0.0}, "kl_coef must be a finite number above 0, got 0.0"),
        ({"kl_coef": -1.0}, "kl_coef must be a finite number above 0, got -1.0"),
        ({"kl_coef": float("nan")}, "kl_coef must be a finite number above 0, got nan"),
        ({"reference": UniformReference(3)}, "the automaton reads 2 tokens, the reference writes 3"),
    ],
)
def test_solve_names_what_is_wrong(change, message):
    arguments = {"reference": UniformReference(2), "automaton": RewardAutomaton([[0, 0]]), **TASK, **change}
    with pytest.raises(ValueError, match=message):
        solve(**arguments)
