"""Small policies away from the reference, and files of bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch

import klrl_envs
from klrl_envs.networks.hidden_state import HiddenStateNetwork
from klrl_envs.networks.language_model import LanguageModelNetwork
from klrl_envs.networks.network import Network
from klrl_envs.networks.q_values import QHeads, QResidual
from klrl_envs.networks.residual import ResidualNetwork
from klrl_envs.networks.state_table import StateTable
from klrl_envs.networks.table import Table
from klrl_envs.networks.text_heads import TextHeads
from klrl_envs.networks.word_heads import WordHeads
from klrl_envs.networks.words import keys_of

GRID = "klrl/GridNavigation-v0"
KINDS = {
    "residual": GRID,
    "residual elsewhere": "klrl/DiagnosticReference-v0",
    "state-table": "klrl/Recall-v0",
    "table": GRID,
    "language-model": "klrl/Sentiment-v0",
    "language-model of factors": "klrl/Sentiment-v0",
    "text-heads": "klrl/Sentiment-v0",
    "text-heads without pairs": "klrl/Sentiment-v0",
    "word-heads": "klrl/Sentiment-v0",
    "hidden-state": "klrl/Sentiment-v0",
    "q-residual": GRID,
    "q-residual of distributions": "klrl/DiagnosticReference-v0",
    "q-heads": "klrl/Sentiment-v0",
    "q-heads of distributions": "klrl/Sentiment-v0",
}


def grid_network(width: int = 8) -> ResidualNetwork:
    """A network of GridNavigation-v0 that is not the reference."""
    return moved(ResidualNetwork(klrl_envs.evaluation_task(GRID), width))


def moved(network: Any) -> Any:
    """A torch network with weights that are not zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))
    return network


def shaken(network: Any) -> Any:
    """A language model whose own weights are a little away from where they were."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.requires_grad:
                weight += 0.02 * torch.randn(weight.shape, generator=generator)
    return network


def network_of_kind(name: str) -> Network:
    """A network of each kind, on its environment in ``KINDS``."""
    task = klrl_envs.evaluation_task(KINDS[name])
    if name == "state-table":
        states = StateTable(task)
        states.values += np.random.default_rng(0).normal(0, 0.5, states.values.shape).astype(np.float32)
        return states
    if name == "table":
        table = Table(task)
        table.values += np.random.default_rng(0).normal(0, 4, table.values.shape)
        return table
    if name == "hidden-state":
        return moved(HiddenStateNetwork(task, 16))
    if name.startswith("language-model"):
        return shaken(LanguageModelNetwork(task, *((4, 8) if name.endswith("factors") else ())))
    if name.startswith("text-heads"):
        return moved(TextHeads(task, 4, 16, pairs=int(name == "text-heads")))
    if name == "word-heads":
        heads = moved(WordHeads(task, 4, 16, 12))
        heads.words.set(keys_of(["good", "the", "a"]), np.array([2.0, -0.5, 0.3]), (0.5, 0.1, 0.1, 0.1))
        return heads
    if name.startswith("q-"):
        kind = QResidual if name.startswith("q-residual") else QHeads
        atoms = 3 if name.endswith("distributions") else 1
        return moved(kind(task, width=16, second=12, third=8, atoms=atoms))
    return moved(ResidualNetwork(task, 8))


def file_bytes(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A safetensors file by hand: a header as text or as JSON, and what its length is said to be."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data
