"""``distill shard``: how a large model is cut over GPUs, before a byte of it is read."""

from typing import Annotated, Literal

import typer

from cli.options import AsJson


def shard(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Model folder, config.json, or DeepSeek-R1, DeepSeek-V3, Qwen3-30B-A3B,"
            " Qwen3-235B-A22B.",
            show_default=False,
        ),
    ],
    *,
    gpus: Annotated[
        str | None,
        typer.Option(metavar="NxSIZE", help="GPUs, such as 16x80GB or 8xH200.", show_default=False),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help='Main memory in place of GPUs, for teacher.kind = "local".',
            show_default=False,
        ),
    ] = None,
    context: Annotated[
        str, typer.Option(metavar="TOKENS", help="Prompt and answer of one sequence.")
    ] = "32k",
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Sequences at once.  [default: what fits]", show_default=False),
    ] = None,
    weights: Annotated[
        Literal["fp32", "bf16", "fp8", "int4"] | None,
        typer.Option(help="How weights are stored.  [default: as the config says]"),
    ] = None,
    prompts: Annotated[
        int | None,
        typer.Option(min=1, help="Traces to write: adds hours and cost.", show_default=False),
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of one trace, on average.")] = 6000,
    price: Annotated[
        float | None,
        typer.Option(metavar="USD", min=0, help="A GPU for an hour, in USD.", show_default=False),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            metavar="TOKENS/S",
            min=0.001,
            help="Measured, of all GPUs together, in place of what others publish.",
            show_default=False,
        ),
    ] = None,
    node: Annotated[int, typer.Option(min=1, help="GPUs of one machine.")] = 8,
    print_only: Annotated[
        Literal["vllm", "sglang"] | None,
        typer.Option("--print", help="Only print the command that serves it so."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Plan how a large model is cut over GPUs.

    From its config alone: what each GPU holds, which layout of tensor (TP), expert (EP), pipeline
    (PP) and data parallel (DP) fits, how many sequences at once, hours and cost by published
    speeds. Weights that are there are checked by their headers. Ends with exit code 6 if it does
    not fit, and says what would.

    Example: distill shard DeepSeek-R1 --gpus 16x80GB --prompts 800000 --price 2
    """
    from cli.fit import read_tokens
    from cli.shard_figures import needs_prompts, show, show_command
    from cli.shard_memory import read_place, show_memory
    from teachers.shard_cost import Job, Speed, read_gpus
    from teachers.shard_model import find_model
    from teachers.shard_plan import Wish

    read_place(gpus, memory)
    context_tokens = read_tokens("--context", context)
    found = find_model(model, weights, context_tokens)
    priced = {"--price": price, "--speed": speed}
    if gpus is None:
        only_gpus = {"--prompts": prompts, **priced, "--print": print_only}
        given = [name for name, value in only_gpus.items() if value is not None]
        show_memory(found, memory or "", context_tokens, batch, given, as_json=as_json)
        return
    cluster = read_gpus(gpus, node)
    wish = Wish(context_tokens, batch)
    needs_prompts(prompts, priced)
    job = None if prompts is None else Job(prompts, tokens, price)
    measured = (
        None
        if speed is None
        else Speed(speed / cluster.gpus, "given with --speed", is_published=False)
    )
    if print_only is not None:
        show_command(model, found, cluster, wish, print_only)
        return
    show(found, cluster, wish, job=job, measured=measured, as_json=as_json)
