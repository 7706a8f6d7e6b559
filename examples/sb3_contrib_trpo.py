"""sb3-contrib's TRPO on GridNavigation-v0, with the callback of Stable-Baselines3's own algorithms.

pip install 'klrl-envs[sb3-contrib]'
python -m examples.sb3_contrib_trpo
"""

from __future__ import annotations

from sb3_contrib import TRPO

from examples.common import ENV_ID, LANES, STEPS, main
from klrl_envs.integrations.sb3 import KLCallback, SB3VecEnv
from klrl_envs.policies import SB3Policy


def train(tokens: int, seed: int) -> SB3Policy:
    """What TRPO has learnt from so many tokens."""
    model = TRPO(
        "MlpPolicy", SB3VecEnv(ENV_ID, num_envs=LANES), n_steps=STEPS, batch_size=256,
        target_kl=0.05, gamma=1.0, normalize_advantage=False, seed=seed, device="cpu",
    )  # fmt: skip
    model.learn(tokens, callback=KLCallback())
    return SB3Policy(model)


if __name__ == "__main__":
    main(train, __doc__)
