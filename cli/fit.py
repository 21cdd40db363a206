"""``distill fit``: what training or running a student will need, before anything loads."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.options import AsJson

if TYPE_CHECKING:
    from students.memory_settings import TrainingSettings
    from students.memory_source import Named

_GIB = 1024**3


def fit(
    student: Annotated[
        str,
        typer.Argument(
            metavar="STUDENT",
            help="Model folder, config.json, run, recipe, or a name of `distill students`.",
            show_default=False,
        ),
    ],
    *,
    run: Annotated[bool, typer.Option("--run", help="Plan for answering, not training.")] = False,
    gpu: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Memory of the GPU, such as 24GB.", show_default=False),
    ] = None,
    context: Annotated[
        str, typer.Option(metavar="TOKENS", help="With --run: prompt and answer.")
    ] = "32k",
    method: Annotated[
        Literal["full", "lora", "qlora"] | None,
        typer.Option(help="How it is trained.  [default: qlora, or the recipe's]"),
    ] = None,
    length: Annotated[
        str | None,
        typer.Option(metavar="TOKENS", help="Of the longest example.  [default: 16k]"),
    ] = None,
    batch_tokens: Annotated[
        str | None, typer.Option(metavar="TOKENS", help="Of a step.  [default: 64k]")
    ] = None,
    activations: Annotated[
        Literal["kept", "recomputed", "offloaded"] | None,
        typer.Option(help="What happens to them.  [default: recomputed from 100M parameters on]"),
    ] = None,
    precision: Annotated[
        Literal["fp32", "mixed", "bf16"] | None,
        typer.Option(help="What is computed in.  [default: mixed]"),
    ] = None,
    optimizer: Annotated[
        Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "muon"] | None,
        typer.Option(help="Who updates the weights.  [default: adamw, paged with qlora]"),
    ] = None,
    lora_r: Annotated[int | None, typer.Option(min=1, help="Rank of adapters.")] = None,
    gpus: Annotated[int, typer.Option(min=1, help="Over which the model is shared out.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Say what memory a student needs, to train or to run.

    Worked out from what the model is built like: nothing is loaded or fetched. Says what fits, and
    what to change if it does not.

    Example: distill fit Qwen2.5-7B --method qlora --length 16k --gpu 24GB
    """
    from cli.fit_figures import show_running, show_training
    from students.memory_source import find_facts

    named = find_facts(student)
    gpu_bytes = None if gpu is None else read_size(gpu)
    if run:
        show_running(named, read_tokens("--context", context), gpu_bytes, as_json=as_json)
        return
    settings = _settings(named, method, length, batch_tokens, gpus)
    settings = replace(
        settings,
        activations=activations or settings.activations,
        precision=precision or settings.precision,
        optimizer=optimizer or settings.optimizer,
        lora_r=lora_r or settings.lora_r,
    )
    show_training(named, settings, gpu_bytes, as_json=as_json)


def read_size(text: str) -> int:
    """Bytes of a GPU as cards are called: 24GB has 24 GiB.

    Raises:
        RecipeError: If it is no size.

    Example:
        >>> read_size("24GB") == read_size("24") == 24 * 1024**3
        True
    """
    from distill.errors import RecipeError

    number = text.strip().upper().removesuffix("B").removesuffix("I").removesuffix("G")
    try:
        size = float(number)
    except ValueError:
        size = 0.0
    if not 0.1 <= size <= 100_000:  # noqa: PLR2004 - from a toy's memory to a cluster's
        raise RecipeError(f"--gpu {text}: not a size of a GPU", hint="for example: --gpu 24GB")
    return int(size * _GIB)


def read_tokens(option: str, text: str) -> int:
    """Tokens, where k stands for 1,024.

    Raises:
        RecipeError: If it is no number of tokens.

    Example:
        >>> read_tokens("--length", "16k"), read_tokens("--length", "4096")
        (16384, 4096)
    """
    from distill.errors import RecipeError

    lowered = text.strip().lower().replace(",", "").replace("_", "")
    number = lowered.removesuffix("k")
    if not number.isdecimal() or not 0 < int(number) < 2**31:
        raise RecipeError(f"{option} {text}: not a number of tokens", hint=f"such as {option} 16k")
    return int(number) * (1024 if lowered.endswith("k") else 1)


def _settings(
    named: "Named",
    method: Literal["full", "lora", "qlora"] | None,
    length: str | None,
    batch_tokens: str | None,
    gpus: int,
) -> "TrainingSettings":
    """The recipe's settings or the defaults, with what was given on the command line."""
    from students.memory_advice import default_settings, with_length
    from students.memory_settings import RECOMPUTED_PARAMETERS, settings_of

    if named.section is not None:
        settings = settings_of(named.section, named.facts.parameters)
        if method is not None and method != settings.method:
            settings = replace(
                settings, method=method, optimizer=default_settings(method).optimizer
            )
    else:
        settings = default_settings(method or "qlora")
        is_small = named.facts.parameters < RECOMPUTED_PARAMETERS
        settings = replace(settings, activations="kept" if is_small else "recomputed")
    if batch_tokens is not None:
        tokens = read_tokens("--batch-tokens", batch_tokens)
        settings = replace(settings, batch_tokens=tokens)
    if length is not None:
        settings = with_length(settings, read_tokens("--length", length))
    return replace(settings, gpus=gpus)
