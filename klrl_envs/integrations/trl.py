"""TRL: the reward of an environment as the reward function of its trainers (GRPO, RLOO, ...).

    from klrl_envs import as_reward_fn

    reward = as_reward_fn("klrl/Sentiment-v0")
    config = GRPOConfig(beta=reward.kl_coef, scale_rewards=False)
    GRPOTrainer(model=..., reward_funcs=reward, args=config, train_dataset=...)

Only the reward is the environment's; the KL is the trainer's own, and not every trainer's KL has the
gradient of the objective (token-level k3 in the loss has not: see ``klrl_envs.kl.k3``). Score the trained
model with ``klrl_envs.evaluate``. TRL itself is not imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from klrl_envs.registry import find_row, make_task
from klrl_envs.tasks.base import Task
from klrl_envs.wrappers.episodes import Episode, append_line, checked_path

Message = Mapping[str, Any]
Conversation = str | Sequence[Message]


class RewardFunction:
    """``(prompts, completions, **columns) -> list[float]``, as TRL calls it; see ``as_reward_fn``.

    Attributes:
        kl_coef: the environment's own, in units of reward per nat: the trainer's ``beta``.
        reward_range: bounds (a, b) of what is paid.
    """

    def __init__(self, task: Task, name: str, record: Path | None = None) -> None:
        self.task = task
        self._record = record
        self._texts = self._tokens = 0
        self.kl_coef = task.kl_coef
        self.reward_range = task.reward_range
        if task.exact is not None:  # of the mean, where the task has noise
            self.reward_range = task.exact.automaton.range_within(task.horizon)
        self.__name__ = name

    def __call__(
        self, prompts: Sequence[Conversation], completions: Sequence[Conversation], **columns: Any
    ) -> list[float]:
        """One reward for each completion; other columns of the trainer's data set are not looked at."""
        if len(prompts) != len(completions):
            raise ValueError(f"prompts and completions must pair up, got {len(prompts)}, {len(completions)}")
        if not completions:
            return []
        begun, written = [text_of(each) for each in prompts], [text_of(each) for each in completions]
        rewards = self.task.text_rewards(begun, written).tolist()
        if self._record is not None:
            self._write(self._record, begun, written, rewards)
        return rewards

    def _write(
        self, path: Path, prompts: Sequence[str], completions: Sequence[str], rewards: Sequence[float]
    ) -> None:
        """A line for each text, whose KL only the trainer knows."""
        lengths = self.task.token_counts(completions).tolist()
        for prompt, completion, reward, length in zip(prompts, completions, rewards, lengths):
            self._tokens += length
            whole = completion if self.task.exact is not None else prompt + completion
            episode = Episode(
                episode=self._texts,
                tokens=self._tokens,
                text=whole,
                task_reward=reward,
                paid=reward,
                length=length,
            )
            append_line(path, episode.line())
            self._texts += 1


def as_reward_fn(env_id: str, *, record: str | Path | None = None, **kwargs: Any) -> RewardFunction:
    """The reward of an environment as a reward function for TRL's trainers.

    Prompts and completions are plain strings, or conversations (lists of messages with ``content``): then
    the last message of the prompt and those of the completion count. A neural task scores prompt and
    completion as one text, joined as they are, of the completion what its horizon has room for in its
    own tokens. An exact task reads the completion, encoded with its vocabulary, up to its horizon, and the
    prompt where it has prompts (one of them, as its ``text``): a text that the vocabulary cannot write is
    paid the least reward, a shorter text ends with the end token where the task has one, and where the
    start is random or the reward noisy the mean is paid.

    Args:
        env_id: such as "klrl/Sentiment-v0".
        record: a file that gets a line for each text, as ``Recorder`` writes it, but without KL; its folder
            must be there. `tokens` are those of this process.
        **kwargs: the environment's own.

    Raises:
        ValueError: no such environment, or one in which the reward is no function of the text (``slip``).
    """
    task = make_task(env_id, **kwargs)
    if task.exact is not None and not task.exact.automaton.deterministic:
        raise ValueError(f"{env_id} with {kwargs} is stochastic: its reward is no function of the text")
    name = find_row(env_id).task_id.replace("-", "_").replace("/", "_").lower()
    return RewardFunction(task, f"klrl_{name}", None if record is None else checked_path(record))


def text_of(conversation: Conversation) -> str:
    """The text of a string, of a conversation's last message, or of all its last assistant messages."""
    if isinstance(conversation, str):
        return conversation
    if not conversation:
        return ""
    messages = list(conversation)
    own = [message for message in messages if message.get("role") == "assistant"]
    counted = own if len(own) == len(messages) else messages[-1:]
    pieces: list[str] = []
    for message in counted:
        content = message.get("content") or ""
        if not isinstance(content, str):
            content = "".join(part.get("text", "") for part in content)
        pieces.append(content)
    return "".join(pieces)
