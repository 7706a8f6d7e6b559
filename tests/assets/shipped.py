"""The recipes whose files ship, and those that can be built but wait for their long training."""

from __future__ import annotations

from klrl_envs.assets.build.__main__ import recipes

WAITING = {"prose", "prose_prompts"}
SHIPPED = {name: recipe for name, recipe in recipes().items() if name not in WAITING}
