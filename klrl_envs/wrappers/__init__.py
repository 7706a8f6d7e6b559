"""Wrappers: what an agent is paid and shown in training. Scores are always those of the plain task."""

from klrl_envs.wrappers.episodes import Episode, append_line, append_lines
from klrl_envs.wrappers.kl_reward import KLReward, VectorKLReward
from klrl_envs.wrappers.learned_reward import LearnedReward, VectorLearnedReward
from klrl_envs.wrappers.observations import (
    ReferenceFeatures,
    StateIndex,
    VectorReferenceFeatures,
    VectorStateIndex,
)
from klrl_envs.wrappers.recorder import Recorder, VectorRecorder
from klrl_envs.wrappers.rewards import DelayedReward, NoisyReward
from klrl_envs.wrappers.start import RandomStart

__all__ = [
    "DelayedReward",
    "Episode",
    "KLReward",
    "LearnedReward",
    "NoisyReward",
    "RandomStart",
    "Recorder",
    "ReferenceFeatures",
    "StateIndex",
    "VectorKLReward",
    "VectorLearnedReward",
    "VectorRecorder",
    "VectorReferenceFeatures",
    "VectorStateIndex",
    "append_line",
    "append_lines",
]
