"""Draws from pi* by rejection from the reference, where the reference is all that can be sampled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from klrl_envs.envs.drawing import draw_reference
from klrl_envs.envs.engine import Engine
from klrl_envs.policies import LogProbKind
from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.tasks.base import Task


class RejectionSampler:
    """Draws from pi* of a deterministic task: reference samples x kept with odds exp((r(x) - b)/beta).

    b is the declared upper bound of the reward, and the draws are exact; or, a prompt's own, the highest
    reward that is known behind it. A text that pays more raises that b, and what was kept before is thinned
    to it, so that the draws lack what nobody has seen and nothing else (empirical supremum rejection: Caffo,
    Booth and Davis 2002, doi 10.1093/biomet/89.4.745). Where the best answer is far from the bound that is
    the difference between ten texts and ten millions.

    log pi*(x) = log pi0(x) + r(x)/beta - log Z(prompt): exact but for the error of log Z, where a
    certificate states it. A score that rests on the same log Z is therefore 1 whatever happens; what tests
    the sampler is its expected reward.

    Args:
        task: its prompts are those that can be asked for.
        log_partition: float64[P], log Z of each prompt in nats.
        highest: float64[P], the highest reward of many texts of pi0 behind each prompt, as a certificate
            knows it; None for the declared bound.
        patience: reference samples behind a prompt after which its b falls to the highest reward that they
            had; None for never.
        lanes: reference samples per round.
        most: reference samples after which it gives up, over all calls.

    Attributes:
        log_partition, highest: as they were given.
        drawn, accepted: int64[P], reference samples seen and kept, by prompt.

    Raises:
        ValueError: pi* is not a tilted reference there (random start or execution), or another shape.
    """

    log_prob_kind: LogProbKind = "exact"

    def __init__(
        self,
        task: Task,
        log_partition: FloatArray,
        highest: FloatArray | None = None,
        *,
        patience: int | None = None,
        lanes: int = 512,
        most: int = 10_000_000,
    ) -> None:
        if task.random_beside_tokens:
            raise ValueError(f"{task.id} is random beside its tokens: rejection does not sample its pi*")
        if task.reward_noise:
            raise ValueError(f"{task.id} pays a noisy reward: rejection by it does not sample pi*")
        count = len(task.prompts.tokens)
        for name, given in (("log_partition", log_partition), ("highest", highest)):
            if given is not None and np.shape(given) != (count,):
                raise ValueError(f"{name} must have shape ({count},), got {np.shape(given)}")
        self._task = task
        self.log_partition = np.asarray(log_partition, dtype=np.float64)
        self.highest = None if highest is None else np.asarray(highest, dtype=np.float64)
        bound = task.reward_range[1]
        self._bounds = np.full(count, bound) if highest is None else np.minimum(highest, bound)
        self._seen = np.full(count, -np.inf)
        self._patience = np.inf if patience is None else patience
        self._lanes = lanes
        self._most = most
        self._index = {row.tobytes(): i for i, row in enumerate(task.padded_prompts)}
        self.drawn = np.zeros(count, dtype=np.int64)
        self.accepted = np.zeros(count, dtype=np.int64)

    @property
    def acceptance_rate(self) -> float:
        """Of the reference samples seen so far, the share kept; NaN before the first."""
        return float(self.accepted.sum() / self.drawn.sum()) if self.drawn.any() else float("nan")

    def sample(
        self, prompts: IntArray, rng: np.random.Generator, *, progress: Callable[[int], object] | None = None
    ) -> tuple[IntArray, FloatArray]:
        """Draws int64[B, T] and their log pi* float64[B]; see ``SequencePolicy``.

        Args:
            prompts: int64[B, L], padded.
            rng: draws.
            progress: told from time to time how many more of the B are there, or fewer.

        Raises:
            ValueError: a prompt is not one of the task's.
            RuntimeError: ``most`` reference samples were not enough.
        """
        task = self._task
        try:
            wanted = np.array([self._index[np.ascontiguousarray(row).tobytes()] for row in prompts])
        except KeyError:
            raise ValueError(f"prompts must be among the {len(self.drawn)} of {task.id}") from None
        tokens = np.full((len(prompts), task.horizon), task.pad, dtype=np.int64)
        log_prob = np.zeros(len(prompts))
        engine = Engine(task, self._lanes)
        engine.seed_lanes(rng)
        open_requests: dict[int, list[int]] = {
            prompt: np.flatnonzero(wanted == prompt)[::-1].tolist() for prompt in sorted(set(wanted.tolist()))
        }
        there = 0
        while open_requests:
            if self.drawn.sum() >= self._most:
                raise RuntimeError(
                    f"{self._most} reference samples of {task.id} gave {int(self.accepted.sum())} of pi*: "
                    f"its acceptance rate is about {self.acceptance_rate:.2g}; take a larger kl_coef"
                )
            # as many lanes to each prompt, side by side: they share what is known of it
            prompts_left = np.array(list(open_requests))
            assigned = prompts_left[np.arange(self._lanes) * len(prompts_left) // self._lanes]
            texts, rewards, reference = draw_reference(engine, assigned, rng)
            for place in self._raise_bounds(assigned, rewards, wanted, open_requests, rng):
                open_requests[int(wanted[place])].append(place)
                self.accepted[wanted[place]] -= 1
            kept = rng.random(len(assigned)) < np.exp((rewards - self._bounds[assigned]) / task.kl_coef)
            np.add.at(self.drawn, assigned, 1)
            np.add.at(self.accepted, assigned[kept], 1)
            np.maximum.at(self._seen, assigned, rewards)
            for lane in np.flatnonzero(kept).tolist():
                requests = open_requests[int(assigned[lane])]
                if requests:
                    place = requests.pop()
                    tokens[place] = texts[lane]
                    tilt = rewards[lane] / task.kl_coef - self.log_partition[assigned[lane]]
                    log_prob[place] = reference[lane] + tilt
            open_requests = {prompt: requests for prompt, requests in open_requests.items() if requests}
            impatient = self.drawn >= self._patience
            self._bounds[impatient] = np.minimum(self._bounds, self._seen)[impatient]
            before, there = there, len(prompts) - sum(map(len, open_requests.values()))
            if progress is not None:
                progress(there - before)
        return tokens, log_prob

    def _raise_bounds(
        self,
        assigned: IntArray,
        rewards: FloatArray,
        wanted: IntArray,
        open_requests: dict[int, list[int]],
        rng: np.random.Generator,
    ) -> list[int]:
        """Let no bound be below a reward; the requests whose texts do not survive the fall of their odds."""
        raised = self._bounds.copy()
        np.maximum.at(raised, assigned, rewards)
        fallen: list[int] = []
        for prompt in np.flatnonzero(raised > self._bounds).tolist():
            filled = np.setdiff1d(np.flatnonzero(wanted == prompt), open_requests[prompt])
            survival = np.exp((self._bounds[prompt] - raised[prompt]) / self._task.kl_coef)
            fallen += filled[rng.random(len(filled)) >= survival].tolist()
        self._bounds = raised
        return fallen
