"""Texts that pi0 begins: which, how far, and that an agent learns from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from agents.networks.beginnings import begun_by_reference
from agents.path_consistency import PathConsistency, PathConsistencyArguments
from agents.run import Training, prepare


def test_some_episodes_are_begun_for_some_steps() -> None:
    rng = np.random.default_rng(0)
    found = [begun_by_reference(8, 0.25, 5, rng) for _ in range(400)]
    lengths = np.array([steps.sum(axis=1) for steps in found if steps is not None])
    assert lengths.shape == (400, 8) and ((lengths > 0).sum(axis=1) == 2).all()
    assert set(lengths[lengths > 0]) == {1, 2, 3, 4}, "the last token is the policy's"
    assert (lengths > 0).any(axis=0).all(), "in whichever lane"
    for steps in found:
        assert steps is not None and (np.diff(steps.astype(int), axis=1) <= 0).all(), "at the beginning"


def test_none_are_begun_without_a_draw() -> None:
    rng = np.random.default_rng(0)
    assert begun_by_reference(8, 0.0, 5, rng) is None and begun_by_reference(8, 0.5, 1, rng) is None
    assert rng.integers(1 << 30) == np.random.default_rng(0).integers(1 << 30)
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"begun must be a share in \[0, 1\]"):
            begun_by_reference(8, share, 5, rng)


def test_path_consistency_pays_nothing_for_what_pi0_began(tmp_path: Path) -> None:
    args = PathConsistencyArguments(env_id="klrl/DiagnosticGold-v0", tokens=100, begun=1.0, out=str(tmp_path))
    learner = PathConsistency(args, Training(args, "path_consistency"), prepare(args))
    for weight in learner.policy.actor_weights():
        torch.nn.init.normal_(weight, std=0.3)
    texts = learner.write()
    begun = (texts.log_ratios.abs() < 1e-6) & texts.mask
    assert begun[:, 0].all() and (texts.log_ratios[texts.mask].abs() > 1e-3).any()
    assert learner.step(texts, 0.5).isfinite()


def test_a_language_model_refuses_before_it_writes(tmp_path: Path) -> None:
    args = PathConsistencyArguments(
        env_id="klrl/Sentiment-v0", tokens=100, begun=0.5, train="all", out=str(tmp_path)
    )
    training = Training(args, "path_consistency")
    with pytest.raises(ValueError, match="begun must be 0 with train all"):
        PathConsistency(args, training, torch.device("cpu"))
    assert not training.tokens
