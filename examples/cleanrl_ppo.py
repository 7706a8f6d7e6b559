"""CleanRL's ppo.py on GridNavigation-v0: the file as it is published, run as a script.

    pip install 'klrl-envs[cleanrl]'
    git clone --depth 1 https://github.com/vwxyzjn/cleanrl     # single files, which no registry has
    CLEANRL=cleanrl python -m examples.cleanrl_ppo

The script asks Gymnasium for an id. This one is the environment's, with the KL in its reward; the policy
whose KL is paid is what the script calls ``agent``.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium as gym

from examples.common import ENV_ID, KL_COEF, LANES, STEPS, main
from klrl_envs.policies import TorchPolicy
from klrl_envs.wrappers import KLReward

PAID_ID = "examples/PaidGridNavigation-v0"


def script() -> Path:
    """CleanRL's ppo.py, in the checkout that the variable CLEANRL names.

    Raises:
        FileNotFoundError: there is none.
    """
    file = Path(os.environ.get("CLEANRL", "cleanrl"), "cleanrl", "ppo.py").resolve()
    if not file.is_file():
        raise FileNotFoundError(f"no {file}: have the variable CLEANRL name a checkout of CleanRL")
    return file


def paid_env(**kwargs: Any) -> gym.Env[Any, Any]:
    """The environment with the KL of the running script's agent in its reward."""

    def log_prob(features: Any) -> Any:
        return TorchPolicy(vars(sys.modules["__main__"])["agent"].actor).log_probs(features)

    return KLReward(gym.make(ENV_ID, **kwargs), KL_COEF, log_prob)


def train(tokens: int, seed: int) -> TorchPolicy:
    """What the script's agent has learnt from so many tokens."""
    file = script()
    gym.register(PAID_ID, paid_env)
    words = (
        f"--env-id {PAID_ID} --total-timesteps {tokens} --seed {seed} --num-envs {LANES} --num-steps {STEPS} "
        "--learning-rate 1e-3 --no-anneal-lr --update-epochs 10 --gamma 1 --ent-coef 0 --no-clip-vloss "
        "--no-norm-adv --no-cuda"
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),  # TensorBoard's files
        mock.patch.object(sys, "argv", [str(file), *words.split()]),
    ):
        names = runpy.run_path(str(file), run_name="__main__")
    return TorchPolicy(names["agent"].actor)


if __name__ == "__main__":
    main(train, __doc__)
