"""The command `klrl` and its subcommands, each of which does its work in a file of its own.

An error of the library is one red line and exit code 2; with KLRL_TRACEBACK=1 it is the whole traceback.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from klrl_envs.cli.benchmark import EPILOG, benchmark
from klrl_envs.cli.check import check
from klrl_envs.cli.options import ImportOption
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
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reinforcement learning of language models under a KL penalty, each task with its optimum. "
    "Begin with [bold]klrl list[/] and [bold]klrl show Keywords-v0[/].",
)


IdArgument = Annotated[str, typer.Argument(metavar="ID", help="An environment, with or without klrl/.")]
KlCoefOption = Annotated[
    float | None, typer.Option(help="Units of reward per nat; the environment's own by default.")
]
HorizonOption = Annotated[int | None, typer.Option(help="The most tokens of a text.")]
ReferenceOption = Annotated[str | None, typer.Option(help="pi0: a name, a folder or a hub id.")]
SettingOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Another argument of the environment; may be repeated."),
]
DeviceOption = Annotated[
    str, typer.Option(help="Of pi0's network: auto (CUDA where there is one), cpu or cuda; a table has none.")
]
SeedOption = Annotated[int, typer.Option(help="Of all that is drawn.", min=0)]


def task_arguments(
    kl_coef: float | None, horizon: int | None, reference: str | None, settings: list[str] | None
) -> dict[str, Any]:
    """The environment's arguments that were given; values of --set are read as JSON, else as text."""
    import json

    named = {"kl_coef": kl_coef, "horizon": horizon, "reference": reference}
    arguments: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    for setting in settings or []:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set takes NAME=VALUE, got {setting!r}")
        try:
            arguments[name] = json.loads(text)
        except json.JSONDecodeError:
            arguments[name] = text
    return arguments


@app.command("list")
def list_command(modules: ImportOption = None) -> None:
    """List the environments.

    Example: [bold]klrl list[/]
    """
    from rich.table import Table

    from klrl_envs.registry import all_rows

    table = Table()
    table.add_column("id", no_wrap=True)
    for name in ("kl_coef", "token budget", "tags", "what is asked"):
        table.add_column(name)
    for row in all_rows():
        table.add_row(
            row.gym_id, f"{row.kl_coef:g}", f"{row.token_budget:,}", ", ".join(row.tags), row.summary
        )
    Console().print(table)


@app.command()
def show(
    env_id: IdArgument,
    kl_coef: KlCoefOption = None,
    horizon: HorizonOption = None,
    reference: ReferenceOption = None,
    settings: SettingOption = None,
    modules: ImportOption = None,
    seed: SeedOption = 0,
) -> None:
    """Show an environment's card: its specification, its optimum, and texts of pi0 and of pi*.

    Example: [bold]klrl show Keywords-v0[/]
    """
    from klrl_envs.cli.card import show_card

    show_card(env_id, task_arguments(kl_coef, horizon, reference, settings), seed, Console())


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
    as_json: Annotated[bool, typer.Option("--json", help="The optimum as JSON, and nothing else.")] = False,
) -> None:
    """State the optimum, and the frontier of reward against KL that no policy lies above.

    Example: [bold]klrl solve GridNavigation-v0 --kl-coef 4[/]
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

    Example: [bold]klrl play Sentiment-v0 --prompt 3[/]
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
    as_json: Annotated[
        bool, typer.Option("--json", help="The evaluation as JSON, and nothing else.")
    ] = False,
) -> None:
    """Score a policy against the optimum, on the evaluation prompts.

    The object is a policy as klrl_envs.policies has it, a class of one without arguments, or a function
    from observations to log-probs.

    Example: [bold]klrl evaluate Keywords-v0 --policy my_agent:policy --episodes 2048[/]
    """
    from klrl_envs.cli.score import score_policy

    arguments = {**task_arguments(kl_coef, horizon, reference, settings), "device": device}
    score_policy(env_id, arguments, policy, episodes, seed, Console(), as_json=as_json)


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

    make_report(results, agent or [], out, Console())


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
) -> None:
    """Certify the optimum of a neural environment by sampling its reference; may be taken up again.

    Example: [bold]klrl certify Sentiment-v0 --horizon 16 --samples 10000[/]
    """
    from klrl_envs.cli.score import make_certificate

    arguments = {**task_arguments(None, horizon, reference, settings), "device": device}
    chosen = prompts_file if first_prompts is None else first_prompts
    if prompts_file is not None and first_prompts is not None:
        raise ValueError("--prompts-file and --first-prompts exclude each other")
    make_certificate(env_id, arguments, samples, seed, chosen, out, Console())


@app.command()
def fetch(
    hub_id: Annotated[str, typer.Argument(metavar="HUB_ID", help="A causal language model of the hub.")],
) -> None:
    """Download a reference (safetensors and tokenizer only); nothing else in klrl downloads.

    Example: [bold]klrl fetch HuggingFaceTB/SmolLM2-135M-Instruct[/]
    """
    from klrl_envs.reference.hub import fetch_reference

    Console(soft_wrap=True).print(str(fetch_reference(hub_id)), markup=False)


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

    export_model(what, folder, Console(), force=force, reference=reference)


def main() -> None:
    """The console script."""
    app()
