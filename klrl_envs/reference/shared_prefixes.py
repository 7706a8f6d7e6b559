"""What a network knows of the beginnings that many texts share: read once, attended to by all at once."""

from __future__ import annotations

import torch
from torch import Tensor


def worth_sharing(rows: Tensor, prefixes: int) -> bool:
    """Whether texts behind rows [N] of so many prefixes are several to each, and about equally many."""
    return 2 * prefixes <= len(rows) and prefixes * int(rows.bincount().max()) <= 2 * len(rows)


class SharedPrefixes:
    """Keys and values of U prefixes, and behind which of them each of N texts stands.

    Args:
        pairs: a block each, complex [2, U, heads, S, size / 2]; what is beyond a prefix's length is not read.
        lengths: int64 [U], of the prefixes, at most S.
        rows: int64 [N], the prefix of each text.
    """

    def __init__(self, pairs: list[Tensor], lengths: Tensor, rows: Tensor) -> None:
        self._pairs, self._lengths, self._rows = pairs, lengths, rows
        self._read = [torch.view_as_real(each).flatten(-2).flatten(1, 2) for each in pairs]
        self._heads = pairs[0].shape[2]
        # texts of a prefix are rows of one product: slots [N] of U groups, all as large as the largest
        counts = rows.bincount(minlength=len(lengths))
        self._group = int(counts.max()) if len(counts) else 0
        order = rows.argsort(stable=True)
        before = counts.cumsum(0) - counts
        slots = torch.empty_like(rows)
        slots[order] = rows[order] * self._group + torch.arange(len(rows), device=rows.device)
        slots -= before[rows]
        every = torch.arange(len(rows), device=rows.device)
        whole = len(rows) == len(lengths) * self._group and bool((slots == every).all())
        self._slots = None if whole else slots
        places = torch.arange(pairs[0].shape[3], device=rows.device)
        beyond = places >= lengths[:, None]
        self._beyond = beyond.repeat_interleave(self._heads, dim=0)[:, None] if bool(beyond.any()) else None

    @property
    def behind(self) -> Tensor:
        """Positions before each text's own, int64 [N]."""
        return self._lengths[self._rows]

    def scores(self, block: int, query: Tensor) -> Tensor:
        """Of queries [N heads, 1, size] with the keys of their prefixes, [N heads, 1, S]."""
        scores = torch.bmm(self._grouped(query), self._read[block][0].transpose(1, 2))
        if self._beyond is not None:
            scores.masked_fill_(self._beyond, -torch.inf)
        return self._apart(scores)

    def attended(self, block: int, shares: Tensor) -> Tensor:
        """The values of their prefixes by shares [N heads, 1, S], summed: [N heads, 1, size]."""
        return self._apart(torch.bmm(self._grouped(shares), self._read[block][1]))

    def of_each(self, block: int) -> Tensor:
        """A copy for each text, [2, N, heads, S, size / 2]."""
        return self._pairs[block][:, self._rows]

    def keep(self, lanes: Tensor) -> SharedPrefixes:
        """Of texts [K] alone, in this order; prefixes that nobody stands behind go."""
        of_prefix = self._rows[lanes].bincount(minlength=len(self._lengths))
        used = of_prefix.nonzero()[:, 0]
        rows = ((of_prefix > 0).cumsum(0) - 1)[self._rows[lanes]]
        if len(used) == len(self._lengths):
            return SharedPrefixes(self._pairs, self._lengths, rows)
        return SharedPrefixes([each[:, used] for each in self._pairs], self._lengths[used], rows)

    def _grouped(self, each: Tensor) -> Tensor:
        """[N heads, 1, M] of texts as [U heads, group, M] of prefixes; what is in empty slots is not used."""
        each = each.view(-1, self._heads, each.shape[2])
        if self._slots is not None:
            padded = each.new_zeros((len(self._lengths) * self._group, *each.shape[1:]))
            padded[self._slots] = each
            each = padded
        shape = (len(self._lengths), self._group, self._heads, -1)
        return each.view(shape).transpose(1, 2).flatten(0, 1)

    def _apart(self, grouped: Tensor) -> Tensor:
        """[U heads, group, M] of prefixes as [N heads, 1, M] of texts."""
        each = grouped.view(len(self._lengths), self._heads, self._group, -1).transpose(1, 2).flatten(0, 1)
        if self._slots is not None:
            each = each[self._slots]
        return each.reshape(-1, 1, grouped.shape[2])
