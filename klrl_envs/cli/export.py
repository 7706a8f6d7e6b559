"""`klrl export`: a language model as a folder for other people's code."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from klrl_envs.reference.llama import check_free, save_folder
from klrl_envs.reference.transformer import load_nano

NAMES = ("nano",)


def export_model(what: str, folder: Path, console: Console, *, force: bool) -> None:
    """Write the folder and say what takes it.

    Raises:
        ValueError: nothing of this name can be exported.
        FileExistsError: the folder has files.
    """
    if what not in NAMES:
        raise ValueError(f"WHAT must be {' or '.join(map(repr, NAMES))}, got {what!r}")
    check_free(folder.expanduser().resolve(), force)  # before anything is loaded
    path = save_folder(load_nano(), folder, force=force)
    console.print(str(path), markup=False, soft_wrap=True, highlight=False)
    console.print(
        "AutoModelForCausalLM.from_pretrained and AutoTokenizer.from_pretrained take this folder, and so "
        "does an environment's reference=.",
        markup=False,
        soft_wrap=True,
    )
