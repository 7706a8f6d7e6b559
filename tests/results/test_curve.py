"""Learning curves from recorded lines."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klrl_envs
from klrl_envs.envs.token_env import TokenEnv
from klrl_envs.envs.vector_env import TokenVectorEnv
from klrl_envs.results.curve import EPISODES, Curve, Means, learning_curve
from klrl_envs.results.curve_figure import draw_curves
from klrl_envs.wrappers import Recorder, VectorKLReward, VectorRecorder, append_line
from tests.results.records import record

MODES = "klrl/DiagnosticModes-v0"


def lines(path: Path, tokens: Any, rewards: Any, nats: Any, lanes: int = 1) -> Path:
    """A recorder's lines with these numbers."""
    for place, (spent, reward, k1) in enumerate(zip(tokens, rewards, nats)):
        line = {
            "tokens": int(spent),
            "task_reward": float(reward),
            "k1": k1,
            "length": 1,
            "lane": place % lanes,
        }
        append_line(path, line)
    return path


def test_windows_are_means_of_the_episodes_that_end_in_them(tmp_path: Path):
    rng = np.random.default_rng(0)
    tokens = np.sort(rng.integers(1, 1001, 300))
    tokens[-1] = 1000
    rewards, nats = rng.random(300), rng.random(300)
    order = rng.permutation(300)  # as two processes would leave it
    path = lines(tmp_path / "x.jsonl", tokens[order], rewards[order], nats[order].tolist())
    curve = learning_curve(path, env_id=MODES, window=250)
    best = klrl_envs.optimum(MODES)
    assert curve.tokens.tolist() == [250, 500, 750, 1000] and curve.agent == "x" and curve.env_id == MODES
    assert curve.score is not None and best.gap is not None and not curve.approximate
    for window in range(4):
        inside = (tokens > 250 * window) & (tokens <= 250 * (window + 1))
        objective = rewards[inside] - best.kl_coef * nats[inside]
        assert curve.episodes[window] == inside.sum()
        assert curve.reward.mean[window] == pytest.approx(rewards[inside].mean())
        assert curve.kl.mean[window] == pytest.approx(nats[inside].mean())
        assert curve.objective.mean[window] == pytest.approx(objective.mean())
        score = (objective - best.reference_value) / best.gap
        assert curve.score.mean[window] == pytest.approx(score.mean())
        expected = score.std(ddof=1) / inside.sum() ** 0.5
        assert curve.score.stderr[window] == pytest.approx(expected)


def test_the_reference_and_the_optimum_lie_where_they_must(tmp_path: Path):
    """What VectorRecorder writes of the two policies, as a curve: 0 and 1 within five standard errors."""
    task = klrl_envs.make_task(MODES)
    best = klrl_envs.optimum(MODES)
    assert best.policy is not None
    known = {
        name: (found.kl, found.comparison.entropy.estimate)
        for name in ("reference", "optimal")
        if (found := klrl_envs.evaluate_exactly(name, MODES)).comparison is not None
    }
    for name, target in (("reference", 0.0), ("optimal", 1.0)):
        env: Any = TokenVectorEnv(task, 64)
        engine, solution = env.engine, best.policy

        def rows(_: Any, engine: Any = engine, name: str = name, solution: Any = solution) -> Any:
            if name == "reference":
                return engine.reference_log_probs()
            time = np.minimum(engine.time, task.horizon - 1)
            return solution.log_probs(engine.context, engine.state, time)

        env = VectorRecorder(VectorKLReward(env, task.kl_coef, rows), str(tmp_path / f"{name}.jsonl"))
        rng = np.random.default_rng(0)
        env.reset(seed=0)
        for _ in range(300):
            env.step(klrl_envs.sample_rows(np.asarray(rows(None), dtype=np.float64), rng))
        curve = learning_curve(tmp_path / f"{name}.jsonl", env_id=MODES)
        assert curve.score is not None and len(curve.tokens) > 5
        assert curve.tokens[-1] <= engine.taken < curve.tokens[-1] + curve.window + 64
        kl, entropy = known[name]
        for means, expected in ((curve.kl, kl), (curve.exact_kl, kl), (curve.entropy, entropy)):
            assert np.abs(means.mean - expected).max() < 5 * means.stderr.max() + 1e-9
        assert np.abs(curve.score.mean - target).max() < 5 * curve.score.stderr.max() + 1e-9


def test_lines_that_do_not_know_an_entropy_give_none(tmp_path: Path):
    path = lines(tmp_path / "x.jsonl", range(1, 101), np.ones(100), [0.5] * 100)
    curve = learning_curve(path, env_id=MODES, window=50)
    assert np.isnan(curve.entropy.mean).all() and np.isnan(curve.exact_kl.mean).all()
    assert curve.kl.mean.tolist() == [0.5, 0.5]


def test_a_folder_says_whose_curve_it_is(tmp_path: Path):
    lines(tmp_path / EPISODES, range(1, 101), np.ones(100), [0.5] * 100)
    with pytest.raises(ValueError, match=r"no result\.json beside"):
        learning_curve(tmp_path)
    record(env_id="klrl/GridNavigation-v0", env_kwargs={"size": 4}).save(tmp_path / "result.json")
    curve = learning_curve(tmp_path)
    assert (curve.agent, curve.env_id, curve.kl_coef) == ("toy", "klrl/GridNavigation-v0", 8.0)
    best = klrl_envs.optimum("klrl/GridNavigation-v0", size=4)
    assert curve.score is not None and best.gap is not None
    assert curve.score.mean[0] == pytest.approx((1 - 8 * 0.5 - best.reference_value) / best.gap)
    assert learning_curve(tmp_path, agent="me").agent == "me"


def test_without_kl_there_is_reward_alone(tmp_path: Path):
    path = lines(tmp_path / "x.jsonl", range(1, 101), np.arange(100), [None] * 100)
    curve = learning_curve(path, env_id="klrl/Arithmetic-v0", window=50)
    assert curve.reward.mean.tolist() == [24.5, 74.5] and curve.approximate
    assert curve.score is not None and np.isnan(curve.score.mean).all() and curve.tokens_to(0.0) is None


def test_a_window_holds_all_lanes(tmp_path: Path):
    """Else short episodes and long ones, which end together, would take turns."""
    path = tmp_path / "x.jsonl"
    lines(path, range(100, 10_100, 100), np.ones(100), [0.0] * 100, lanes=50)
    append_line(path, {"tokens": 10_100, "task_reward": 1.0, "k1": 0.0, "length": 80, "lane": 0})
    assert learning_curve(path, env_id=MODES).window == 50 * 80
    assert learning_curve(path, env_id=MODES, window=1000).episodes.tolist() == [10] * 10


def test_wrong_lines_and_windows_are_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        learning_curve(tmp_path / "none.jsonl", env_id=MODES)
    path = lines(tmp_path / "x.jsonl", range(1, 11), np.ones(10), [0.0] * 10)
    for window in (0, 11):
        with pytest.raises(ValueError, match=f"window must be 1 to the 10 tokens of .*, got {window}"):
            learning_curve(path, env_id=MODES, window=window)
    append_line(path, {"tokens": 3})
    with pytest.raises(ValueError, match="line 11: no line of a recorder"):
        learning_curve(path, env_id=MODES)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ValueError, match="window must be 1 to the 0 tokens"):
        learning_curve(tmp_path / "empty.jsonl", env_id=MODES)


def made(agent: str, scores: Any, **changes: Any) -> Curve:
    means = Means(np.array(scores, dtype=float), np.full(len(scores), 0.05))
    parts: dict[str, Any] = {
        "env_id": MODES, "agent": agent, "kl_coef": 0.18, "window": 10,
        "tokens": np.arange(1, len(scores) + 1) * 10, "episodes": np.full(len(scores), 5),
        "reward": means, "kl": means, "exact_kl": means, "entropy": means, "objective": means,
        "score": means, "approximate": False,
    }  # fmt: skip
    return Curve(**{**parts, **changes})


def test_tokens_to_a_level():
    curve = made("a", [0.1, 0.6, 0.4, 0.95])
    assert [curve.tokens_to(level) for level in (0.0, 0.5, 0.9, 0.99)] == [10, 20, 40, None]
    assert made("a", [0.1], score=None).tokens_to(0.0) is None


def test_the_figure_is_drawn(tmp_path: Path):
    pytest.importorskip("matplotlib")
    none = Means(np.full(3, np.nan), np.full(3, np.nan))
    curves = [
        made("a", [0.1, 0.5, 0.9]),
        made("b", [0.1, -3.0, 0.2], approximate=True),
        made("c", [0.1, 0.2, 0.3], env_id="klrl/Keywords-v0", score=None, kl=none, objective=none),
    ]
    for name in ("x.png", "x.svg"):
        draw_curves(curves, tmp_path / name)
        draw_curves(curves, tmp_path / f"again-{name}")
        assert (tmp_path / name).read_bytes() == (tmp_path / f"again-{name}").read_bytes()
    text = (tmp_path / "x.svg").read_text()
    assert "DiagnosticModes-v0, kl_coef 0.18" in text and "approximate" in text
    with pytest.raises(ValueError, match="at least one curve"):
        draw_curves([], tmp_path / "none.png")


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"klrl-envs\[plots\]"):
        draw_curves([made("a", [0.1, 0.5])], tmp_path / "x.png")


def test_recorders_of_one_and_of_several_lanes_agree_in_form(tmp_path: Path):
    task = klrl_envs.make_task(MODES)
    single = Recorder(TokenEnv(task), str(tmp_path / "one.jsonl"))
    several: Any = VectorRecorder(TokenVectorEnv(task, 2), str(tmp_path / "two.jsonl"))
    single.reset(seed=0)
    several.reset(seed=0)
    while not (tmp_path / "one.jsonl").exists():
        single.step(1)
        several.step(np.ones(2, dtype=np.int64))
    one, two = (
        json.loads((tmp_path / name).read_text().splitlines()[0]) for name in ("one.jsonl", "two.jsonl")
    )
    assert list(one) == list(two) and one["text"] == two["text"] and two["tokens"] == 2 * one["tokens"]
