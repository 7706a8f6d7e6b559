"""The text policy: written, read and evaluated, it is one policy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import klrl_envs
from agents.networks.heads import TextPolicy
from agents.networks.make import make_network
from agents.networks.trajectories import make_engine
from klrl_envs import Prompts


@pytest.mark.parametrize("critic", [True, False])
@pytest.mark.parametrize("lengths", [None, [0, 1, 2, 3, 5, 8, 8, 0]])
def test_a_text_policy_reads_what_it_wrote_as_it_was_written(critic: bool, lengths: list[int] | None) -> None:
    """Step by step, in one pass over the trajectories, and from the beginning as the evaluation does.

    Also after prompts of different lengths, and after none.
    """
    task = klrl_envs.make_task("Sentiment-v0")
    if lengths is not None:
        cut = np.array(lengths)
        tokens = np.where(np.arange(8) < cut[:, None], task.prompts.tokens[:8], task.pad)
        task = dataclasses.replace(task, prompts=Prompts(tokens, cut))  # type: ignore[type-var]
    torch.manual_seed(1)
    policy = make_network(task, critic=critic)
    assert isinstance(policy, TextPolicy) and (policy.evidence.pairs is not None) == critic
    torch.nn.init.normal_(policy.actor[-1].weight, std=0.2)  # type: ignore[arg-type]
    if critic:
        torch.nn.init.normal_(policy.evidence.pairs.weight)  # type: ignore[union-attr]
    engine = make_engine(task, 8, 0)
    trajectories = policy.write(engine, np.arange(8), torch.Generator().manual_seed(0))
    assert trajectories.kl.sum(1).min() > 0.1
    with torch.no_grad():
        log_probs, kl = policy.scores(trajectories, torch.arange(8))
    torch.testing.assert_close(log_probs, trajectories.log_probs, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(kl, trajectories.kl, rtol=1e-3, atol=1e-4)
    scored, _ = policy.for_evaluation(task)
    rows = [scored.start(task.prompts.tokens[:8])]
    for column in trajectories.actions.T[:-1].numpy():
        rows.append(scored.step(column))
    taken = torch.from_numpy(np.stack(rows, 1)).gather(-1, trajectories.actions[..., None]).squeeze(-1)
    mask = trajectories.mask
    torch.testing.assert_close(taken[mask], trajectories.log_probs[mask], rtol=1e-3, atol=1e-4)
    until = task.prompts.lengths[:8, None] + 12
    anew = scored.log_probs(np.where(np.arange(task.max_length) < until, trajectories.tokens.numpy(), 0))
    long = engine.time >= 12
    np.testing.assert_allclose(anew[long], rows[12][long], rtol=1e-3, atol=1e-4)
