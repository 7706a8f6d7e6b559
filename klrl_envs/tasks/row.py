"""A row of the registry: an environment as data, and the function that makes its task."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from klrl_envs.reference.device import device_named, reference_on
from klrl_envs.tasks.base import Source, Task, check_split

NAMESPACE = "klrl"


def short_id(env_id: str) -> str:
    """An id as people read it: without its namespace where that is the suite's."""
    return env_id.removeprefix(f"{NAMESPACE}/")


KEYWORDS = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

Settings = dict[str, Any]
"""Arguments of an environment; what they do not name is its default."""


@dataclass(frozen=True)
class Row:
    """An environment.

    Attributes:
        id: without the namespace, such as "Keywords-v0".
        task: the function that makes the ``Task``, or where it is, as "module:function".
        kl_coef: the coefficient that the leaderboard scores, in reward per nat.
        token_budget: tokens that an agent may write in training to enter the leaderboard.
        tags: "exact" or "neural", "text" or "grid", and "diagnostic" for those of one property each.
        summary: one line for lists.
        sweep: of a diagnostic, the settings that it is run with, in the order shown.
        namespace: what stands before the slash.
    """

    id: str
    task: str | Callable[..., Task]
    kl_coef: float
    token_budget: int
    tags: tuple[str, ...]
    summary: str
    sweep: tuple[Settings, ...] = ()
    namespace: str = NAMESPACE

    @property
    def features_id(self) -> str:
        """The id whose observations are float32 features: "KeywordsFeatures-v0"."""
        name, version = self.id.rsplit("-", 1)
        return f"{name}Features-{version}"

    @property
    def gym_id(self) -> str:
        """The id that ``gym.make`` takes."""
        return f"{self.namespace}/{self.id}"

    @property
    def gym_features_id(self) -> str:
        """The features id that ``gym.make`` takes."""
        return f"{self.namespace}/{self.features_id}"

    @property
    def task_id(self) -> str:
        """The id of its tasks: with a namespace where that is another than the suite's."""
        return short_id(self.gym_id)

    def function(self) -> Callable[..., Task]:
        """The function that makes the task."""
        if callable(self.task):
            return self.task
        module, name = self.task.split(":")
        return getattr(importlib.import_module(module), name)

    @property
    def function_name(self) -> str:
        """Where the function is, as "module:function"."""
        return f"{self.task.__module__}:{self.task.__qualname__}" if callable(self.task) else self.task

    def specification(self) -> str:
        """The environment's page, in Markdown below its title: the docstring of its function, or of the
        module where that is the page; the summary where there is neither.
        """
        function = self.function()
        page = inspect.getdoc(function) or ""
        module = inspect.getdoc(inspect.getmodule(function)) or ""
        return module if "## " in module and "## " not in page else page or self.summary

    def arguments(self) -> dict[str, Any]:
        """The arguments of the environment's own with their defaults, kl_coef and prompts among them.

        Every environment takes ``device`` beside them, which moves no number of the task but by rounding.
        """
        parameters = inspect.signature(self.function()).parameters.values()
        declared = {each.name: each.default for each in parameters if each.default is not each.empty}
        return {**declared, "kl_coef": self.kl_coef, "prompts": "train"}

    def make(self, *, device: str = "cpu", **arguments: Any) -> Task:
        """The task for some of the arguments, with its id and what makes it again.

        Args:
            device: of the reference's network, "auto" (CUDA where there is one), "cpu" or "cuda"; a table
                has none.
            **arguments: the environment's own.

        Raises:
            ValueError: an argument out of range, or a device that is not there.
            TypeError: an argument that the environment does not have, or a function that makes no task.
        """
        device = device_named(device)
        parameters = inspect.signature(self.function()).parameters
        known = (*parameters, *(() if "prompts" in parameters else ("prompts",)))
        unknown = [name for name in arguments if name not in known]
        if unknown:
            raise TypeError(
                f"{self.gym_id} has no argument {unknown[0]!r} (got an unexpected keyword argument "
                f"{unknown[0]!r}); it has {', '.join(known)}, device"
            )
        given = {**self.arguments(), **arguments}
        check_split(given["prompts"])
        if "prompts" not in parameters:
            del given["prompts"]  # there are none: both splits are alike
        task: Any = self.function()(**given)
        if not isinstance(task, Task):
            raise TypeError(f"the function of {self.gym_id} must return a Task, returned {task!r}")
        if (task.exact is not None) != ("exact" in self.tags):
            kind = "neural" if task.exact is None else "exact"
            raise ValueError(f"{self.gym_id} is {kind}: its tags must say so, got {', '.join(self.tags)}")
        module = None if self.namespace == NAMESPACE else self.function().__module__
        source = Source(self.make, given, module, device)
        return replace(task, id=self.task_id, source=source, reference=reference_on(task.reference, device))


def check_function(env_id: str, task: str | Callable[..., Task]) -> None:
    """Raise TypeError unless ``task`` is, or names, a function of keyword arguments, kl_coef among them."""
    if isinstance(task, str):
        module, colon, name = task.partition(":")
        if not (module and colon and name):
            raise TypeError(f"the task of {env_id} must be a function or 'module:function', got {task!r}")
        return
    if not callable(task):  # pyright: ignore[reportUnnecessaryComparison]
        raise TypeError(f"the task of {env_id} must be a function or 'module:function', got {task!r}")
    parameters = inspect.signature(task).parameters.values()
    wrong = [each.name for each in parameters if each.kind not in KEYWORDS]
    if wrong or "kl_coef" not in [each.name for each in parameters]:
        raise TypeError(
            f"the function of {env_id} must take its arguments as keywords, kl_coef among them"
            + (f"; {wrong[0]} is none" if wrong else "")
        )


def diagnostic(
    name: str, module: str, kl_coef: float, summary: str, sweep: tuple[Settings, ...] = ({},)
) -> Row:
    """A row of the suite that tests one property."""
    return Row(
        id=f"Diagnostic{name}-v0",
        task=f"klrl_envs.tasks.diagnostics.{module}:task",
        kl_coef=kl_coef,
        token_budget=200_000,
        tags=("exact", "text", "diagnostic"),
        summary=summary,
        sweep=sweep,
    )


def lock(probability: float) -> Settings:
    """A lock with the kl_coef at which the optimum opens it with probability two thirds, to four digits."""
    return {"probability": probability, "kl_coef": float(f"{1 / math.log(2 / probability):.4g}")}
