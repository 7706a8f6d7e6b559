"""What a text says so far, learnt: sums over its tokens and over the pairs of neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MOST_PAIRS = 1 << 24  # vocabularies of up to 4,096 tokens


class TextEvidence(nn.Module):
    """Learnt sums over a text so far: an embedding of each token, and a number for each pair of neighbours.

    Most words are one or two byte-pair tokens, so that token and pair together know words. A sum over n
    tokens is divided by sqrt(n). Of a vocabulary too large for a table of pairs, tokens are words already,
    and pairs weigh nothing.

    Args:
        vocab_size: V.
        size: of the embeddings.
        pairs: whether pairs weigh anything.
        device: of the weights.
    """

    def __init__(self, vocab_size: int, size: int, pairs: bool = True, *, device: str | None = None) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.size = size
        self.embedding = nn.Embedding(vocab_size, size, device=device)
        nn.init.normal_(self.embedding.weight, std=0.1)
        pairs = pairs and vocab_size**2 <= MOST_PAIRS
        self.pairs = nn.Embedding(vocab_size**2, 1, sparse=True, device=device) if pairs else None
        if self.pairs is not None:
            nn.init.zeros_(self.pairs.weight)

    def of_tokens(self, before: Tensor, tokens: Tensor) -> Tensor:
        """What tokens [...] add after the tokens before them, -1 for none: [..., size + 1]."""
        added = self.embedding(tokens)
        if self.pairs is None:
            return nn.functional.pad(added, (0, 1))
        pair = self.pairs(before.clamp_min(0) * self.vocab_size + tokens) * (before >= 0)[..., None]
        return torch.cat((added, pair), dim=-1)

    def sums(self, texts: Tensor) -> Tensor:
        """Of the first 0 to L tokens of texts [N, L]: [N, L + 1, size + 1]; padding may be V."""
        texts = texts.clamp_max(self.vocab_size - 1)
        added = self.of_tokens(after_none(texts)[:, :-1], texts)
        return nn.functional.pad(added.cumsum(dim=1), (0, 0, 1, 0))

    def pairs_after(self, tokens: Tensor) -> Tensor | None:
        """The numbers [N, V] of the pairs that tokens [N] (-1 for none) make with each next token, without
        gradient.
        """
        if self.pairs is None:
            return None
        table = self.pairs.weight.detach().view(self.vocab_size, self.vocab_size)
        return table[tokens.clamp_min(0)] * (tokens >= 0)[:, None]


def after_none(texts: Tensor) -> Tensor:
    """Texts [N, L] after a -1, [N, L + 1]: entry t is the token before position t."""
    return nn.functional.pad(texts, (1, 0), value=-1)
