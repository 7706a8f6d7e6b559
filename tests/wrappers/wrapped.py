"""The environments that are wrapped, and policies of them."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false

from __future__ import annotations

import numpy as np

from klrl_envs import RewardAutomaton, exact_task
from tests.oracles import random_bigram, random_rows

GRID = "klrl/GridNavigation-v0"
TILTED = np.log(np.array([0.55, 0.2, 0.15, 0.1]))


SIZE, END = 5, 0


def tilted(observations):
    """A policy of the grid that depends on the heading that it sees."""
    return TILTED[(np.arange(4) + np.asarray(observations)[:, 2:3]) % 4]


def text_env(kl_coef=0.5, horizon=4):
    """Five tokens, of which 0 ends; the reward of a step is the token / 10."""
    reference = random_bigram(np.random.default_rng(7), SIZE)
    transition = np.tile(np.arange(SIZE), (SIZE, 1))
    reward = np.tile(np.arange(SIZE) / 10, (SIZE, 1))
    automaton = RewardAutomaton(transition, reward, np.full(SIZE, 1.0))
    return exact_task(reference, automaton, horizon=horizon, kl_coef=kl_coef, end_token=END)


def random_row(seed: int = 0):
    """A policy of the text environment: the same random row everywhere."""
    row = random_rows(np.random.default_rng(seed), SIZE)
    return lambda observations: np.tile(row, (len(observations), 1))
