"""skrl's PPO on GridNavigation-v0, in lanes side by side, with the KL in their rewards.

pip install 'klrl-envs[skrl]'
python -m examples.skrl_ppo
"""

from __future__ import annotations

from typing import Any

from skrl.agents.torch import ExperimentCfg
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import CategoricalMixin, DeterministicMixin, Model
from skrl.trainers.torch import SequentialTrainer
from skrl.utils import set_seed
from torch import Tensor, nn

from examples.common import LANES, STEPS, begin_at_reference, main, vector_env
from klrl_envs.policies import TorchPolicy


def perceptron(inputs: int, outputs: int) -> nn.Module:
    """Two layers of 64."""
    return nn.Sequential(
        nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs)
    )


class Policy(CategoricalMixin, Model):
    """Logits of the tokens."""

    def __init__(self, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        CategoricalMixin.__init__(self)
        self.network = begin_at_reference(perceptron(self.num_observations, self.num_actions))

    def compute(self, inputs: dict[str, Any], role: str = "") -> tuple[Tensor, dict[str, Any]]:
        """As skrl asks for them."""
        return self.network(inputs["observations"]), {}


class Value(DeterministicMixin, Model):
    """What is still to come."""

    def __init__(self, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        DeterministicMixin.__init__(self)
        self.network = begin_at_reference(perceptron(self.num_observations, 1), 1.0)

    def compute(self, inputs: dict[str, Any], role: str = "") -> tuple[Tensor, dict[str, Any]]:
        """As skrl asks for it."""
        return self.network(inputs["observations"]), {}


def train(tokens: int, seed: int) -> TorchPolicy:
    """What PPO has learnt from so many tokens."""
    set_seed(seed)
    env: Any = wrap_env(vector_env(lambda features: trained.log_probs(features)))
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space, "device": "cpu"}
    policy = Policy(**spaces)
    trained = TorchPolicy(policy.network)
    agent = PPO(
        models={"policy": policy, "value": Value(**spaces)},
        memory=RandomMemory(memory_size=STEPS, num_envs=LANES, device="cpu"),
        cfg=PPO_CFG(
            rollouts=STEPS, learning_epochs=10, mini_batches=4, discount_factor=1.0, learning_rate=1e-3,
            value_clip=0.0, value_loss_scale=0.5,
            experiment=ExperimentCfg(write_interval=0, checkpoint_interval=0),
        ),
        **spaces,
    )  # fmt: skip
    settings = {"timesteps": tokens // LANES, "headless": True, "disable_progressbar": True}
    SequentialTrainer(env=env, agents=agent, cfg=settings).train()
    return trained


if __name__ == "__main__":
    main(train, __doc__)
