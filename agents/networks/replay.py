"""Texts that are learnt from again: the last batches, from which groups of one prompt are drawn."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.networks.stored import restored, stored
from agents.networks.trajectories import Trajectories, Visited

WHOLE = ("tokens", "first")
"""Columns that have no steps."""
COLUMNS = (
    "inputs", "rows", "tokens", "first", "actions", "mask", "rewards", "log_ratios", "log_probs", "kl",
    "base", "told",
)  # fmt: skip


@dataclass(frozen=True)
class GroupedTexts:
    """M texts that are learnt from at once, in groups of one prompt each.

    Attributes:
        trajectories: M of them.
        groups: int64 [M], which group each is of.
        prompts: int64 [G], of each group.
    """

    trajectories: Trajectories
    groups: Tensor
    prompts: NDArray[np.int64]


def fresh(trajectories: Trajectories, prompts: NDArray[np.int64]) -> GroupedTexts:
    """All of some trajectories, which stand in groups of equal size of the prompts [G]."""
    every = torch.arange(len(trajectories.mask), device=trajectories.mask.device)
    return GroupedTexts(trajectories, every // (len(every) // len(prompts)), prompts)


def joined(parts: Sequence[tuple[Trajectories, Tensor]]) -> Trajectories:
    """Of each trajectories those of an index [n], one after the other, as one; without texts and metrics."""
    longest = max(trajectories.mask.shape[1] for trajectories, _ in parts)

    def column(name: str) -> Any:
        values = [getattr(trajectories, name) for trajectories, _ in parts]
        if values[0] is None:
            return None
        chosen = [value[index] for value, (_, index) in zip(values, parts)]
        return torch.cat(chosen if name in WHOLE else [padded(value, longest) for value in chosen])

    first = parts[0][0]
    columns = {name: column(name) for name in COLUMNS}
    visited = None if first.visited is None else joined_visits(parts, longest)
    return type(first)(**columns, texts=[], metrics={}, visited=visited)


def joined_visits(parts: Sequence[tuple[Trajectories, Tensor]], longest: int) -> Visited:
    """What the steps share of the chosen; tables that are one are kept as one."""
    every = [trajectories.visited for trajectories, _ in parts]
    found = [visited for visited in every if visited is not None]
    one = all(visited.base is found[0].base for visited in found)
    state, context, reached, states, contexts = [], [], [], 0, 0
    for visited, (_, index) in zip(found, parts):
        state.append(padded(visited.state[index] + states, longest))
        context.append(padded(visited.context[index] + contexts, longest))
        reached.append(padded(visited.reached[index], longest))
        states += len(visited.inputs)
        contexts += 0 if one else len(visited.base)
    changes = [visited.changed for visited in found if visited.changed is not None]
    return Visited(
        inputs=torch.cat([visited.inputs for visited in found]),
        state=torch.cat(state),
        base=found[0].base if one else torch.cat([visited.base for visited in found]),
        changed=(changes[0] if one else torch.cat(changes)) if changes else None,
        context=torch.cat(context),
        reached=torch.cat(reached),
    )


def padded(values: Tensor, steps: int) -> Tensor:
    """Values [n, T, ...] with zeros up to so many steps [n, steps, ...]."""
    missing = steps - values.shape[1]
    if not missing:
        return values
    return torch.cat((values, values.new_zeros((len(values), missing, *values.shape[2:]))), dim=1)


class Replay:
    """The last batches. A text of a prompt is in it once, where it was last written.

    Args:
        kept: batches.
        sharpness: of softmax(sharpness r), by which texts are drawn; 0 for evenly.
    """

    def __init__(self, kept: int, sharpness: float) -> None:
        self._batches: deque[tuple[Trajectories, NDArray[np.int64]]] = deque(maxlen=kept)
        self._sharpness = sharpness

    def add(self, trajectories: Trajectories, prompts: NDArray[np.int64]) -> None:
        """A batch, whose texts are of the prompts [N]; the oldest goes where there are enough."""
        bare = replace(trajectories, texts=[], metrics={})
        self._batches.append((bare, prompts))
        for place, (batch, numbers) in enumerate(self._batches):
            self._batches[place] = with_tables_of(batch, bare), numbers

    def distinct(self) -> dict[int, list[tuple[int, int]]]:
        """Where the texts of each prompt are: (batch, row), the last place of each."""
        found: dict[int, dict[bytes, tuple[int, int]]] = {}
        for place, (trajectories, prompts) in enumerate(self._batches):
            actions, mask = trajectories.actions.cpu().numpy(), trajectories.mask.cpu().numpy()
            for row, prompt in enumerate(prompts.tolist()):
                found.setdefault(prompt, {})[actions[row][mask[row]].tobytes()] = place, row
        return {prompt: list(texts.values()) for prompt, texts in found.items() if len(texts) > 1}

    def draw(self, steps: int, groups: int, size: int, rng: np.random.Generator) -> list[GroupedTexts]:
        """What some steps learn from; nothing where no prompt has two texts.

        Args:
            steps: how many.
            groups: prompts a step.
            size: texts of each, at most.
            rng: draws.
        """
        known = self.distinct()
        if not known:
            return []
        rewards = [batch.rewards.sum(1).cpu().numpy() for batch, _ in self._batches]
        drawn = []
        for _ in range(steps):
            prompts = rng.choice(list(known), groups, replace=len(known) < groups)
            places = []
            for prompt in prompts.tolist():
                worth = np.array([rewards[batch][row] for batch, row in known[prompt]])
                # without replacement: the largest of Gumbel variables above their logits
                ranked = np.argsort(-(self._sharpness * worth + rng.gumbel(size=len(worth))))
                places.append([known[prompt][each] for each in ranked[:size]])
            drawn.append(self._texts(places, prompts))
        return drawn

    def _texts(self, places: Sequence[Sequence[tuple[int, int]]], prompts: NDArray[np.int64]) -> GroupedTexts:
        """The texts at places, by group."""
        flat = np.array([(*place, group) for group, some in enumerate(places) for place in some])
        flat = flat[np.lexsort((flat[:, 1], flat[:, 0]))]
        device = self._batches[0][0].mask.device
        parts = []
        for batch in np.unique(flat[:, 0]).tolist():
            rows = torch.as_tensor(flat[flat[:, 0] == batch, 1], device=device)
            parts.append((self._batches[batch][0], rows))
        return GroupedTexts(joined(parts), torch.as_tensor(flat[:, 2], device=device), prompts)

    def state(self) -> list[dict[str, Any]]:
        """For a checkpoint."""
        return [{"prompts": prompts, **stored(batch)} for batch, prompts in self._batches]

    def restore(self, state: Sequence[Mapping[str, Any]], device: torch.device) -> None:
        """Put a state back."""
        self._batches.clear()
        self._batches.extend(zip(restored(state, device), (one["prompts"] for one in state), strict=True))


def with_tables_of(trajectories: Trajectories, other: Trajectories) -> Trajectories:
    """The same, holding another's tables where they are alike: those of a checkpoint are copies."""
    visited, others = trajectories.visited, other.visited
    if visited is None or others is None or visited.base is others.base:
        return trajectories
    if not torch.equal(visited.base, others.base):
        return trajectories
    return replace(trajectories, visited=replace(visited, base=others.base, changed=others.changed))
