"""TRL: the reward of an environment as the reward function of its trainers.

Only the reward is the environment's; the KL is the trainer's own. RLOO's is right: k1 of the whole text is
taken off the reward before the leave-one-out baseline (TRL 1.16).

    from klrl_envs import as_reward_fn

    reward = as_reward_fn("klrl/Sentiment-v0")
    config = RLOOConfig(
        beta=reward.kl_coef,
        num_generations=4,
        max_completion_length=reward.task.horizon,
        normalize_advantages=False,  # True divides by the batch's standard deviation: another coefficient
    )
    RLOOTrainer(model=FOLDER, reward_funcs=reward, args=config, train_dataset=...)

FOLDER is what ``klrl export nano FOLDER`` writes, or any causal model's, whose environment is then made with
``reference=FOLDER``: a trainer loads its frozen reference from that path. ``examples/trl_rloo.py`` is the
whole, from the prompts to the score. Every text begins with the reference's start token, which the exported
tokenizer puts there. TRL's default is ``bf16=True``, which scores log-probs in bfloat16: set it to False.

Leave as they are: temperature, top_p, top_k, min_p and repetition_penalty (what is scored must be what is
sampled), reward_clip_range, mask_truncated_completions, sync_ref_model (a reference that moves is another
objective).

GRPO as published (arXiv 2402.03300) has another optimum: token-level k3 in the loss descends KL(pi0 || pi)
state by state, and the division by the group's standard deviation gives each prompt a coefficient of its own
(``scale_rewards="none"`` leaves it out). With ``use_bias_correction_kl=True`` the k3 is weighted by
pi / pi_old, which is the KL of the visited state alone, blind to the KL to come. What each costs is computed
by ``python -m benchmarks.studies.pitfalls``. Score the trained model with ``klrl_envs.evaluate``. TRL itself
is not imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from klrl_envs.registry import find_row, make_task
from klrl_envs.tasks.base import Task
from klrl_envs.tasks.conversation import read_conversation
from klrl_envs.wrappers.episodes import Episode, append_line, checked_path

Message = Mapping[str, Any]
Conversation = str | Sequence[Message]


class RewardFunction:
    """``(prompts, completions, completion_ids, **columns) -> list[float]``, as TRL calls it.

    See ``as_reward_fn``.

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
        self,
        prompts: Sequence[Conversation],
        completions: Sequence[Conversation],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float]:
        """One reward for each completion; other columns of the trainer's data set are not looked at."""
        if len(prompts) != len(completions):
            raise ValueError(f"prompts and completions must pair up, got {len(prompts)}, {len(completions)}")
        if completion_ids is not None and len(completion_ids) != len(completions):
            raise ValueError(
                f"completion_ids must be one list for each of {len(completions)} completions, "
                f"got {len(completion_ids)}"
            )
        if not completions:
            return []
        begun, written = [text_of(each) for each in prompts], [text_of(each) for each in completions]
        rewards = self.task.text_rewards(begun, written, completion_ids).tolist()
        if self._record is not None:
            counts = self.task.token_counts(begun, written, completion_ids)
            self._write(self._record, begun, written, rewards, counts.tolist())
        return rewards

    def env_mask(self, completion_ids: Sequence[Sequence[int]]) -> list[list[int]]:
        """1 for each token that is the agent's, 0 for those that the environment wrote: TRL's ``env_mask``.

        A ``rollout_func`` of its GRPO trainer returns it, so that no loss and no KL is taken of the latter.

        Args:
            completion_ids: conversations in the task's own tokens; what follows the end is masked, too.

        Raises:
            ValueError: a reply that the environment never writes there.
        """
        exact = self.task.exact
        if exact is None or exact.replies is None:
            return [[1] * len(ids) for ids in completion_ids]
        own = [read_conversation(exact, ids).own for ids in completion_ids]
        return [
            [*map(int, mask), *[0] * (len(ids) - len(mask))]
            for mask, ids in zip(own, completion_ids, strict=True)
        ]

    def _write(
        self,
        path: Path,
        prompts: Sequence[str],
        completions: Sequence[str],
        rewards: Sequence[float],
        lengths: Sequence[int],
    ) -> None:
        """A line for each text, whose KL only the trainer knows."""
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

    A trainer whose KL is right, as the module's page has it in full:

        reward = as_reward_fn("klrl/Sentiment-v0")
        config = RLOOConfig(beta=reward.kl_coef, num_generations=4, normalize_advantages=False,
                            max_completion_length=reward.task.horizon)
        RLOOTrainer(model=..., reward_funcs=reward, args=config, train_dataset=...)

    GRPO as published is none: its k3 stands in the loss token by token, and rewards are divided by the
    group's standard deviation.

    Prompts and completions are plain strings, or conversations (lists of messages with ``content``): then
    the last message of the prompt and those of the completion count. A neural task scores prompt and
    completion as one text, joined as they are, of the completion what its horizon has room for in its
    own tokens: those of ``completion_ids`` where they decode to the completion in the task's vocabulary, and
    so are its own; else the text is kept whole where the horizon has room for the fewest tokens that can be
    decoded to it, one that ends within a character (U+FFFD) among them.

    An exact task reads the completion, in its vocabulary, up to its horizon, and the prompt where it has
    prompts (one of them, as its ``text``): a text that the vocabulary cannot write is paid the least reward,
    a shorter text ends with the end token where the task has one, and where the start is random or the
    reward noisy the mean is paid.

    A task that writes replies reads a completion as the whole conversation, both sides as ``info["text"]``
    has them; what it says first may stand in the prompt instead, and where the reply to the last word is
    missing the mean is paid. The environment's tokens count in no budget; ``env_mask`` tells them from the
    agent's.

    Args:
        env_id: such as "klrl/Sentiment-v0".
        record: a file that gets a line for each text, as ``Recorder`` writes it, but without KL; its folder
            must be there. `tokens` are those of this process.
        **kwargs: the environment's own.

    Raises:
        ValueError: no such environment, or one in which the reward is no function of the text (``slip``).
    """
    task = make_task(env_id, **kwargs)
    if task.exact is not None and task.exact.automaton.execution is not None:
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
