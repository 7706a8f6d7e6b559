"""Stable-Baselines3's PPO on GridNavigation-v0: a callback pays the KL, from the rollout's own log-probs.

pip install 'klrl-envs[agents]'
python -m examples.sb3_ppo
"""

from __future__ import annotations

from stable_baselines3 import PPO

from examples.common import ENV_ID, LANES, STEPS, main
from klrl_envs.integrations.sb3 import KLCallback, SB3VecEnv
from klrl_envs.policies import SB3Policy


def train(tokens: int, seed: int) -> SB3Policy:
    """What PPO has learnt from so many tokens."""
    model = PPO(
        "MlpPolicy", SB3VecEnv(ENV_ID, num_envs=LANES), n_steps=STEPS, batch_size=256, learning_rate=1e-3,
        gamma=1.0, ent_coef=0.0, normalize_advantage=False, seed=seed, device="cpu",
    )  # fmt: skip
    model.learn(tokens, callback=KLCallback())
    return SB3Policy(model)


if __name__ == "__main__":
    main(train, __doc__)
