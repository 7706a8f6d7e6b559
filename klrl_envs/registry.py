"""The suite as data: one row an environment, one loop registers them, one function makes a task."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from klrl_envs.tasks.base import Task

NAMESPACE = "klrl"


@dataclass(frozen=True)
class Row:
    """An environment.

    Attributes:
        id: without the namespace, such as "Keywords-v0".
        task: "module:function" that makes the ``Task``; its docstring is the specification.
        kl_coef: the coefficient that the leaderboard scores, in reward per nat.
        token_budget: tokens that an agent may write in training to enter the leaderboard.
        tags: "exact" or "neural", "text" or "grid", and "diagnostic" for those of one property each.
        summary: one line for lists.
    """

    id: str
    task: str
    kl_coef: float
    token_budget: int
    tags: tuple[str, ...]
    summary: str

    @property
    def features_id(self) -> str:
        """The id whose observations are float32 features: "KeywordsFeatures-v0"."""
        name, version = self.id.rsplit("-", 1)
        return f"{name}Features-{version}"

    @property
    def gym_id(self) -> str:
        """The id that ``gym.make`` takes."""
        return f"{NAMESPACE}/{self.id}"

    @property
    def gym_features_id(self) -> str:
        """The features id that ``gym.make`` takes."""
        return f"{NAMESPACE}/{self.features_id}"

    def function(self) -> Callable[..., Task]:
        """The function that makes the task."""
        module, name = self.task.split(":")
        return getattr(importlib.import_module(module), name)


REGISTRY: tuple[Row, ...] = (
    Row(
        "GridNavigation-v0",
        "klrl_envs.tasks.grid_navigation:grid_navigation",
        kl_coef=8.0,
        token_budget=1_000_000,
        tags=("exact", "grid"),
        summary="find the target of a grid without straying from it again",
    ),
    Row(
        "Keywords-v0",
        "klrl_envs.tasks.keywords:keywords",
        kl_coef=0.04,
        token_budget=500_000,
        tags=("exact", "text"),
        summary="work eight given words into a text",
    ),
    Row(
        "NaiveBayesSentiment-v0",
        "klrl_envs.tasks.naive_bayes_sentiment:naive_bayes_sentiment",
        kl_coef=0.05,
        token_budget=500_000,
        tags=("exact", "text"),
        summary="write what a naive Bayes classifier takes for a positive review",
    ),
    Row(
        "Topic-v0",
        "klrl_envs.tasks.topic:topic",
        kl_coef=0.23,
        token_budget=500_000,
        tags=("exact", "text"),
        summary="keep to a topic, token by token, in likely words",
    ),
    Row(
        "Haiku-v0",
        "klrl_envs.tasks.haiku:haiku",
        kl_coef=0.1,
        token_budget=500_000,
        tags=("exact", "text"),
        summary="write lines of five, seven and five syllables",
    ),
    Row(
        "Recall-v0",
        "klrl_envs.tasks.recall:recall",
        kl_coef=0.1,
        token_budget=1_000_000,
        tags=("exact", "text"),
        summary="end a text with a word of the first word's class",
    ),
    Row(
        "Diversity-v0",
        "klrl_envs.tasks.diversity:diversity",
        kl_coef=0.04,
        token_budget=500_000,
        tags=("exact", "text"),
        summary="use words of many classes, each of which pays once",
    ),
    Row(
        "Brackets-v0",
        "klrl_envs.tasks.brackets:brackets",
        kl_coef=0.1,
        token_budget=500_000,
        tags=("exact", "text"),
        summary="write well-formed nested brackets of a given length",
    ),
    Row(
        "Arithmetic-v0",
        "klrl_envs.tasks.arithmetic:arithmetic",
        kl_coef=0.16,
        token_budget=1_000_000,
        tags=("exact", "text"),
        summary="answer sums of two numbers, with a hint that is sometimes wrong",
    ),
    Row(
        "DiagnosticZeroReward-v0",
        "klrl_envs.tasks.diagnostics.zero_reward:zero_reward",
        kl_coef=0.1,
        token_budget=200_000,
        tags=("exact", "text", "diagnostic"),
        summary="no reward at all: stay at the reference",
    ),
    Row(
        "DiagnosticLength-v0",
        "klrl_envs.tasks.diagnostics.length:length",
        kl_coef=0.2,
        token_budget=200_000,
        tags=("exact", "text", "diagnostic"),
        summary="the first token decides, the reward comes at the end of a long text",
    ),
    Row(
        "DiagnosticVocabulary-v0",
        "klrl_envs.tasks.diagnostics.vocabulary:vocabulary",
        kl_coef=0.1,
        token_budget=200_000,
        tags=("exact", "text", "diagnostic"),
        summary="every word has clones that mean the same",
    ),
    Row(
        "DiagnosticSparsity-v0",
        "klrl_envs.tasks.diagnostics.sparsity:sparsity",
        kl_coef=0.13,
        token_budget=200_000,
        tags=("exact", "text", "diagnostic"),
        summary="a combination lock that opens with a given probability",
    ),
    Row(
        "DiagnosticDelay-v0",
        "klrl_envs.tasks.diagnostics.delay:delay",
        kl_coef=0.15,
        token_budget=200_000,
        tags=("exact", "text", "diagnostic"),
        summary="the same reward, paid some tokens later",
    ),
    Row(
        "DiagnosticNoise-v0",
        "klrl_envs.tasks.diagnostics.noise:noise",
        kl_coef=0.1,
        token_budget=200_000,
        tags=("exact", "text", "diagnostic"),
        summary="normal noise on the reward",
    ),
    Row(
        "DiagnosticCoefficient-v0",
        "klrl_envs.tasks.diagnostics.coefficient:coefficient",
        kl_coef=0.1,
        token_budget=200_000,
        tags=("exact", "text", "diagnostic"),
        summary="one reward at many prices of KL",
    ),
    Row(
        "DiagnosticReference-v0",
        "klrl_envs.tasks.diagnostics.reference:reference",
        kl_coef=0.1,
        token_budget=200_000,
        tags=("exact", "text", "diagnostic"),
        summary="start at an initial policy that is not the reference",
    ),
    Row(
        "DiagnosticGold-v0",
        "klrl_envs.tasks.diagnostics.gold:gold",
        kl_coef=0.06,
        token_budget=200_000,
        tags=("exact", "text", "diagnostic"),
        summary="a proxy is paid, what was meant is only reported",
    ),
    Row(
        "DiagnosticModes-v0",
        "klrl_envs.tasks.diagnostics.modes:modes",
        kl_coef=0.18,
        token_budget=200_000,
        tags=("exact", "text", "diagnostic"),
        summary="several ways to succeed, none better than another",
    ),
    Row(
        "DiagnosticPromptScale-v0",
        "klrl_envs.tasks.diagnostics.prompt_scale:prompt_scale",
        kl_coef=0.2,
        token_budget=200_000,
        tags=("exact", "text", "diagnostic"),
        summary="prompts whose rewards differ a hundredfold",
    ),
    Row(
        "Sentiment-v0",
        "klrl_envs.tasks.sentiment:sentiment",
        kl_coef=0.05,
        token_budget=2_000_000,
        tags=("neural", "text"),
        summary="continue a film review so that it reads as positive",
    ),
)


def find_row(env_id: str) -> Row:
    """The row of an id, with or without the namespace, or of a features id.

    Raises:
        ValueError: no such environment.
    """
    name = env_id.removeprefix("klrl_envs:").removeprefix(f"{NAMESPACE}/")
    for row in REGISTRY:
        if name in (row.id, row.features_id):
            return row
    known = ", ".join(row.gym_id for row in REGISTRY)
    raise ValueError(f"unknown environment {env_id!r}; known are {known} and their features ids")


def is_features_id(env_id: str) -> bool:
    """Whether an id is that of a features environment."""
    return find_row(env_id).id != env_id.removeprefix("klrl_envs:").removeprefix(f"{NAMESPACE}/")


def make_task(task_id: str, **arguments: Any) -> Task:
    """The task of an id; ``arguments`` are the environment's (kl_coef, horizon, prompts, ...).

    Raises:
        ValueError: no such environment, or an argument out of range.
        TypeError: an argument that the environment does not have.
    """
    row = find_row(task_id)
    function = row.function()
    allowed = inspect.signature(function).parameters
    unknown = [name for name in arguments if name not in allowed]
    if unknown:
        raise TypeError(
            f"{row.gym_id} has no argument {unknown[0]!r}; it has {', '.join(allowed)}, "
            "and features, reference_log_prob, render_mode"
        )
    return function(**{"kl_coef": row.kl_coef, **arguments})


def register_all() -> None:
    """Register every row and its features id with Gymnasium; does nothing the second time."""
    for row in REGISTRY:
        for env_id, features in ((row.gym_id, False), (row.gym_features_id, True)):
            if env_id in gym.registry:
                continue
            gym.register(
                env_id,
                entry_point="klrl_envs.envs.token_env:TokenEnv",
                vector_entry_point="klrl_envs.envs.vector_env:TokenVectorEnv",
                kwargs={"task": row.id, "features": features},
            )
