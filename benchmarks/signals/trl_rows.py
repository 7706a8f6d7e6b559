"""TRL's trainers, as they are installed, at the settings that people choose between."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.signals.row import CHANGES, TASK, Row
from benchmarks.signals.trl_losses import Algorithm, Called
from klrl_envs.signals import Loss
from klrl_envs.signals.variants import BATCH_STEPS

COUPLED = ("rewards and kl_coef times 10",)
"""What is tried where a standard deviation is the batch's, so that calls are made one after the other."""
SOURCES: dict[Algorithm, str] = {
    "GRPO": "trl/trainer/grpo_trainer.py",
    "RLOO": "trl/trainer/rloo_trainer.py",
}
CORRECTED, PLAIN = {"use_bias_correction_kl": True}, {"use_bias_correction_kl": False}


def made(called: Called) -> Loss:
    """The loss of a row."""
    return called.loss(most_tokens=TASK.tokens.shape[1])


def row(name: str, label: str, algorithm: Algorithm, settings: dict[str, Any], *, beta: bool = True) -> Row:
    """A row of the table."""
    steps = BATCH_STEPS if algorithm == "GRPO" else 1  # RLOO keeps what the policy thought in any case
    called = Called(algorithm, settings, beta=beta, steps=steps)
    coupled = called.groups_meet_in == "deviation"
    return Row(
        name=f"trl-{name}",
        label=label,
        kind="TRL",
        source=SOURCES[algorithm],
        loss=partial(made, called),
        group=2 if coupled else 4,
        batch=2 if coupled else 1,
        changes=() if not beta else COUPLED if coupled else CHANGES,
        modules=("trl",),
    )


def grpo(loss_type: str, scale: str, *, level: str = "token", corrected: bool = True, **more: Any) -> Row:
    """GRPO with beta = kl_coef at a loss type, a scale of rewards, a level of the ratio, a KL."""
    settings = {
        "loss_type": loss_type,
        "scale_rewards": scale,
        "importance_sampling_level": level,
        "use_bias_correction_kl": corrected,
        **more,
    }
    told = [f"loss_type {loss_type}", f"scale_rewards {scale}"]
    told += [f"importance_sampling_level {level}"] if level != "token" else []
    told += [] if corrected else ["use_bias_correction_kl False"]
    told += [f"{key} {value}" for key, value in more.items()]
    short = [loss_type, scale, *([level] if level != "token" else []), *([] if corrected else ["k3"]), *more]
    return row("-".join(["grpo", *short]), f"GRPO: {', '.join(told)}", "GRPO", settings)


LOSS_TYPES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo")
ROWS = (
    row("rloo", "RLOO, as it comes but for beta", "RLOO", {}),
    row("grpo-as-it-comes", "GRPO, as it comes (dapo, group, beta 0)", "GRPO", {}, beta=False),
    *[grpo(loss_type, "group") for loss_type in LOSS_TYPES],
    grpo("cispo", "group", epsilon_high=5.0),
    grpo("dapo", "none"),
    grpo("dapo", "group", corrected=False),
    grpo("grpo", "none"),
    grpo("dr_grpo", "none"),
    grpo("dr_grpo", "none", corrected=False),
    grpo("luspo", "none"),
    grpo("grpo", "group", level="sequence"),
    grpo("grpo", "none", level="sequence"),
    grpo("luspo", "none", level="sequence"),
    grpo("luspo", "none", level="sequence", corrected=False),
    row("rloo-normalised", "RLOO: normalize_advantages True", "RLOO", {"normalize_advantages": True}),
    grpo("dapo", "batch"),
)
