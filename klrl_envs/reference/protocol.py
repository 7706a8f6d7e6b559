"""What a reference policy pi0 is to the rest of the library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray, LogProbs

if TYPE_CHECKING:
    from torch import Tensor


class ReferenceLanes(Protocol):
    """pi0 along N sequences that grow token by token and may restart at different times."""

    def reset(self, lanes: IntArray, tokens: IntArray, lengths: IntArray) -> None:
        """Put lanes [K] at the sequences tokens [K, L], of which row k counts lengths[k] tokens."""
        ...

    def step(self, tokens: IntArray, active: BoolArray) -> None:
        """Append tokens [N] to the lanes where active [N]; the others stay as they are."""
        ...

    def keep(self, lanes: IntArray) -> None:
        """Go on with the sequences of lanes [K] alone, in this order."""
        ...

    def log_probs(self) -> LogProbs:
        """log pi0(.|s) [N, V] in nats at the current sequences; computed once and cached."""
        ...

    def log_prob(self, tokens: IntArray, active: BoolArray | None = None) -> FloatArray:
        """log pi0(token|s) [N] in nats of tokens [N] at the current sequences; anything where not active."""
        ...

    def draw(self, uniform: FloatArray) -> IntArray:
        """Tokens int64 [N] of pi0 at the current sequences, by its inverse distribution function.

        ``log_prob`` of them costs next to nothing afterwards: no whole row is made of it.

        Args:
            uniform: [N], independent and uniform in [0, 1).
        """
        ...

    def hidden(self) -> NDArray[np.float32]:
        """Final normalised hidden states [N, width] of a network at the current sequences.

        Raises:
            TypeError: the reference is not a network.
        """
        ...


@runtime_checkable
class TensorLanes(ReferenceLanes, Protocol):
    """Lanes of a network: the same as tensors, which stay on its device."""

    def rows(self, lanes: IntArray | None = None) -> Tensor:
        """log pi0(.|s) float32 [K, V] in nats at the current sequences of lanes [K], by default of all; no
        more is computed than is asked for, and that once."""
        ...

    def features(self, lanes: IntArray | None = None) -> Tensor:
        """Final normalised hidden states float32 [K, width], likewise."""
        ...


class Reference(Protocol):
    """A language model that is sampled and scored by the very same probabilities.

    ``fingerprint`` is a SHA-256 of whatever determines those probabilities.
    """

    @property
    def name(self) -> str: ...

    @property
    def vocab_size(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def longest(self) -> int | None:
        """Tokens of the longest text that it can read, or None."""
        ...

    def lanes(self, count: int, max_length: int) -> ReferenceLanes:
        """State for ``count`` sequences of at most ``max_length`` tokens."""
        ...

    def sequence_log_probs(self, tokens: IntArray, first: IntArray, lengths: IntArray) -> FloatArray:
        """log pi0 [K, L] in nats of each token of tokens [K, L], in one parallel pass.

        Entry (k, t) is log pi0(tokens[k, t] | tokens[k, :t]) for first[k] <= t < lengths[k], else 0.
        """
        ...


@runtime_checkable
class NeuralReference(Reference, Protocol):
    """A reference that is a network: its hidden state is a feature of the text so far."""

    @property
    def width(self) -> int:
        """Size of the hidden state."""
        ...

    @property
    def hidden_bound(self) -> float:
        """A bound on every entry of the hidden state's absolute value."""
        ...

    @property
    def device(self) -> str:
        """Of the network, as torch calls it."""
        ...

    def on(self, device: str) -> NeuralReference:
        """The same reference with its network on another device; the fingerprint stays."""
        ...

    def unembedding(self) -> NDArray[np.float32]:
        """The rows [V, width] whose products with the hidden state are the logits, but for what a network
        does to them afterwards (a bias, a cap).
        """
        ...


def neural(reference: Reference) -> NeuralReference:
    """A reference as a network; TypeError for a table."""
    if not isinstance(reference, NeuralReference):
        raise TypeError(f"the reference {reference.name!r} is a table and has no hidden state")
    return reference
