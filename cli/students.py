"""``distill students``: the students that are known, from the catalogue, and where they fit."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import columns, paint, say, say_json, table
from cli.options import AsJson

if TYPE_CHECKING:
    from students.catalog import Architecture, KnownStudent, PublishedSettings
    from students.memory_settings import Method

_GPUS_GB = (8, 12, 16, 24, 48, 80)
_METHODS: "tuple[Method, ...]" = ("full", "lora", "qlora")
# Rows of this length hold most reasoning traces: a fuller method that takes them goes first.
_LONG_TOKENS = 16_384
_KILO = 1024


def students(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Show all that is known of one."),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the known students.

    Size, context, template, licence, what one GPU can train, and settings that others trained each
    with. Any other causal language model works as student.kind = "hub" or "local".

    Example: distill students Qwen2.5-7B
    """
    from students.catalog import catalog, find_student

    shown = [find_student(name)] if name else list(catalog().values())
    if as_json:
        say_json([_plain(one) for one in shown])
    elif name:
        _say_one(shown[0])
    else:
        say("Student in the package: embedded (no network)\n")
        say('On the Hub: student.kind = "hub", student.model = ...')
        say(_overview(shown))
        say("\nWhat one GPU trains, and the longest row: the fullest method that takes 16k,")
        say("else the one that takes most (distill fit NAME says what it is made of)")
        say(_fits_table(shown))
        say("\nMore on one: distill students NAME")


def _overview(shown: "list[KnownStudent]") -> str:
    rows = [["", "parameters", "context", "template", "licence"]]
    rows += [
        [
            one.name,
            _billions(one.architecture.parameters),
            _context(one.architecture.context_tokens),
            one.template,
            one.licence.removesuffix(" License").removesuffix(" Community"),
        ]
        for one in shown
    ]
    return table(rows)


def _fits_table(shown: "list[KnownStudent]") -> str:
    """One row for each size: a base and its chat form are built alike."""
    sizes = {(one.family, one.size): one for one in reversed(shown)}
    rows = [["", *(f"{size} GB" for size in _GPUS_GB)]]
    rows += [
        [f"{family} {size}", *(_best(lengths) for lengths in _fits(one.architecture).values())]
        for (family, size), one in reversed(sizes.items())
    ]
    return table(rows)


def _fits(facts: "Architecture") -> "dict[int, dict[Method, int]]":
    """Longest row by GPU and method; 0 where the method does not fit."""
    from students.memory_advice import what_fits

    return {size: what_fits(facts, size * _KILO**3) for size in _GPUS_GB}


def _best(lengths: "dict[Method, int]") -> str:
    long = [method for method in _METHODS if lengths[method] >= _LONG_TOKENS]
    method = long[0] if long else max(_METHODS, key=lambda one: lengths[one])
    return f"{method} {_context(lengths[method])}" if lengths[method] else "-"


def _say_one(student: "KnownStudent") -> None:
    facts = student.architecture
    tied = "input and output tied" if facts.is_tied else "input and output apart"
    own = "; published with one of its own" if student.has_template else "; published without one"
    known = [
        ("form", "base" if student.form == "base" else "after post-training"),
        ("parameters", f"{facts.parameters:,}"),
        ("layers", f"{facts.layers} of width {facts.hidden:,}, MLP {facts.intermediate:,}"),
        ("attention", f"{facts.heads} heads of {facts.head_dim}, {facts.kv_heads} for keys"),
        ("vocabulary", f"{facts.vocabulary:,}, {tied}"),
        ("context", f"{facts.context_tokens:,} tokens"),
        ("template", f"{student.template}{own}"),
        ("think tags", "one token each" if student.think_tokens else "plain text, several tokens"),
        ("turn ends", f"{student.turn_end}, text ends {student.text_end}"),
        ("licence", "; ".join(part for part in (student.licence, student.licence_note) if part)),
        (
            "access",
            "agree to its terms on the Hub, then set HF_TOKEN" if student.is_gated else "open",
        ),
        ("note", student.note),
        ("read on", str(student.as_of)),
    ]
    say(f"{paint(student.name, 'bold')}  {student.family} {student.size}")
    say(columns([row for row in known if row[1]]))
    say("\nLongest row that one GPU trains on, in tokens")
    fits = _fits(facts)
    rows = [["", *(f"{size} GB" for size in fits)]]
    for method in _METHODS:
        lengths = [by_method[method] for by_method in fits.values()]
        rows.append([method, *(_context(length) if length else "-" for length in lengths)])
    say(table(rows))
    say("\nPublished settings")
    published = [_settings_row(one) for one in student.settings]
    say(columns(published) if published else "  none known for this size")
    if not any(one.method == "lora" for one in student.settings):
        say("  LoRA: about ten times the full learning rate (LoRA Without Regret, 2025)")
    say(f'\nIn a recipe\n  [student]\n  kind = "hub"\n  model = "{student.name}"')


def _settings_row(one: "PublishedSettings") -> tuple[str, str]:
    rank = f" r{one.lora_r}" if one.lora_r else ""
    parts = [f"{one.method}{rank}", f"learning rate {one.learning_rate:g}"]
    parts += [f"to {one.final_lr_share:g} of it"] if one.final_lr_share else []
    parts += [f"warm-up {one.warmup_share:g}"] if one.warmup_share else []
    parts += [f"{one.epochs} epochs"] if one.epochs else []
    parts += [f"{one.steps:,} steps"] if one.steps else []
    parts += [f"batch {one.batch_examples}"] if one.batch_examples else []
    parts += [f"length {_context(one.length_tokens)}"] if one.length_tokens else []
    return one.run, f"{', '.join(parts)}  ({one.source})"


def _plain(student: "KnownStudent") -> dict[str, object]:
    found = asdict(student)
    found["architecture"]["parameters"] = student.architecture.parameters
    return {**found, "as_of": str(student.as_of), "longest_row": _fits(student.architecture)}


def _billions(parameters: int) -> str:
    return f"{parameters / 1e9:.2f}B"


def _context(tokens: int) -> str:
    return f"{tokens // _KILO}k" if tokens >= _KILO else str(tokens)
