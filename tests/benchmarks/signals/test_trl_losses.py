"""TRL's own code as losses: what is right is right, and many calls at once are what single calls are."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.signals import formulas, trl_rows
from benchmarks.signals.row import TASK
from benchmarks.signals.trl_losses import Called
from klrl_envs.signals import Loss
from klrl_envs.signals.calls import calls_of
from klrl_envs.signals.check import cosine
from klrl_envs.signals.directions import followed, objective
from klrl_envs.signals.expected import Sampler, Signal
from klrl_envs.signals.policy import random_policy

pytest.importorskip("trl")
pytest.importorskip("datasets")

ROWS = random_policy(TASK, 3)
LONGEST = TASK.tokens.shape[1]
COUPLED = {row.name for row in trl_rows.ROWS if row.batch > 1}


def signal(loss: Loss, group: int = 4, batch: int = 1, sampler: Sampler | None = None) -> Signal:
    return Signal(loss, TASK, calls_of(TASK.prompts, TASK.texts, group, batch), sampler)


def test_rloo_without_normalising_has_the_objective_s_gradient() -> None:
    ours = signal(Called("RLOO", {}).loss(LONGEST))
    assert ours.vectorised
    for rows in (TASK.reference, ROWS):
        found = -ours.gradients(rows).mean
        assert cosine(found[:, :-1], objective(TASK, rows)[:, :-1]) == pytest.approx(1.0, abs=1e-12)
        np.testing.assert_allclose(found[:, :-1], objective(TASK, rows)[:, :-1], atol=1e-12)
        assert (found[:, -1] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("row", trl_rows.ROWS, ids=lambda row: row.name)
def test_many_calls_at_once_are_what_single_calls_are(row) -> None:
    ours = signal(row.loss(), sampler=Sampler(steps=2, rate=0.5))
    coupled = row.name in COUPLED
    assert ours.vectorised == (not coupled)
    if not coupled:
        many = ours.gradients(ROWS).each
        ours.vectorised = False
        np.testing.assert_allclose(many, ours.gradients(ROWS).each, rtol=1e-9, atol=1e-12)


def test_prompts_that_a_deviation_couples_are_called_one_after_the_other() -> None:
    ours = signal(Called("GRPO", {"scale_rewards": "batch"}).loss(LONGEST), group=2, batch=2)
    assert not ours.vectorised and len(ours.gradients(ROWS).drawn.weights) == 100


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"loss_type": "dr_grpo", "scale_rewards": "none"},
            "E[r] - 1.33 kl_coef the KL(pi || pi0) of visited states",
        ),
        (
            {"loss_type": "dr_grpo", "scale_rewards": "none", "use_bias_correction_kl": False},
            "E[r] - 1.33 kl_coef the KL(pi0 || pi) of visited states",
        ),
    ],
)
def test_grpo_follows_what_its_estimator_does(settings: dict, told: str) -> None:
    """The mean of a group of 4 has a text's own reward in it, which shrinks the reward by a quarter."""
    ours, policies = signal(Called("GRPO", settings).loss(LONGEST)), [TASK.reference, ROWS]
    found = followed(TASK, policies, [-ours.gradients(rows).mean for rows in policies])
    assert str(found) == told


def test_what_trl_computes_is_the_formula_on_every_call() -> None:
    """GRPO as published: TRL's epsilon beside the deviation is 1e-4."""
    ours = signal(
        Called("GRPO", {"loss_type": "grpo", "use_bias_correction_kl": False}).loss(LONGEST)
    ).gradients(ROWS)
    theirs = signal(formulas.grpo).gradients(ROWS)
    np.testing.assert_allclose(ours.each, theirs.each, rtol=5e-2, atol=5e-3)
    assert cosine(ours.mean, theirs.mean) == pytest.approx(1.0, abs=1e-4)


def test_told_to_make_several_steps_it_clips_and_else_it_does_not() -> None:
    """With one step a batch GRPO takes the present policy for the one that wrote."""
    steps = Sampler(steps=4, rate=4.0)
    settings = {"loss_type": "dr_grpo", "scale_rewards": "none"}
    kept, blind = (
        signal(Called("GRPO", settings, steps=count).loss(LONGEST), sampler=steps).gradients(ROWS).mean
        for count in (4, 1)
    )
    assert np.linalg.norm(kept - blind) > 1e-3
    once, same = (
        signal(Called("GRPO", settings, steps=count).loss(LONGEST)).gradients(ROWS).mean for count in (4, 1)
    )
    np.testing.assert_allclose(once, same, atol=1e-12)
