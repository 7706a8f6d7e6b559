"""The command `klrl` and its subcommands, each of which does its work in a file of its own.

An error of the library is one red line and exit code 2; with KLRL_TRACEBACK=1 it is the whole traceback.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from klrl_envs.cli.benchmark import EPILOG, benchmark
from klrl_envs.cli.check import check
from klrl_envs.cli.ids import IdArgument, completions, resolved_option
from klrl_envs.cli.options import (
    DeviceOption,
    HorizonOption,
    ImportOption,
    JsonOption,
    KlCoefOption,
    ReferenceOption,
    SeedOption,
    SettingOption,
    task_arguments,
)
from klrl_envs.cli.signal import signal

ERRORS = (ValueError, TypeError, LookupError, OSError, RuntimeError, ImportError)


class Commands(TyperGroup):
    """The commands, with the library's errors shown as a line."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except ERRORS as error:
            # click's own Exit and Abort are RuntimeErrors
            if type(error).__module__.startswith(("click", "typer")) or os.environ.get("KLRL_TRACEBACK"):
                raise
            message = " ".join(str(error).split()) or type(error).__name__
            Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] [red]{escape(message)}[/]")
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Reinforcement learning of language models under a KL penalty, each task with its optimum. "
    "Begin with [bold]klrl list[/] and [bold]klrl show Keywords[/].",
)


def print_version(asked: bool) -> None:
    """Print the version, and end."""
    if asked:
        print(f"klrl {sys.modules['klrl_envs'].__version__}")  # which nothing below the facade imports
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """What every command has; without it typer has no place for --version."""


@app.command("list")
def list_command(
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", help="Of one kind: exact, neural, grid, text, diagnostic; may be repeated."),
    ] = None,
    modules: ImportOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the environments.

    Example: [bold]klrl list --tag neural[/]
    """
    from klrl_envs.cli.listing import print_list

    print_list(tags or [], Console(), as_json=as_json)


@app.command()
def show(
    env_id: IdArgument,
    kl_coef: KlCoefOption = None,
    horizon: HorizonOption = None,
    reference: ReferenceOption = None,
    settings: SettingOption = None,
    modules: ImportOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Show an environment's card: its specification, its optimum, and texts of pi0 and of pi*.

    Example: [bold]klrl show Keywords[/]
    """
    from klrl_envs.cli.card import show_card

    arguments = task_arguments(kl_coef, horizon, reference, settings)
    show_card(env_id, arguments, seed, Console(), as_json=as_json)


@app.command()
def solve(
    env_id: IdArgument,
    kl_coef: KlCoefOption = None,
    frontier: Annotated[
        str | None,
        typer.Option(help="Coefficients of the frontier, as .02,.05,.1; powers of two by default."),
    ] = None,
    horizon: HorizonOption = None,
    reference: ReferenceOption = None,
    settings: SettingOption = None,
    modules: ImportOption = None,
    as_json: JsonOption = False,
) -> None:
    """State the optimum, and the frontier of reward against KL that no policy lies above.

    Example: [bold]klrl solve GridNavigation --kl-coef 4[/]
    """
    from klrl_envs.cli.card import show_solution

    arguments = task_arguments(kl_coef, horizon, reference, settings)
    show_solution(env_id, arguments, frontier, Console(), as_json=as_json)


@app.command()
def play(
    env_id: IdArgument,
    prompt: Annotated[int | None, typer.Option(help="Which evaluation prompt; drawn by default.")] = None,
    choices: Annotated[int, typer.Option(help="How many of the likeliest tokens are offered.", min=1)] = 10,
    kl_coef: KlCoefOption = None,
    horizon: HorizonOption = None,
    reference: ReferenceOption = None,
    settings: SettingOption = None,
    modules: ImportOption = None,
    seed: SeedOption = 0,
) -> None:
    """Write a text yourself and see its reward, its KL and your score.

    At each step give the number of an offered token (#3 where 3 itself can be written), or words of your
    own; "end" ends the text (where the task has an end token), an empty line takes the likeliest.

    Example: [bold]klrl play Sentiment --prompt 3[/]
    """
    from klrl_envs.cli.play import play_text

    arguments = task_arguments(kl_coef, horizon, reference, settings)
    play_text(env_id, arguments, prompt=prompt, choices=choices, seed=seed, console=Console())


@app.command()
def evaluate(
    env_id: IdArgument,
    policy: Annotated[
        str,
        typer.Option(
            help="module:object, a file of Python as file.py:object, a policy.safetensors or .onnx, the "
            'folder of a causal model or an adapter, or "reference", ...'
        ),
    ],
    episodes: Annotated[int, typer.Option(help="Rounded up to a multiple of the prompts.", min=1)] = 1024,
    kl_coef: KlCoefOption = None,
    horizon: HorizonOption = None,
    reference: ReferenceOption = None,
    settings: SettingOption = None,
    modules: ImportOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Score a policy against the optimum, on the evaluation prompts.

    The object is a policy as klrl_envs.policies has it, a class of one without arguments, or a function
    from observations to log-probs.

    Example: [bold]klrl evaluate Keywords --policy my_agent:policy --episodes 2048[/]
    """
    from klrl_envs.cli.score import score_policy

    arguments = {**task_arguments(kl_coef, horizon, reference, settings), "device": device}
    score_policy(env_id, arguments, policy, episodes, seed, Console(), as_json=as_json)


@app.command()
def compare(
    first: Annotated[
        str,
        typer.Argument(
            metavar="FIRST", help="A policy as klrl evaluate takes it, or a folder of a run, or of runs."
        ),
    ],
    second: Annotated[str, typer.Argument(metavar="SECOND", help="The other one.")],
    env_id: Annotated[
        str | None,
        typer.Option(
            "--env",
            metavar="ID",
            callback=resolved_option,
            autocompletion=completions,
            help="Where policies are compared; leave it out to compare the results in two folders.",
        ),
    ] = None,
    episodes: Annotated[
        int, typer.Option(help="Of each, rounded up to a multiple of the prompts.", min=1)
    ] = 1024,
    texts: Annotated[int, typer.Option(help="Texts that are shown side by side.", min=0)] = 3,
    kl_coef: KlCoefOption = None,
    horizon: HorizonOption = None,
    reference: ReferenceOption = None,
    settings: SettingOption = None,
    modules: ImportOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Say what the second has more than the first, with an interval, and show their texts.

    Two policies are evaluated on the same prompts with the same seed.
    Of two folders of results the mean scores over seeds are compared, on
    the environments that both have.

    Examples:
      [bold]klrl compare reference runs/mine --env Keywords[/]
      [bold]klrl compare runs/ppo runs/mine[/]
    """
    from klrl_envs.cli.compare import compare as compare_both

    arguments = task_arguments(kl_coef, horizon, reference, settings)
    arguments |= {} if env_id is None else {"device": device}
    compare_both(
        first,
        second,
        env_id,
        arguments,
        episodes=episodes,
        texts=texts,
        seed=seed,
        console=Console(),
        as_json=as_json,
    )


app.command(epilog=EPILOG)(benchmark)
app.command()(check)
app.command()(signal)


@app.command()
def report(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="A folder with result.json files, at any depth.")
    ],
    agent: Annotated[
        list[str] | None, typer.Option(help="Show this agent only; may be repeated. All by default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the page and the figures go; RESULTS/report by default.")
    ] = None,
    modules: ImportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what an agent can and cannot do, from its runs.

    Each diagnostic tests one property: does the score fall with longer
    texts, rarer or later rewards, more noise? Each becomes a number in
    \\[0, 1] (0 as the reference, 1 as the optimum), a line of a figure and
    a sentence; what was not run stays open. Runs on other environments
    become a table and a figure of scores. klrl benchmark --suite diagnostics
    makes the runs. The page is written without matplotlib, too; figures
    need pip install 'klrl-envs\\[plots]'.

    Example: [bold]klrl report runs/mine[/]
    """
    from klrl_envs.results.report import make_report

    make_report(results, agent or [], out, Console(), as_json=as_json)


@app.command()
def certify(
    env_id: IdArgument,
    samples: Annotated[int, typer.Option(help="Reference samples of each prompt.", min=2)] = 10_000,
    horizon: HorizonOption = None,
    reference: ReferenceOption = None,
    prompts_file: Annotated[
        Path | None, typer.Option(help="Prompts of your own, one a line; needs --out.")
    ] = None,
    first_prompts: Annotated[
        int | None, typer.Option(help="The first so many evaluation prompts alone; needs --out.", min=1)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file; by default where klrl looks for it.")] = None,
    settings: SettingOption = None,
    modules: ImportOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Certify the optimum of a neural environment by sampling its reference; may be taken up again.

    Example: [bold]klrl certify Sentiment --horizon 16 --samples 10000[/]
    """
    from klrl_envs.cli.score import make_certificate

    arguments = {**task_arguments(None, horizon, reference, settings), "device": device}
    chosen = prompts_file if first_prompts is None else first_prompts
    if prompts_file is not None and first_prompts is not None:
        raise ValueError("--prompts-file and --first-prompts exclude each other")
    make_certificate(env_id, arguments, samples, seed, chosen, out, Console(), as_json=as_json)


@app.command()
def fetch(
    hub_id: Annotated[str, typer.Argument(metavar="HUB_ID", help="A causal language model of the hub.")],
    as_json: JsonOption = False,
) -> None:
    """Download a reference (safetensors and tokenizer only); nothing else in klrl downloads.

    Example: [bold]klrl fetch HuggingFaceTB/SmolLM2-135M-Instruct[/]
    """
    from klrl_envs.cli.options import print_path
    from klrl_envs.reference.hub import fetch_reference

    print_path(fetch_reference(hub_id), Console(), as_json=as_json)


@app.command()
def export(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help='"nano", the reference; a policy.safetensors; or a folder policy.'
        ),
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Is made; must not be there, or be empty.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace the model that lies in FOLDER.")] = False,
    reference: Annotated[
        str | None, typer.Option(help="Of a folder policy: the model that its training began with.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a language model as a folder that transformers, and trainers built on it, load.

    AutoModelForCausalLM and AutoTokenizer take the folder; so does every
    neural environment, as reference=FOLDER. The tokenizer puts token 0
    before a text, as klrl does: it is bos, eos and pad. Trainers load their
    frozen reference from the folder, too, so leave it where it is.
    examples/trl_rloo.py trains it with TRL. Of trained policies those can
    be exported that agents made with --train all or --train lora; factors
    (LoRA) are merged into their reference.

    Example: [bold]klrl export nano nano-folder[/]
    """
    from klrl_envs.cli.export import export_model

    export_model(what, folder, Console(), force=force, reference=reference, as_json=as_json)


def main() -> None:
    """The console script."""
    app()
