"""What is shown of an episode: text, pixels and a window."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tests.envs.ids import PLAIN_IDS


@pytest.mark.parametrize("env_id", PLAIN_IDS)
def test_rendering_returns_text_and_pixels(env_id: str) -> None:
    env: Any = gym.make(env_id, render_mode="ansi")
    env.reset(seed=0)
    env.step(1)
    assert isinstance(env.render(), str)
    env = gym.make(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    env.step(1)
    frame = env.render()
    assert frame.dtype == np.uint8
    assert frame.ndim == 3
    assert frame.std() > 0
    frames: Any = gym.make_vec(env_id, num_envs=2, render_mode="rgb_array")
    frames.reset(seed=0)
    assert len(frames.render()) == 2


def test_a_window_shows_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env: Any = gym.make("klrl/GridNavigation-v0", render_mode="human")
    env.unwrapped.metadata["render_fps"] = 1000
    env.reset(seed=0)
    env.step(0)
    window = env.unwrapped._window
    assert window._surface.get_size() == (257, 257)
    assert tuple(window._surface.get_at((5 * 32 + 16, 5 * 32 + 16)))[:3] in ((46, 158, 91), (47, 95, 208))
    env.close()
    assert env.unwrapped._window is None
    with pytest.raises(ValueError, match="render_mode must be None or one of"):
        gym.make("klrl/GridNavigation-v0", render_mode="hologram")
