"""Hugging Face trainers (``transformers.Trainer``, and so TRL's): a callback that says the score.

    from klrl_envs.integrations.trainer import ScoreCallback

    trainer = GRPOTrainer(model=..., reward_funcs=klrl_envs.as_reward_fn("klrl/Sentiment-v0"), ...)
    trainer.add_callback(ScoreCallback("klrl/Sentiment-v0", every=50, log=trainer.log))

The model is taken for the policy as it is (``klrl_envs.policies.CausalLMPolicy``): temperature 1, no top-k,
and it must have the tokens of the environment's reference. TRL itself is not imported.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers.trainer_callback import TrainerCallback

from klrl_envs.envs.lookup import evaluation_task
from klrl_envs.integrations.scores import Scores, undisturbed
from klrl_envs.policies import CausalLMPolicy

Log = Callable[[dict[str, float]], Any]
"""Such as ``trainer.log``."""


class ScoreCallback(TrainerCallback):
    """Evaluates the model before the training, every so many optimizer steps, and at the end.

    The training is what it would be without: torch's random state and the modes of the model's parts stay as
    they are. To look is free; see ``klrl_envs.integrations.scores`` for what choosing by it means.

    Args:
        env_id: the environment, such as "klrl/Sentiment-v0".
        every: optimizer steps between evaluations.
        episodes: of each, rounded up to a multiple of the evaluation prompts.
        out: a file that gets a line of JSON for each: steps, training tokens that the ledger has counted,
            score with its interval, expected reward, KL, objective, episodes, their tokens, seed.
        log: gets klrl/score, klrl/expected_reward, klrl/kl and klrl/objective; ``trainer.log`` sends them to
            TensorBoard or whatever the trainer reports to.
        start_token: precedes every text, as it does in training; by default the reference's, if it has one.
        **kwargs: the environment's own.

    Attributes:
        scores: ``scores.latest`` is the last ``Evaluation``.

    Raises:
        ValueError: an unknown environment, every or episodes below 1, or a folder that is not there.
    """

    def __init__(
        self,
        env_id: str,
        every: int = 100,
        episodes: int = 256,
        out: str | Path | None = None,
        *,
        log: Log | None = None,
        start_token: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.scores = Scores(every, episodes, out)
        self._task = evaluation_task(env_id, kwargs)
        own = getattr(self._task.reference, "start_token", None)
        self._start_token = own if start_token is None else start_token
        self._env_id = env_id
        self._kwargs = kwargs
        self._log = log

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The score of what the training begins with."""
        self.scores.begin()
        self._look(state, kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The score, where it is due."""
        self._look(state, kwargs["model"])

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The score of what came out."""
        self._look(state, kwargs["model"], last=True)

    def _look(self, state: Any, model: Any, *, last: bool = False) -> None:
        steps = int(state.global_step)
        if not state.is_world_process_zero or not self.scores.due(steps, last=last):
            return
        policy = CausalLMPolicy(model, self._task, self._start_token)
        with undisturbed(model):
            numbers = self.scores.evaluate(policy, self._env_id, steps, **self._kwargs)
        if self._log is not None:
            self._log(numbers)
