"""`klrl export`: a language model as a folder for other people's code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from klrl_envs.cli.options import print_path
from klrl_envs.reference.llama import save_folder
from klrl_envs.reference.model_folder import check_free

if TYPE_CHECKING:
    from klrl_envs.reference.nano import Nano

NAME = "nano"
TASK = "klrl/Sentiment-v0"
"""Any with nano for its reference: a policy file has the weights, and of LoRA what is added to nano's."""


def export_model(
    what: str,
    folder: Path,
    console: Console,
    *,
    force: bool,
    reference: str | None = None,
    as_json: bool = False,
) -> None:
    """Write the folder and say what takes it.

    Args:
        what: "nano", the policy.safetensors of a training that moved the weights of nano, or the folder
            policy of one that moved those of another model.
        folder: see ``klrl_envs.reference.llama.save_folder``.
        console: to print to.
        force: replace the model that lies there.
        reference: folder or hub id of the model that such a training began with.
        as_json: print where it is as JSON, and nothing else.

    Raises:
        ValueError: nothing of this name can be exported, or a file of another policy.
        FileExistsError: the folder has files.
    """
    check_free(folder.expanduser().resolve(), force)  # before anything is loaded
    if Path(what).is_dir():
        path = merged(Path(what), reference, folder, force=force)
    elif reference is None:
        path = save_folder(model_of(what), folder, force=force)
    else:
        raise ValueError(f"--reference goes with a folder policy of another model, got {what!r}")
    print_path(path, console, as_json=as_json)
    if as_json:
        return
    console.print(
        "AutoModelForCausalLM.from_pretrained and AutoTokenizer.from_pretrained take this folder, and so "
        "does an environment's reference=.",
        markup=False,
        soft_wrap=True,
    )


def merged(policy: Path, reference: str | None, folder: Path, *, force: bool) -> Path:
    """The folder of a model that was trained from another reference; see ``export_model``."""
    from klrl_envs.networks.causal_folder import save_merged
    from klrl_envs.reference.hub import hub_reference

    if reference is None:
        raise ValueError(f"{policy} needs --reference, the folder or hub id of the model that it was made of")
    return save_merged(policy, hub_reference(reference), folder, force=force)


def model_of(what: str) -> Nano:
    """The network that is to be exported; see ``export_model``."""
    if what == NAME:
        from klrl_envs.reference.transformer import load_nano

        return load_nano()
    if Path(what).suffix != ".safetensors":
        raise ValueError(f"WHAT must be {NAME!r}, a file policy.safetensors or a folder policy, got {what!r}")
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
