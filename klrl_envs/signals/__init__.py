"""What a training signal really does: `check_signal` takes a loss and says where it leads, exactly.

A signal is a function from a ``Batch`` to a loss, written as trainers write it. On tiny tasks, whose texts
can all be written down, its expected gradient and its end need no sampling and no training run::

    from klrl_envs.signals import Batch, check_signal

    def loss(batch: Batch):
        log_ratio = ((batch.log_probs - batch.reference_log_probs) * batch.mask).sum(dim=1)
        reward = batch.rewards - batch.kl_coef * log_ratio.detach()
        advantage = reward - reward.mean()
        return -(advantage * (batch.log_probs * batch.mask).sum(dim=1)).mean()

    print(check_signal(loss))

Torch is imported where a name is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from klrl_envs.signals.batch import Batch, Loss
    from klrl_envs.signals.check import check_signal
    from klrl_envs.signals.known import leave_one_out, reinforce
    from klrl_envs.signals.report import Report
    from klrl_envs.signals.tiny import TinyTask, random_task, tiny_task

_WHERE = {
    "Batch": "batch",
    "Loss": "batch",
    "Report": "report",
    "TinyTask": "tiny",
    "check_signal": "check",
    "leave_one_out": "known",
    "random_task": "tiny",
    "reinforce": "known",
    "tiny_task": "tiny",
}

__all__ = [
    "Batch",
    "Loss",
    "Report",
    "TinyTask",
    "check_signal",
    "leave_one_out",
    "random_task",
    "reinforce",
    "tiny_task",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'klrl_envs.signals' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"klrl_envs.signals.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
