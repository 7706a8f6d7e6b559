"""A Llama-style transformer in plain torch: RMSNorm, rotary positions, SwiGLU, tied embeddings.

The layout of its weights is that of ``transformers.LlamaForCausalLM`` up to names (``to_llama``), so
that the shipped weights can be compared with, or loaded by, other code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class NanoConfig:
    """Shape of a nano transformer. ``context`` is the longest sequence (tokens), start token included."""

    vocab_size: int = 2048
    width: int = 192
    layers: int = 4
    heads: int = 3
    hidden: int = 512
    context: int = 128
    rope_base: float = 10_000.0
    norm_eps: float = 1e-6


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary position embedding of x [..., T, head_dim] by angles [..., T, head_dim / 2]."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)


class Block(nn.Module):
    """Pre-norm attention and SwiGLU feed-forward."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.attention_norm = nn.RMSNorm(width, eps=config.norm_eps)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.feed_forward_norm = nn.RMSNorm(width, eps=config.norm_eps)
        self.gate_up = nn.Linear(width, 2 * config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, width, bias=False)

    def split_heads(self, x: Tensor) -> Tensor:
        """Queries, keys and values [3, B, heads, T, head_dim] of x [B, T, width]."""
        batch, length, width = x.shape
        projected = self.query_key_value(self.attention_norm(x))
        return projected.view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)

    def merge(self, x: Tensor, attended: Tensor) -> Tensor:
        """Residual stream after attention output [B, heads, T, head_dim] and feed-forward."""
        x = x + self.attention_out(attended.transpose(1, 2).reshape(x.shape))
        gate, up = self.gate_up(self.feed_forward_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        query, key, value = self.split_heads(x)
        query, key = rotate(query, cosine, sine), rotate(key, cosine, sine)
        return self.merge(x, F.scaled_dot_product_attention(query, key, value, is_causal=True))


class Nano(nn.Module):
    """The transformer. ``forward(tokens [B, T]) -> logits [B, T, V]``; row t predicts token t + 1."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        half = config.width // config.heads // 2
        frequencies = config.rope_base ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.outer(torch.arange(config.context, dtype=torch.float64), frequencies)
        self.register_buffer("cosine", angles.cos().float(), persistent=False)
        self.register_buffer("sine", angles.sin().float(), persistent=False)

    @property
    def layers(self) -> list[Block]:
        """The blocks, in order."""
        return [cast(Block, block) for block in self.blocks]

    def hidden(self, tokens: Tensor) -> Tensor:
        """Final normalised hidden states [B, T, width] of tokens [B, T]."""
        length = tokens.shape[1]
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cosine[:length], self.sine[:length])
        return self.norm(x)

    def unembed(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of normalised hidden states [..., width]."""
        return F.linear(hidden, self.embedding.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.unembed(self.hidden(tokens))
