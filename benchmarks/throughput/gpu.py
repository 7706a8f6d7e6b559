"""The same on CUDA: writing against ``generate`` and the products, training against TRL.

No bar is set: a network of 2.2 M parameters leaves a large device waiting for its host. What the table tells
is how far from the products, the limit in float32 without TF32, each side is at many lanes.
"""

from __future__ import annotations

from benchmarks.throughput import sentiment, trl
from benchmarks.throughput.rounds import report

LANES = (256, 1024, 4096, 16384)
MISSING = "torch sees no CUDA device here: nothing to measure"


def run(rounds: int) -> None:
    """Measure and print; without a CUDA device only that there is none."""
    import torch

    if not torch.cuda.is_available():
        print(MISSING)
        return
    print(torch.cuda.get_device_name())
    best = sentiment.measure(rounds, LANES, "cuda")
    report("Generated tokens", best, "Sentiment", "tokens/s", {"generate": None, "products": None})
    trl.run(rounds, "cuda")
