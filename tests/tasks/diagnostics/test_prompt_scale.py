"""DiagnosticPromptScale: stakes that differ a hundredfold."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from klrl_envs.optima.optimum import optimum_of
from tests.oracles import evaluation_task


def test_prompt_scales_differ_a_hundredfold() -> None:
    solution = optimum_of(evaluation_task("DiagnosticPromptScale-v0")).policy
    gaps = (solution.start_values - solution.problem.reference_values).reshape(3, 4).mean(axis=1)
    assert gaps[1] > 20 * gaps[0] and gaps[2] > 20 * gaps[1]
    train = evaluation_task("DiagnosticPromptScale-v0", prompts="train")
    assert train.prompts.tokens.shape == (24, 2)
    assert train.reward_fingerprint == evaluation_task("DiagnosticPromptScale-v0").reward_fingerprint
