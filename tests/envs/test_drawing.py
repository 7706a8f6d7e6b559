"""Texts that are drawn from the reference: their rewards and log-probs are those of enumeration."""

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs import ledger
from klrl_envs.envs.drawing import draw_reference
from klrl_envs.envs.engine import Engine
from klrl_envs.reference.markov import MarkovReference
from klrl_envs.reference.vocabulary import WordVocabulary
from klrl_envs.registry import make_task
from klrl_envs.tasks.base import Prompts
from klrl_envs.tasks.text_task import TextTask
from tests.oracles import Instance, random_env, texts


def random_texts() -> TextTask:
    """Prompts of one and of two tokens, texts of up to six; what they earn is told by their tokens."""
    rows = np.log(np.random.default_rng(0).dirichlet(np.ones(5), size=6))
    return TextTask(
        id="Texts-v0",
        reference=MarkovReference(rows[-1], rows[:-1]),
        vocabulary=WordVocabulary(("a", "b", "c", "d", "."), 4),
        horizon=6,
        end_token=4,
        kl_coef=0.3,
        reward_range=(0.0, 40.0),
        prompts=Prompts.padded([[0], [1, 2]], 4),
        reward_fingerprint="0" * 64,
        score_texts=lambda tokens, lengths, texts: (
            np.where(np.arange(tokens.shape[1]) < lengths[:, None], tokens + 1.0, 0.0).sum(axis=1), {}
        ),
    )  # fmt: skip


def test_reference_draws_report_their_log_prob():
    task = random_env(tokens=4, horizon=3, kl_coef=0.4).unwrapped.task
    engine = Engine(task, 300)
    engine.seed_lanes(map(np.random.default_rng, range(300)))
    tokens, rewards, log_prob = draw_reference(
        engine, np.zeros(300, dtype=np.int64), np.random.default_rng(1)
    )
    known = {text: (log_prob, reward) for text, log_prob, reward in texts(Instance.of(task), 0)}
    for row, reward, value in zip(tokens.tolist(), rewards, log_prob):
        text = tuple(row[: row.index(0) + 1] if 0 in row else row)
        assert (value, reward) == pytest.approx(known[text])


def test_texts_are_those_that_an_engine_writes_with_all_its_lanes() -> None:
    """Of prompts of two lengths, by the same numbers, though lanes are dropped where texts have ended."""
    scored = random_texts()
    prompts = np.arange(200) % 2
    before = ledger.counts()
    tokens, rewards, log_prob = draw_reference(Engine(scored, 200), prompts, np.random.default_rng(4))
    counted = ledger.counts() - before
    engine, rng = Engine(scored, 200), np.random.default_rng(4)
    engine.reset(np.arange(200), prompts)
    expected, nats = np.zeros(200), np.zeros(200)
    before = ledger.counts()
    while not engine.done.all():
        active, lanes = ~engine.done, engine.reference_lanes
        drawn = lanes.draw(rng.random(200))
        nats[active] += lanes.log_prob(drawn)[active]
        expected += engine.step(drawn, active).reward
    lengths = engine.time
    assert len(set(lengths.tolist())) > 3 and (lengths < scored.horizon).any()
    np.testing.assert_array_equal(tokens, engine.written())
    np.testing.assert_allclose(rewards, expected)
    np.testing.assert_allclose(log_prob, nats)
    assert counted.tokens == (ledger.counts() - before).tokens == lengths.sum()


def test_an_engines_randomness_is_put_back() -> None:
    """Starts, executed actions and noise go on as they would have."""
    task = make_task("DiagnosticNoise-v0")

    def played(engine: Engine, episodes: int) -> list[float]:
        rewards: list[float] = []
        for _ in range(episodes):
            engine.reset(np.arange(4))
            while not engine.done.all():
                rewards += engine.step(np.ones(4, dtype=np.int64), ~engine.done).reward.tolist()
        return rewards

    first, second = Engine(task, 4), Engine(task, 4)
    first.seed_lanes(np.random.default_rng(0))
    second.seed_lanes(np.random.default_rng(1))
    played(first, 5)
    state = first.randomness()
    expected = played(first, 40)
    assert len(set(expected)) > 40
    assert played(second, 45) != expected
    second.restore_randomness(state)
    assert played(second, 40) == expected
