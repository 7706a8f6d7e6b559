"""`klrl show` and `klrl solve`."""

from __future__ import annotations

import json

import pytest

from klrl_envs import optimum
from tests.cli.commands import GRID, SMALL, SMALL_ARGUMENTS, klrl, succeeded


def test_show_is_the_card():
    output = succeeded(klrl("show", GRID, *SMALL))
    for word in ("Action Space", "Version History", "Discrete(4)", "Texts of pi0", "Texts of pi*", "J*"):
        assert word in output, word
    best = optimum(f"klrl/{GRID}", **SMALL_ARGUMENTS)
    assert "E*[r]" in output and f"{best.value:.6g}" in output and f"{best.reference_value:.6g}" in output
    assert output == succeeded(klrl("show", GRID, *SMALL)), "texts are drawn from a seed"


@pytest.mark.slow
def test_a_sampled_frontier_says_where_samples_are_few():
    output = succeeded(klrl("solve", "klrl/Sentiment-v0", "--frontier", ".0125,.2"))
    lines = [line for line in output.splitlines() if "│ 0.0125 " in line or "│ 0.2 " in line]
    assert ["too few to trust" in line for line in lines] == [True, False]
    assert "E*[r], its expected reward" in output and output.count("(95 %") >= 3


def test_solve_states_optimum_and_frontier():
    output = succeeded(klrl("solve", GRID, "--kl-coef", "4", "--frontier", "2,4,8", *SMALL))
    best = optimum(f"klrl/{GRID}", kl_coef=4.0, **SMALL_ARGUMENTS)
    assert f"{best.value:.6g}" in output
    for point in best.frontier([2.0, 4.0, 8.0]):
        assert f"{point.expected_reward:.5g}" in output and f"{point.kl:.5g}" in output
    result = json.loads(succeeded(klrl("solve", GRID, "--json", *SMALL)))
    assert result["value"] == optimum(f"klrl/{GRID}", **SMALL_ARGUMENTS).value
