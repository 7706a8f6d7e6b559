"""`klrl export`: a language model as a folder for other people's code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from klrl_envs.reference.llama import check_free, save_folder

if TYPE_CHECKING:
    from klrl_envs.reference.nano import Nano

NAME = "nano"
TASK = "klrl/Sentiment-v0"
"""Any with nano for its reference: a policy file has the weights, and of LoRA what is added to nano's."""


def export_model(what: str, folder: Path, console: Console, *, force: bool) -> None:
    """Write the folder and say what takes it.

    Args:
        what: "nano", or the policy.safetensors of a training that moved the weights of nano.
        folder: see ``klrl_envs.reference.llama.save_folder``.
        console: to print to.
        force: replace the model that lies there.

    Raises:
        ValueError: nothing of this name can be exported, or a file of another policy.
        FileExistsError: the folder has files.
    """
    check_free(folder.expanduser().resolve(), force)  # before anything is loaded
    path = save_folder(model_of(what), folder, force=force)
    console.print(str(path), markup=False, soft_wrap=True, highlight=False)
    console.print(
        "AutoModelForCausalLM.from_pretrained and AutoTokenizer.from_pretrained take this folder, and so "
        "does an environment's reference=.",
        markup=False,
        soft_wrap=True,
    )


def model_of(what: str) -> Nano:
    """The network that is to be exported; see ``export_model``."""
    if what == NAME:
        from klrl_envs.reference.transformer import load_nano

        return load_nano()
    if Path(what).suffix != ".safetensors":
        raise ValueError(f"WHAT must be {NAME!r} or a file policy.safetensors, got {what!r}")
    from klrl_envs.envs.lookup import evaluation_task
    from klrl_envs.networks.bounded import read_regular
    from klrl_envs.networks.files import network_of
    from klrl_envs.networks.language_model import LanguageModelNetwork

    try:
        network = network_of(read_regular(what), evaluation_task(TASK))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what}: {error}") from None
    if not isinstance(network, LanguageModelNetwork):
        raise ValueError(
            f"{what} has the network {network.kind!r}, which is no language model of its own; those that "
            "agents train with --train all or --train lora can be exported"
        )
    return network.plain()
