"""The rows of published formulas, with their sources."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.signals import formulas
from benchmarks.signals.row import Row
from klrl_envs.signals import Batch

OPENRLHF = "OpenRLHF/OpenRLHF@3c3be6234e0c"
OPENRLHF_REWARD = f"{OPENRLHF} openrlhf/trainer/ppo_utils/experience_maker.py openrlhf/models/loss.py"
OPENRLHF_LOSS = f"{OPENRLHF_REWARD} openrlhf/trainer/ray/ppo_actor.py"
SLIME = "THUDM/slime@624b824a898a slime/backends/megatron_utils/loss.py slime/utils/ppo_utils.py"
VERL = "verl-project/verl@1dda039b9c63"
VERL_LOSS = f"{VERL} verl/trainer/ppo/core_algos.py verl/workers/utils/losses.py"
VERL_REWARD = f"{VERL} verl/trainer/ppo/ray_trainer.py verl/trainer/ppo/core_algos.py"
PRIME = "PrimeIntellect-ai/prime-rl@559b44772e47 src/prime_rl/trainer/rl/loss.py"
OPEN_INSTRUCT = (
    "allenai/open-instruct@e6c3044aa620 open_instruct/grpo_utils.py open_instruct/model_utils.py "
    "open_instruct/data_loader.py"
)
READ = "August 2026"
"""When these commits were the newest."""


def row(name: str, label: str, loss: Callable[[Batch], torch.Tensor], source: str, *, batch: int = 1) -> Row:
    """A row of the table."""
    return Row(f"formula-{name}", label, "formula", source, lambda: loss, batch=batch)


ROWS = (
    row("rloo", "leave-one-out REINFORCE, k1 in the reward", formulas.rloo, "2402.14740"),
    row(
        "corrected-grpo",
        "Dr. GRPO with k1 in the reward, where the paper has no KL",
        formulas.corrected_grpo,
        "2503.20783",
    ),
    row(
        "sequence-k2",
        "leave-one-out REINFORCE, sequence-level k2 in the loss",
        formulas.sequence_k2,
        "2506.09477",
    ),
    row("gvpo", "GVPO", formulas.gvpo, "2504.19599"),
    row("trajectory-balance", "trajectory balance, VarGrad", formulas.trajectory_balance, "2503.18929"),
    row("a-star-po", "A*PO, V of the group's other texts", formulas.a_star_po, "2505.20686"),
    row("rebel-pi0", "REBEL, pi0 as its base", formulas.rebel_from_pi0, "2404.16767"),
    row("rebel", "REBEL, the previous policy as its base", formulas.rebel, "2404.16767"),
    row("grpo", "GRPO, as published", formulas.grpo, "2402.03300"),
    row("dapo", "DAPO (no KL)", formulas.dapo, "2503.14476"),
    row("dr-grpo", "Dr. GRPO (no KL)", formulas.dr_grpo, "2503.20783"),
    row("gspo", "GSPO (no KL)", formulas.gspo, "2507.18071"),
    row("cispo", "CISPO (no KL)", formulas.cispo, "2506.13585"),
    row(
        "openrlhf-reinforce-plus-plus",
        "OpenRLHF REINFORCE++: k1 in the reward",
        formulas.reinforce_plus_plus,
        OPENRLHF_REWARD,
        batch=2,
    ),
    row(
        "openrlhf-baseline",
        "OpenRLHF REINFORCE++-baseline: k1 in the reward",
        formulas.reinforce_plus_plus_baseline,
        OPENRLHF_REWARD,
        batch=2,
    ),
    row(
        "openrlhf-baseline-k1",
        "OpenRLHF REINFORCE++-baseline: use_kl_loss, k1",
        formulas.openrlhf_k1,
        OPENRLHF_LOSS,
        batch=2,
    ),
    row(
        "openrlhf-baseline-k2",
        "OpenRLHF REINFORCE++-baseline: use_kl_loss, k2",
        formulas.openrlhf_k2,
        OPENRLHF_LOSS,
        batch=2,
    ),
    row(
        "openrlhf-baseline-k3",
        "OpenRLHF REINFORCE++-baseline: use_kl_loss, k3",
        formulas.openrlhf_k3,
        OPENRLHF_LOSS,
        batch=2,
    ),
    row("verl-grpo", "verl GRPO: use_kl_loss, low_var_kl", formulas.verl_grpo, VERL_LOSS),
    row(
        "verl-grpo-straight-through",
        "verl GRPO: use_kl_loss, k3+",
        formulas.verl_grpo_straight_through,
        VERL_LOSS,
    ),
    row("verl-grpo-in-reward", "verl GRPO: use_kl_in_reward, k1", formulas.verl_grpo_in_reward, VERL_REWARD),
    row("slime-grpo", "slime GRPO: use_kl_loss, use_unbiased_kl, k3", formulas.slime_grpo, SLIME),
    row(
        "slime-baseline",
        "slime REINFORCE++-baseline: k1 in the advantage",
        formulas.slime_baseline,
        SLIME,
        batch=2,
    ),
    row("prime-rl", "prime-rl (no KL from pi0)", formulas.prime_rl, PRIME),
    row(
        "open-instruct-kl3",
        "open-instruct GRPO: centered, kl_estimator 2",
        formulas.open_instruct_kl3,
        OPEN_INSTRUCT,
    ),
    row(
        "open-instruct-kl4",
        "open-instruct GRPO: standard, kl_estimator 3",
        formulas.open_instruct_kl4,
        OPEN_INSTRUCT,
    ),
)
