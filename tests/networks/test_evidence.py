"""The sums that a text policy reads."""

from __future__ import annotations

import torch

from klrl_envs.networks.evidence import TextEvidence


def test_sums_over_a_text_are_its_tokens_and_pairs() -> None:
    evidence = TextEvidence(5, 2)
    torch.nn.init.normal_(evidence.pairs.weight)  # type: ignore[union-attr]
    texts = torch.tensor([[1, 4, 4], [0, 2, 3]])
    sums = evidence.sums(texts)
    pairs = evidence.pairs.weight.view(5, 5)  # type: ignore[union-attr]
    assert sums.shape == (2, 4, 3) and not sums[:, 0].any()
    torch.testing.assert_close(sums[0, 3, :2], evidence.embedding.weight[[1, 4, 4]].sum(0))
    torch.testing.assert_close(sums[0, :, 2], torch.stack((pairs[0, 0] * 0, pairs[0, 0] * 0, pairs[1, 4],
                                                           pairs[1, 4] + pairs[4, 4])))  # fmt: skip
    assert TextEvidence(5_000, 2).pairs is None
