"""What a policy is to the library, and adapters for callables, torch, SB3 and Hugging Face models.

A policy is one of
- an object with ``log_probs(observations [B, ...]) -> float[B, V]``, optionally with a cached pair
  ``start`` / ``step``,
- an object with ``state_log_probs(context, state, time) -> float[B, V]``, on exact environments,
- an object with ``sample(prompts, rng) -> tokens, log_prob``, for what has no form token by token,
- a plain function from observations [B, ...] to log-probs float[B, V],
- one of the names in ``NAMES``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray, LogProbs
from klrl_envs.reference.rows import TokenRows as TokenRows
from klrl_envs.reference.rows import as_array
from klrl_envs.tasks.base import Task

if TYPE_CHECKING:
    from klrl_envs.optima.dynamic_programme import Solution

PolicyName = Literal["reference", "uniform", "optimal"]
NAMES: tuple[PolicyName, ...] = ("reference", "uniform", "optimal")
LogProbKind = Literal["exact", "lower", "upper"]


@runtime_checkable
class TokenPolicy(Protocol):
    """A policy by its rows."""

    def log_probs(self, observations: Any, /) -> Any:
        """log pi(.|s) float[B, V], normalised, in nats, of observations [B, ...] of the environment."""
        ...


@runtime_checkable
class CachedPolicy(TokenPolicy, Protocol):
    """A policy that also gives the same rows incrementally, for B sequences that grow together."""

    def start(self, prompts: IntArray, /) -> Any:
        """Rows [B, V] after prompts [B, P], padded on the right with the task's pad."""
        ...

    def step(self, tokens: IntArray, /) -> Any:
        """Rows [B, V] after one more token [B] in each sequence; rows of ended ones are not used."""
        ...


@runtime_checkable
class StatePolicy(Protocol):
    """A policy on an exact environment that knows the state of reference and automaton."""

    def state_log_probs(self, context: IntArray, state: IntArray, time: IntArray, /) -> Any:
        """log pi(.|context, state, time) float[B, V] of int64[B] each; time counts tokens written."""
        ...


@runtime_checkable
class SequencePolicy(Protocol):
    """A policy that samples whole texts.

    ``log_prob_kind`` says what ``log_prob`` is: "exact", or a "lower" or "upper" bound of log pi(tokens).
    Where the attribute is missing, "exact" is meant.
    """

    def sample(self, prompts: IntArray, rng: np.random.Generator, /) -> tuple[IntArray, FloatArray]:
        """Tokens int64[B, T] after prompts [B, P], and their log pi float64[B].

        What stands after the end of a text is ignored.
        """
        ...


PolicyObject = TokenPolicy | StatePolicy | SequencePolicy
Policy = PolicyObject | Callable[[Any], Any] | str
"""Whatever is taken for a policy, a name among them; ``as_policy`` checks it."""


def as_policy(policy: Policy) -> PolicyObject | PolicyName:
    """A policy as an object or a name: a plain function becomes a ``CallablePolicy``, others stay the same.

    Raises:
        TypeError: not a policy; a class is none, its objects may be.
        ValueError: an unknown name.
    """
    if isinstance(policy, str):
        if policy not in NAMES:
            raise ValueError(f"policy must be one of {NAMES} or an object, got {policy!r}")
        return policy
    if isinstance(policy, type):
        seen = f"the class {policy.__name__}"
    elif isinstance(policy, (TokenPolicy, StatePolicy, SequencePolicy)):
        return policy
    elif callable(policy):
        return CallablePolicy(policy)
    else:
        seen = type(policy).__name__
    raise TypeError(
        f"got {seen} and no policy: a policy has log_probs(observations), "
        "state_log_probs(context, state, time) or sample(prompts, rng), or is a function, or one of "
        f"{NAMES}; klrl_envs.policies has adapters for torch, SB3 and transformers"
    )


class CallablePolicy:
    """A function from observations [B, ...] to log-probs [B, V]."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def log_probs(self, observations: Any) -> Any:
        """Rows [B, V], as the function returns them."""
        return self._function(observations)


class TorchPolicy:
    """A torch module from observations [B, ...] to rows [B, V].

    Args:
        module: called without gradients, in the mode (train or eval) that it is in.
        output: "logits" (a log-softmax in float32 is applied) or "log_probs".
        device: where observations are put; the module's first parameter's device where None.
        select: picks the rows from the module's output, as ``lambda output: output[0]``.

    Raises:
        ValueError: another ``output``.
    """

    def __init__(
        self,
        module: Any,
        output: str = "logits",
        *,
        device: Any = None,
        select: Callable[[Any], Any] | None = None,
    ) -> None:
        if output not in ("logits", "log_probs"):
            raise ValueError(f"output must be 'logits' or 'log_probs', got {output!r}")
        self._module = module
        self._output = output
        self._device = device
        self._select = select

    def log_probs(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Rows float32[B, V]."""
        import torch

        device = self._device
        if device is None:
            parameter = next(iter(self._module.parameters()), None)
            device = "cpu" if parameter is None else parameter.device
        with torch.inference_mode():
            rows = self._module(torch.as_tensor(observations, device=device))
            rows = (rows if self._select is None else self._select(rows)).float()
            return as_array(rows.log_softmax(dim=-1) if self._output == "logits" else rows)


class SB3Policy:
    """A Stable-Baselines3 model with a stochastic discrete policy (PPO, A2C), on what it was trained on.

    Raises:
        TypeError: the model has no distribution over actions (DQN has none).
    """

    def __init__(self, model: Any) -> None:
        if not hasattr(getattr(model, "policy", None), "get_distribution"):
            raise TypeError(
                f"an SB3 model with policy.get_distribution is needed (PPO, A2C), got {type(model).__name__}"
            )
        self._policy = model.policy

    def log_probs(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Rows float32[B, V]."""
        import torch

        self._policy.set_training_mode(False)
        with torch.inference_mode():
            inputs, _ = self._policy.obs_to_tensor(observations)
            distribution = self._policy.get_distribution(inputs).distribution
            return as_array(distribution.logits.float().log_softmax(dim=-1))


class PolicyLanes(Protocol):
    """Rows along N texts that grow together: of ``ReferenceLanes``, what a policy needs."""

    def reset(self, lanes: IntArray, tokens: IntArray, lengths: IntArray) -> None:
        """Put all lanes at the texts tokens [N, L], of which lengths [N] count."""
        ...

    def step(self, tokens: IntArray, active: BoolArray) -> None:
        """Append tokens [N]; all lanes are active."""
        ...

    def log_probs(self) -> LogProbs:
        """log pi(.|s) [N, V] in nats."""
        ...


class LanesPolicy:
    """Whatever has lanes as a reference has them: ``LanesPolicy(reference.lanes, task)``.

    Args:
        lanes: (count, max_length) -> ``PolicyLanes``.
        task: whose prompts and texts are read.
    """

    def __init__(self, lanes: Callable[[int, int], PolicyLanes], task: Task) -> None:
        self._make = lanes
        self._task = task
        self._lanes: PolicyLanes | None = None

    def log_probs(self, observations: IntArray) -> LogProbs:
        """Rows [B, V] after padded tokens [B, L], computed from the beginning."""
        lanes = self._make(len(observations), self._task.max_length)
        lanes.reset(np.arange(len(observations)), observations, self._task.lengths(observations))
        return lanes.log_probs()

    def start(self, prompts: IntArray) -> LogProbs:
        """See ``CachedPolicy.start``."""
        self._lanes = self._make(len(prompts), self._task.max_length)
        self._lanes.reset(np.arange(len(prompts)), prompts, self._task.lengths(prompts))
        return self._lanes.log_probs()

    def step(self, tokens: IntArray) -> LogProbs:
        """See ``CachedPolicy.step``."""
        if self._lanes is None:
            raise RuntimeError("call start before step")
        self._lanes.step(tokens, np.ones(len(tokens), dtype=np.bool_))
        return self._lanes.log_probs()


class CausalLMPolicy:
    """A causal language model of transformers, fine-tuned or not, with its key-value cache.

    Args:
        model: ``AutoModelForCausalLM`` or alike, in evaluation mode.
        task: whose prompts and texts are read.
        start_token: precedes every text, as it does in training; None for nothing (then a prompt of at
            least one token is needed).
    """

    def __init__(self, model: Any, task: Task, start_token: int | None) -> None:
        self._model = model
        self._task = task
        self._start_token = start_token
        self._cache: Any = None
        self._mask: Any = None

    def log_probs(self, observations: IntArray) -> NDArray[np.float32]:
        """Rows float32[B, V] after padded tokens [B, L], computed from the beginning."""
        return self._read(observations, use_cache=False)

    def start(self, prompts: IntArray) -> NDArray[np.float32]:
        """See ``CachedPolicy.start``."""
        return self._read(prompts, use_cache=True)

    def step(self, tokens: IntArray) -> NDArray[np.float32]:
        """See ``CachedPolicy.step``."""
        import torch

        if self._mask is None:
            raise RuntimeError("call start before step")
        self._mask = torch.cat((self._mask, self._mask.new_ones((len(tokens), 1))), dim=1)
        inputs = torch.as_tensor(tokens[:, None], device=self._model.device)
        return self._run(inputs, self._cache, use_cache=True)

    def _read(self, tokens: IntArray, *, use_cache: bool) -> NDArray[np.float32]:
        """Rows after texts of unequal length, aligned at their ends."""
        import torch

        first = 0 if self._start_token is None else 1
        lengths = self._task.lengths(tokens) + first
        longest = int(lengths.max(initial=0))
        if len(tokens) and lengths.min() == 0:
            raise ValueError("start_token is None and a text is empty: give the token that precedes texts")
        ends = np.arange(longest) - (longest - lengths)[:, None]
        shown = (
            np.take_along_axis(tokens, np.clip(ends - first, 0, max(tokens.shape[1] - 1, 0)), axis=1)
            if tokens.shape[1]
            else np.zeros_like(ends)
        )
        if self._start_token is not None:
            shown = np.where(ends == 0, self._start_token, shown)
        device = self._model.device
        self._mask = torch.as_tensor((ends >= 0).astype(np.int64), device=device)
        inputs = torch.as_tensor(np.where(ends >= 0, shown, 0), device=device)
        return self._run(inputs, None, use_cache=use_cache)

    def _run(self, inputs: Any, cache: Any, *, use_cache: bool) -> NDArray[np.float32]:
        import torch

        positions = (self._mask.cumsum(dim=1) - 1).clamp_min(0)[:, -inputs.shape[1] :]
        with torch.inference_mode():
            output = self._model(
                input_ids=inputs,
                attention_mask=self._mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=use_cache,
            )
            self._cache = output.past_key_values if use_cache else None
            return as_array(output.logits[:, -1].float().log_softmax(dim=-1))


class OptimalPolicy:
    """The exact optimum's policy, from the ``Solution`` of the soft dynamic programme."""

    def __init__(self, solution: Solution) -> None:
        self.solution = solution

    def state_log_probs(self, context: IntArray, state: IntArray, time: IntArray) -> FloatArray:
        """See ``StatePolicy``."""
        return self.solution.log_probs(context, state, time)
