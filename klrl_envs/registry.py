"""The suite as data, one row per environment. ``register`` is open to users; ``make_task`` makes a task."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import gymnasium as gym

from klrl_envs.kl import check_kl_coef
from klrl_envs.tasks.base import Task, is_whole
from klrl_envs.tasks.row import NAMESPACE, Row, Settings, check_function, diagnostic, lock

ID = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_]+-v[0-9]+")

REGISTRY: tuple[Row, ...] = (
    Row(
        "GridNavigation-v0",
        "klrl_envs.tasks.grid_navigation:task",
        kl_coef=8.0,
        token_budget=1_000_000,
        tags=("exact", "grid"),
        summary="find the target of a grid without straying from it again",
    ),
    Row(
        "Keywords-v0",
        "klrl_envs.tasks.keywords:task",
        kl_coef=0.04,
        token_budget=500_000,
        tags=("exact", "text"),
        summary="work eight given words into a text",
    ),
    Row(
        "NaiveBayesSentiment-v0",
        "klrl_envs.tasks.naive_bayes_sentiment:task",
        kl_coef=0.05,
        token_budget=500_000,
        tags=("exact", "text"),
        summary="write what a naive Bayes classifier takes for a positive review",
    ),
    Row(
        "Topic-v0",
        "klrl_envs.tasks.topic:task",
        kl_coef=0.23,
        token_budget=500_000,
        tags=("exact", "text"),
        summary="keep to a topic, token by token, in likely words",
    ),
    Row(
        "Haiku-v0",
        "klrl_envs.tasks.haiku:task",
        kl_coef=0.1,
        token_budget=500_000,
        tags=("exact", "text"),
        summary="write lines of five, seven and five syllables",
    ),
    Row(
        "Recall-v0",
        "klrl_envs.tasks.recall:task",
        kl_coef=0.1,
        token_budget=1_000_000,
        tags=("exact", "text"),
        summary="end a text with a word of the first word's class",
    ),
    Row(
        "Diversity-v0",
        "klrl_envs.tasks.diversity:task",
        kl_coef=0.04,
        token_budget=500_000,
        tags=("exact", "text"),
        summary="use words of many classes, each of which pays once",
    ),
    Row(
        "Brackets-v0",
        "klrl_envs.tasks.brackets:task",
        kl_coef=0.1,
        token_budget=500_000,
        tags=("exact", "text"),
        summary="write well-formed nested brackets of a given length",
    ),
    Row(
        "Arithmetic-v0",
        "klrl_envs.tasks.arithmetic:task",
        kl_coef=0.16,
        token_budget=1_000_000,
        tags=("exact", "text"),
        summary="answer sums of two numbers, with a hint that is sometimes wrong",
    ),
    Row(
        "Dialogue-v0",
        "klrl_envs.tasks.dialogue:task",
        kl_coef=0.02,
        token_budget=1_000_000,
        tags=("exact", "text"),
        summary="find out by questions which film a user wishes for, and recommend it",
    ),
    diagnostic(
        "ZeroReward",
        "zero_reward",
        0.1,
        "no reward at all: stay at the reference",
    ),
    diagnostic(
        "Length",
        "length",
        0.2,
        "the first token decides, the reward comes at the end of a long text",
        tuple({"horizon": tokens} for tokens in (4, 16, 64, 256)),
    ),
    diagnostic(
        "Vocabulary",
        "vocabulary",
        0.1,
        "every word has clones that mean the same",
        tuple({"clones": number} for number in (1, 4, 16, 64)),
    ),
    diagnostic(
        "Sparsity",
        "sparsity",
        0.13,
        "a combination lock that opens with a given probability",
        tuple(lock(10.0**-digits) for digits in range(1, 7)),
    ),
    diagnostic(
        "Delay",
        "delay",
        0.15,
        "the same reward, paid some tokens later",
        tuple({"delay": tokens} for tokens in (0, 4, 12)),
    ),
    diagnostic(
        "Noise",
        "noise",
        0.1,
        "normal noise on the reward",
        tuple({"sigma": sigma} for sigma in (0.0, 1.0, 3.0)),
    ),
    diagnostic(
        "Coefficient",
        "coefficient",
        0.1,
        "one reward at many prices of KL",
        tuple({"kl_coef": price} for price in (0.02, 0.1, 0.5, 2.0)),
    ),
    diagnostic(
        "Reference",
        "reference",
        0.1,
        "start at an initial policy that is not the reference",
    ),
    diagnostic(
        "Gold",
        "gold",
        0.06,
        "a proxy is paid, what was meant is only reported",
    ),
    diagnostic(
        "Modes",
        "modes",
        0.18,
        "several ways to succeed, none better than another",
    ),
    diagnostic(
        "PromptScale",
        "prompt_scale",
        0.2,
        "prompts whose rewards differ a hundredfold",
    ),
    Row(
        "Sentiment-v0",
        "klrl_envs.tasks.sentiment:task",
        kl_coef=0.05,
        token_budget=2_000_000,
        tags=("neural", "text"),
        summary="continue a film review so that it reads as positive",
    ),
    Row(
        "WordProblems-v0",
        "klrl_envs.tasks.word_problems:task",
        kl_coef=0.2,
        token_budget=2_000_000,
        tags=("neural", "text"),
        summary="work out a sum told in words, and give the right answer",
    ),
    Row(
        "Summarization-v0",
        "klrl_envs.tasks.summarization:task",
        kl_coef=0.1,
        token_budget=1_000_000,
        tags=("neural", "text"),
        summary="say in a line what a software package is",
    ),
    Row(
        "Translation-v0",
        "klrl_envs.tasks.translation:task",
        kl_coef=0.08,
        token_budget=1_000_000,
        tags=("neural", "text"),
        summary="translate a line about software into French",
    ),
    Row(
        "QuestionAnswering-v0",
        "klrl_envs.tasks.question_answering:task",
        kl_coef=0.05,
        token_budget=1_000_000,
        tags=("neural", "text"),
        summary="answer questions about the record of a software package",
    ),
)

_users: dict[str, Row] = {}


def all_rows() -> tuple[Row, ...]:
    """The suite, then what ``register`` was given."""
    return (*REGISTRY, *_users.values())


def import_module(place: str) -> ModuleType:
    """Import a module, which may register environments: by its name, from the current folder too, or by its
    file. What is imported already is not run again.

    Raises:
        ImportError: no such module or file, or a file whose name another module has.
    """
    if not place.endswith(".py"):
        look_in(Path.cwd())
        return importlib.import_module(place)
    path = Path(place).resolve()
    if not path.is_file():
        raise ImportError(f"there is no file {place!r}")
    before = list(sys.path)
    look_in(path.parent)
    module = importlib.import_module(path.stem)
    if Path(module.__file__ or "").resolve() != path:
        sys.path[:] = before  # there it would take the other's place in processes that begin later
        raise ImportError(f"{place!r} has the name of another module, {module.__name__}: call it otherwise")
    return module


def look_in(folder: Path) -> None:
    """Have modules of a folder found."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def sweeps() -> dict[str, tuple[Settings, ...]]:
    """The sweep of every diagnostic of the suite, by its id."""
    return {row.gym_id: row.sweep for row in REGISTRY if row.sweep}


def find_row(env_id: str) -> Row:
    """The row of an id or a features id; the namespace of the suite may be left out.

    An id may name the module that registers it, as for ``gym.make``: "my.module:me/Praise-v0".

    Raises:
        TypeError: an id that is no text.
        ValueError: no such environment.
        ImportError: no such module.
    """
    name = plain_id(env_id)
    for row in all_rows():
        if name in (row.gym_id, row.gym_features_id):
            return row
    raise ValueError(
        f"unknown environment {env_id!r}; {alternatives(name)} (one of your own is known once the module "
        "that registers it is imported)"
    )


def alternatives(name: str) -> str:
    """What somebody may have meant who wrote an id that is not there, or all that could be."""
    known = {row.gym_id.lower(): row.gym_id for row in all_rows()}
    near = get_close_matches(name.lower(), known, n=3, cutoff=0.75)
    if near:
        return f"did you mean {' or '.join(known[each] for each in near)}? klrl list shows all"
    return f"known are {', '.join(known.values())} and their features ids"


def plain_id(env_id: str) -> str:
    """An id with its namespace and without a module, which is imported."""
    if not isinstance(env_id, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"an id is a text such as 'klrl/Keywords-v0', got {env_id!r}")
    module, _, name = env_id.rpartition(":")
    if module:
        import_module(module)
    return name if "/" in name else f"{NAMESPACE}/{name}"


def is_features_id(env_id: str) -> bool:
    """Whether an id is that of a features environment."""
    return find_row(env_id).gym_features_id == plain_id(env_id)


def make_task(task_id: str, **arguments: Any) -> Task:
    """The task of an id; ``arguments`` are the environment's (kl_coef, horizon, prompts, ...).

    Raises:
        ValueError: no such environment, or an argument out of range.
        TypeError: an argument that the environment does not have.
    """
    return find_row(task_id).make(**arguments)


def register(
    id: str,
    task: str | Callable[..., Task],
    *,
    kl_coef: float,
    token_budget: int,
    summary: str = "",
    tags: Sequence[str] = ("exact", "text"),
) -> Row:
    """Register an environment of one's own: it gets an id, a features id, a page, its optimum and its score.

    Call it in a module that is imported before the id is used (``--import`` of agents and of ``klrl``). The
    same function may be registered again, as when a notebook's cell is run twice.

    Args:
        id: with a namespace of one's own and a version, as "me/Praise-v0".
        task: a function of keyword arguments, kl_coef among them, that returns a ``Task`` (see
            ``AutomatonTask.of``), or where it is, as "module:function". Its docstring, or its module's, is
            the environment's page. A task with prompts takes ``prompts``, "train" or "evaluation". Only the
            function of a module can follow an environment into another process.
        kl_coef: the coefficient that scores count, in reward per nat.
        token_budget: tokens that an agent may write in training.
        summary: one line for lists.
        tags: "exact" or "neural" among them, as the task is.

    Returns:
        Its row.

    Raises:
        ValueError: an id of another form, in the namespace of the suite, or taken; a number out of range;
            tags without a kind.
        TypeError: no function, or one that does not take keywords, kl_coef among them.
    """
    if not ID.fullmatch(id) or id.startswith(f"{NAMESPACE}/"):
        raise ValueError(f"id must be like 'me/Praise-v0', in a namespace of your own, got {id!r}")
    if not is_whole(token_budget) or token_budget < 1:
        raise ValueError(f"token_budget must be a whole number of at least 1, got {token_budget!r}")
    if isinstance(tags, str) or len({"exact", "neural"} & set(tags)) != 1:
        raise ValueError(f"tags must be several, with either 'exact' or 'neural', got {tags!r}")
    check_function(id, task)
    namespace, name = id.split("/")
    row = Row(name, task, check_kl_coef(kl_coef), int(token_budget), tuple(tags), summary, (), namespace)
    check_free(row)
    _users[id] = row
    register_with_gymnasium(row)
    return row


def check_free(row: Row) -> None:
    """Raise ValueError where one of a row's ids is that of another function's environment."""
    for other in _users.values():
        taken = {row.gym_id, row.gym_features_id} & {other.gym_id, other.gym_features_id}
        again = other.gym_id == row.gym_id and other.function_name == row.function_name
        if taken and not again:
            raise ValueError(f"{min(taken)} is registered already, by {other.function_name}")


def register_with_gymnasium(row: Row) -> None:
    """Register a row's two ids with Gymnasium; does nothing the second time."""
    for env_id, features in ((row.gym_id, False), (row.gym_features_id, True)):
        if env_id not in gym.registry:
            cast(Any, gym).register(
                env_id,
                entry_point="klrl_envs.envs.token_env:TokenEnv",
                vector_entry_point="klrl_envs.envs.vector_env:TokenVectorEnv",
                kwargs={"task": row.task_id, "features": features},
            )
