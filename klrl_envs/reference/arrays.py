"""The arrays of the library by name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
LogProbs = NDArray[np.float64] | NDArray[np.float32]
"""Rows of log-probabilities, nats: float64 of tables, float32 of networks."""
