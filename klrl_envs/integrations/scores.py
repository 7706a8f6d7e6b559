"""A training's score while it runs: what the callbacks of ``sb3`` and ``trainer`` evaluate, log and write.

Each evaluation is ``klrl_envs.evaluate`` on the evaluation prompts, with a seed of its own that is drawn when
it begins: the learner sees none of its texts, and the ledger counts them apart from the training's. To look
at these numbers is free. To choose by them (a checkpoint, a moment to stop, a setting) is to learn from the
evaluation prompts: what was chosen so adds their tokens to its own and is a "bound", no "learner", on the
leaderboard, which its record says by `agent={"name": ..., "kind": "bound"}`.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from klrl_envs import ledger
from klrl_envs.envs.lookup import EnvOrId
from klrl_envs.evaluation.evaluate import evaluate
from klrl_envs.evaluation.result import Evaluation
from klrl_envs.policies import Policy
from klrl_envs.wrappers import append_line


class Scores:
    """Evaluations of a policy that is being trained.

    Args:
        every: steps between two of them.
        episodes: of each.
        out: a file that gets a line of JSON for each, or None; its folder must be there.

    Attributes:
        latest: the last one, or None.

    Raises:
        ValueError: every or episodes below 1, or a folder that is not there.
    """

    def __init__(self, every: int, episodes: int, out: str | Path | None) -> None:
        for name, value in (("every", every), ("episodes", episodes)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.every = every
        self.episodes = episodes
        self.out = None if out is None else Path(out)
        if self.out is not None and not self.out.parent.is_dir():
            raise ValueError(f"out must lie in a folder that is there, got {str(out)!r}")
        self.latest: Evaluation | None = None
        self._at: int | None = None
        self._began = ledger.mark()

    def begin(self) -> None:
        """A training begins: count its tokens from here."""
        self._at, self._began = None, ledger.mark()

    def due(self, steps: int, *, last: bool = False) -> bool:
        """Whether there is to be an evaluation after so many steps: at the last, where there was none yet."""
        return self._at is None or steps - self._at >= (1 if last else self.every)

    def evaluate(self, policy: Policy, env_or_id: EnvOrId, steps: int, **kwargs: Any) -> dict[str, float]:
        """Evaluate, write the line, and return the numbers to log, by name.

        Args:
            policy: as ``klrl_envs.evaluate`` takes it.
            env_or_id: likewise.
            steps: of the training, so far.
            **kwargs: the environment's, with an id.
        """
        tokens = (ledger.counts() - self._began.counts).tokens
        self.latest = evaluation = evaluate(policy, env_or_id, episodes=self.episodes, **kwargs)
        self._at = steps
        if self.out is not None:
            append_line(self.out, {"steps": steps, "tokens": tokens, **line_of(evaluation)})
        return {f"klrl/{name}": value for name, value in scalars(evaluation).items()}


def scalars(evaluation: Evaluation) -> dict[str, float]:
    """The numbers of an evaluation that are worth a curve; without the score where there is none."""
    score = {} if evaluation.score is None else {"score": evaluation.score.estimate}
    return {
        **score,
        "expected_reward": evaluation.expected_reward.estimate,
        "kl": evaluation.kl.estimate,
        "objective": evaluation.objective.estimate,
    }


def line_of(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation in a line: estimates, the score's interval, and what does it again."""
    score = evaluation.score
    return {
        "score": None,
        **scalars(evaluation),
        "score_interval": None if score is None else [score.lower, score.upper],
        "episodes": evaluation.episodes,
        "evaluation_tokens": evaluation.tokens,
        "seed": evaluation.seed,
    }


@contextmanager
def undisturbed(module: Any) -> Generator[None]:
    """A torch module in evaluation mode; afterwards the modes of all its parts, and torch's random state, are
    what they were.
    """
    import torch

    modes = [(part, part.training) for part in module.modules()]
    devices = {parameter.device for parameter in module.parameters() if parameter.device.type == "cuda"}
    forked: Any = torch.random  # its annotations leave much unknown
    with forked.fork_rng(devices=sorted(devices, key=str)):
        module.eval()
        try:
            yield
        finally:
            for part, training in modes:
                part.training = training
