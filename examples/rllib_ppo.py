"""RLlib's PPO on GridNavigation-v0: a learner connector pays the KL, from the episodes' own log-probs.

pip install 'klrl-envs[rllib]'
python -m examples.rllib_ppo
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

from examples.common import ENV_ID, KL_COEF, LANES, STEPS, main
from klrl_envs.policies import TorchPolicy

# begins at the reference, as ``examples.common.begin_at_reference`` says
MODEL = DefaultModelConfig(
    fcnet_hiddens=[64, 64], vf_share_layers=False,
    fcnet_kernel_initializer="orthogonal_", fcnet_kernel_initializer_kwargs={"gain": 2**0.5},
    head_fcnet_kernel_initializer="orthogonal_", head_fcnet_kernel_initializer_kwargs={"gain": 0.01},
)  # fmt: skip


class PayKL(ConnectorV2):
    """Before advantages are made of them: rewards less kl_coef (log pi - log pi0) of the token taken."""

    def __call__(self, *, batch: Any, episodes: Any, **kwargs: Any) -> Any:
        """The batch as it was, with other rewards in its episodes."""
        for episode in self.single_agent_episode_iterator(episodes):
            own = np.array(episode.get_extra_model_outputs("action_logp"))
            reference = np.array([info["reference_log_prob"] for info in episode.get_infos()[1:]])
            paid = np.array(episode.get_rewards()) - KL_COEF * (own - reference)
            episode.set_rewards(new_data=paid.tolist(), at_indices=list(range(len(paid))))
        return batch


def train(tokens: int, seed: int) -> TorchPolicy:
    """What PPO has learnt from so many tokens, in this process."""
    config = (
        PPOConfig()
        .environment(ENV_ID)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=LANES, rollout_fragment_length=STEPS)
        .learners(num_learners=0)
        .training(
            gamma=1.0, lr=1e-3, train_batch_size_per_learner=LANES * STEPS, minibatch_size=256, num_epochs=10,
            use_kl_loss=False, entropy_coeff=0.0, vf_clip_param=float("inf"), grad_clip=0.5,
            learner_connector=lambda *_: PayKL(),
        )
        .rl_module(model_config=MODEL)
        .debugging(seed=seed, log_level="ERROR")
    )  # fmt: skip
    algorithm = config.build_algo()
    for _ in range(max(tokens // (LANES * STEPS), 1)):
        algorithm.train()
    module: Any = algorithm.get_module()
    algorithm.stop()

    class Actor:
        """The module's logits, for arrays of features."""

        parameters = module.parameters

        def __call__(self, features: Any) -> Any:
            return module.forward_inference({"obs": features})["action_dist_inputs"]

    return TorchPolicy(Actor())


if __name__ == "__main__":
    main(train, __doc__)
