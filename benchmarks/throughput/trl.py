"""Training all weights: leave-one-out REINFORCE of this repository against TRL's RLOO, tokens/s.

The same weights, prompts, objective and batch: 64 texts of 24 new tokens in groups of 4, one update a batch,
float32, as many threads as torch has here (OMP_NUM_THREADS). TRL runs as ``examples/trl_rloo.py`` sets it:
no gradient checkpointing, no bfloat16, its own key-value cache, nothing saved or evaluated. Each run is a
process of its own, and its speed is that between its third update and its last, by its progress.jsonl:
imports, loading and evaluation are not in it. Beside them stand the products with weights alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.throughput.rounds import report

MISSING = "TRL is not installed: pip install 'klrl-envs[trl]'"
CHECKOUT = Path(__file__).resolve().parents[2]
BATCH, GROUP, PROMPT, HORIZON = 64, 4, 8, 24
UPDATES, WARM_UP = 20, 2
BAR = 2.5
PROMPTS_ONCE = (BATCH // GROUP * (PROMPT + 1), BATCH // GROUP)
"""Rows of the layers, and of the logits: the start token and the prompt, which a group shares."""
TOKEN_EACH = (BATCH, BATCH)
READ_ONCE = (PROMPTS_ONCE[0] + BATCH * (HORIZON - 1), BATCH * HORIZON)
"""A text's last token is scored, not read."""


def commands(tokens: int, threads: int, device: str = "cpu") -> dict[str, list[str]]:
    """A command for each side, without its folder."""
    shared = [
        "--tokens", str(tokens), "--learning-rate", "1e-4", "--threads", str(threads), "--episodes", "128",
    ]  # fmt: skip
    ours = ["--env-id", "klrl/Sentiment-v0", "--train", "all", "--batch", str(BATCH), "--group", str(GROUP)]
    plain = ["-m", "agents.reinforce", *ours, *shared, "--device", device]
    compiled = {"reinforce, compiled": [*plain, "--compile-layers"]} if has_compiler() else {}
    return {
        "reinforce, all weights": plain,
        **compiled,
        "RLOO of TRL": ["-m", "examples.trl_rloo", *shared, "--device", device],
    }


def has_compiler() -> bool:
    """Whether there is a C++ compiler, which ``torch.compile`` calls."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "c++", "clang++"))


def speed_of(progress: str) -> float:
    """Tokens/s after the warm-up, from the lines of a progress.jsonl.

    Raises:
        ValueError: too few updates.
    """
    lines = [json.loads(line) for line in progress.splitlines()][WARM_UP:]
    if len(lines) < 2:
        raise ValueError(f"a run needs at least {WARM_UP + 2} updates, got {len(lines) + WARM_UP}")
    first, last = lines[0], lines[-1]
    return (last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"])


def train(command: list[str]) -> float:
    """Tokens/s of one training, in a process of its own.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    with tempfile.TemporaryDirectory() as out:
        ran = subprocess.run(
            [sys.executable, *command, "--out", out],
            cwd=CHECKOUT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ran.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{ran.stderr[-2000:]}")
        return speed_of(Path(out, "progress.jsonl").read_text(encoding="utf-8"))


def products_round(device: str = "cpu") -> float:
    """Tokens/s of an update's products of weights and activations alone, float32.

    Writing: the prompts once each, then a token of every text at a time. Reading: the prompts once each, and
    all tokens of the texts but the last, by pi0; the same by the policy, and two products as large for its
    gradient. What goes in and what comes out lies there before the time begins.
    """
    import torch

    from klrl_envs.reference.nano import NanoConfig

    config = NanoConfig()
    width, hidden = config.width, config.hidden
    block = [(width, 3 * width), (width, width), (width, 2 * hidden), (hidden, width)]
    maps = [torch.randn(out, into, device=device) for _ in range(config.layers) for into, out in block]
    unembedding = torch.randn(config.vocab_size, width, device=device)
    prepared = {
        rows: [
            (weight, *buffers(weight, count))
            for weight, count in [*((weight, rows) for weight in maps), (unembedding, scored)]
        ]
        for rows, scored in (PROMPTS_ONCE, TOKEN_EACH, READ_ONCE)
    }
    if device != "cpu":
        torch.cuda.synchronize()

    started = time.perf_counter()
    with torch.inference_mode():
        for (rows, _), times in ((PROMPTS_ONCE, 1), (TOKEN_EACH, HORIZON - 1), (READ_ONCE, 2)):
            for _ in range(times):
                for weight, x, y, _ in prepared[rows]:
                    torch.mm(x, weight.T, out=y)
        for weight, x, y, gradient in prepared[READ_ONCE[0]]:
            torch.mm(y, weight, out=x)
            torch.mm(y.T, x, out=gradient)
        if device != "cpu":
            torch.cuda.synchronize()
    return BATCH * HORIZON / (time.perf_counter() - started)


def buffers(weight: Any, rows: int) -> tuple[Any, Any, Any]:
    """What a map's product reads [rows, into] and writes [rows, out], and its weight's gradient."""
    import torch

    out, into = weight.shape
    x = torch.ones(rows, into, device=weight.device)
    return x, torch.ones(rows, out, device=weight.device), torch.empty_like(weight)


def measure(rounds: int, device: str = "cpu") -> tuple[dict[str, float], float]:
    """Both sides and the products alone, tokens/s; the best of alternating rounds."""
    import torch

    best: dict[str, float] = {}
    limit = 0.0
    for _ in range(rounds):
        sides = commands(UPDATES * BATCH * HORIZON, torch.get_num_threads(), device)
        for name, command in sides.items():
            best[name] = max(best.get(name, 0.0), train(command))
        limit = max(limit, *(products_round(device) for _ in range(5)))
    return best, limit


def run(rounds: int, device: str = "cpu") -> None:
    """Measure and print; without TRL only how to install it."""
    if find_spec("trl") is None or find_spec("datasets") is None:
        print(MISSING)
        return
    best, limit = measure(rounds, device)
    report("Training of all weights", best, "reinforce", "tokens/s", {"RLOO": BAR})
    share = max(speed for name, speed in best.items() if name.startswith("reinforce")) / limit
    print(
        f"  {'its matrix products alone':<28} {limit:>12,.0f} tokens/s; reinforce reaches {share:.2f} of it\n"
    )
