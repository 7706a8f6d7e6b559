"""Episodes that are kept: the latest, and the same again from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import klrl_envs
from agents.checkpoints import load_state, save_state
from agents.networks.kept_batches import KeptBatches
from agents.networks.make import Trained, make_network

CPU = torch.device("cpu")
CASES = [
    pytest.param("DiagnosticGold-v0", {}, id="state"),
    pytest.param("DiagnosticReference-v0", {"observe": "tokens"}, id="tokens"),
    pytest.param("Sentiment-v0", {}, id="heads"),
    pytest.param("Sentiment-v0", {"trained": Trained("lora")}, id="lora"),
]


@pytest.mark.parametrize(("task_id", "settings"), CASES)
def test_what_a_checkpoint_holds_is_learnt_from_alike(
    task_id: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    task = klrl_envs.make_task(task_id)
    policy = make_network(task, **settings)
    engine, generator = policy.engine(task, 4, 0), torch.Generator().manual_seed(0)
    replay, again = KeptBatches(2, CPU), KeptBatches(2, CPU)
    for _ in range(3):
        replay.add(policy.write(engine, np.zeros(4, dtype=np.int64), generator))
    save_state({"format": "klrl-checkpoint-2", "replay": replay.state()}, tmp_path / "state")
    again.restore(load_state(tmp_path / "state")["replay"])
    assert len(again) == len(replay) == 2
    for seed in range(4):
        kept, found = (each.draw(np.random.default_rng(seed)) for each in (replay, again))
        assert type(found) is type(kept)
        for read in (policy.scores, lambda *given: (policy.values(*given),)):
            for wanted, got in zip(read(kept, torch.arange(4)), read(found, torch.arange(4))):
                torch.testing.assert_close(got, wanted, rtol=0.0, atol=0.0)
        torch.testing.assert_close(found.rewards, kept.rewards)


def test_tables_of_a_task_are_stored_once(tmp_path: Path) -> None:
    task = klrl_envs.make_task("DiagnosticReference-v0")
    policy = make_network(task)
    engine, generator, replay = policy.engine(task, 2, 0), torch.Generator(), KeptBatches(5, CPU)
    for _ in range(3):
        replay.add(policy.write(engine, np.zeros(2, dtype=np.int64), generator))
    save_state({"format": "klrl-checkpoint-2", "replay": replay.state()}, tmp_path / "state")
    contexts = task.exact.reference.contexts if task.exact is not None else 0
    shape = (contexts, task.vocab_size)
    tables = [array for array in load_file(tmp_path / "state").values() if array.shape == shape]
    assert len(tables) == 2  # of probabilities, and of their change
