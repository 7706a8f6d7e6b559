"""TRL: the reward of an environment as the reward function of its trainers (GRPO, RLOO, ...).

    from klrl_envs import as_reward_fn

    reward = as_reward_fn("klrl/Sentiment-v0")
    config = GRPOConfig(beta=reward.kl_coef, scale_rewards=False)
    GRPOTrainer(model=..., reward_funcs=reward, args=config, train_dataset=...)

Only the reward is the environment's; the KL is the trainer's own, and not every trainer's KL has the
gradient of the objective (design: token-level k3 in the loss does not). Score the trained model with
``klrl_envs.evaluate``. TRL itself is not imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from klrl_envs.envs.exact import reward_range
from klrl_envs.optima.optimum import problem_of
from klrl_envs.optima.problem import FloatArray, IntArray
from klrl_envs.registry import find_row, make_task
from klrl_envs.tasks.base import AutomatonTask, Task, TextTask

Message = Mapping[str, Any]
Conversation = str | Sequence[Message]


class RewardFunction:
    """``(prompts, completions, **columns) -> list[float]``, as TRL calls it; see ``as_reward_fn``.

    Attributes:
        kl_coef: the environment's declared price of a nat, the trainer's ``beta``.
        reward_range: bounds (a, b) of what is paid.
    """

    def __init__(self, task: Task, name: str) -> None:
        self.task = task
        self.kl_coef = task.kl_coef
        self.reward_range = task.reward_range
        if isinstance(task, AutomatonTask):  # of the mean, where the task has noise
            self.reward_range = reward_range(task.automaton, task.horizon)
            self._starts = problem_of(task).starts
            self._place = {task.text(row): place for place, row in enumerate(task.prompts.tokens)}
        self.__name__ = name

    def __call__(
        self, prompts: Sequence[Conversation], completions: Sequence[Conversation], **columns: Any
    ) -> list[float]:
        """One reward for each completion; other columns of the trainer's data set are not looked at."""
        if len(prompts) != len(completions):
            raise ValueError(f"prompts and completions must pair up, got {len(prompts)}, {len(completions)}")
        if not completions:
            return []
        if isinstance(self.task, TextTask):
            return self._score(self.task, [text_of(p) for p in prompts], [text_of(c) for c in completions])
        assert isinstance(self.task, AutomatonTask)
        return [self._run(self.task, text_of(p), text_of(c)) for p, c in zip(prompts, completions)]

    @staticmethod
    def _score(task: TextTask, prompts: list[str], completions: list[str]) -> list[float]:
        vocabulary = task.vocabulary
        texts: list[str] = []
        for prompt, completion in zip(prompts, completions):
            written = vocabulary.encode(completion)
            if len(written) > task.horizon:
                completion = vocabulary.decode(written[: task.horizon])
            texts.append(prompt + completion)
        rows = [task.vocabulary.encode(text) for text in texts]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        tokens = np.full((len(rows), max(int(lengths.max()), 1)), task.pad, dtype=np.int64)
        for row, ids in zip(tokens, rows):
            row[: len(ids)] = ids
        return task.score_texts(tokens, lengths, texts)[0].tolist()

    def _run(self, task: AutomatonTask, prompt: str, text: str) -> float:
        automaton, reference = task.automaton, task.reference
        context, state, weight = self._starts_of(prompt)
        try:
            tokens = task.vocabulary.encode(text)[: task.horizon]
        except ValueError:
            return float(self.reward_range[0])
        if task.end_token is not None and len(tokens) < task.horizon:
            tokens.append(task.end_token)
        total = np.zeros(len(state))
        going = np.ones(len(state), dtype=np.bool_)
        for token in tokens:
            total += np.where(going, automaton.reward[state, token], 0.0)
            if automaton.context_reward is not None:
                total += np.where(going, automaton.context_reward[context, token], 0.0)
            context = reference.next_context(context, np.array(token))
            state = np.where(going, automaton.transition[state, token], state)
            ends = going & (automaton.absorbing[state] | (token == task.end_token))
            total += np.where(ends, automaton.final_reward[state], 0.0)
            going &= ~ends
        total += np.where(going, automaton.horizon_reward[state], 0.0)
        return float(weight @ total)

    def _starts_of(self, prompt: str) -> tuple[IntArray, IntArray, FloatArray]:
        """Contexts, states and probabilities, [N] each, at which a completion of a prompt starts.

        Raises:
            ValueError: the task has prompts, and this is none of them.
        """
        context, state, weight = self._starts
        if not self.task.prompt_length:
            return context, state, weight
        if prompt not in self._place:
            raise ValueError(f"{prompt!r} is none of the {len(self._place)} prompts of {self.task.id}")
        place = [self._place[prompt]]
        return context[place], state[place], np.ones(1)


def as_reward_fn(env_id: str, **kwargs: Any) -> RewardFunction:
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
        **kwargs: the environment's own.

    Raises:
        ValueError: no such environment, or one in which the reward is no function of the text (``slip``).
    """
    task = make_task(env_id, **kwargs)
    if isinstance(task, AutomatonTask) and not task.automaton.deterministic:
        raise ValueError(f"{env_id} with {kwargs} is stochastic: its reward is no function of the text")
    name = find_row(env_id).id.replace("-", "_").lower()
    return RewardFunction(task, f"klrl_{name}")


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
