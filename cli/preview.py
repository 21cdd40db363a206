"""``distill train RECIPE --preview N``: rows as training would see them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import columns, paint, say, say_json

if TYPE_CHECKING:
    from distill.recipe import Recipe
    from distill.types import Document, Example
    from students.preview import Preview, PreviewRow, PreviewSpan

# Of one span; a long reasoning shows its beginning and its end.
_HEAD_CHARACTERS, _TAIL_CHARACTERS = 600, 300
# What is trained stands between them; colour comes on top.
_OPEN = "\N{MATHEMATICAL LEFT WHITE SQUARE BRACKET}"
_CLOSE = "\N{MATHEMATICAL RIGHT WHITE SQUARE BRACKET}"


def show_preview(recipe: "Recipe", folder: Path, count: int, *, as_json: bool) -> None:
    """Show the first rows that training would see; nothing is trained or written.

    Raises:
        DistillError: If there is nothing to train on yet, or it cannot be trained on.
    """
    from distill.records import to_record
    from students.base import base_folder
    from students.preview import preview

    with tempfile.TemporaryDirectory() as view:
        base = base_folder(recipe.student, Path(view) / "base")
        shown = preview(_examples(recipe, folder), base, recipe.train, count)
    if as_json:
        say_json(to_record(shown))
    else:
        _say(shown)


def _examples(recipe: "Recipe", folder: Path) -> "Iterator[Example | Document]":
    """What is trained on, one example at a time: a data set, or what the filter has chosen."""
    from distill.errors import StageError
    from distill.filter_tables import read_examples
    from distill.layout import RunLayout
    from distill.training_data import open_training_data

    sets = [recipe.train.data, *(stage.data for stage in recipe.train.stages)]
    if recipe.train.needs_traces:
        path = RunLayout(folder).train
        if not path.is_file():
            raise StageError(
                f"{path}: there is nothing to train on yet",
                hint="do stages generate and filter first, or give a data set: --data",
            )
        yield from read_examples(path)
    for section in sets:
        if section is not None:
            yield from open_training_data(section).read()


def _say(shown: "Preview") -> None:
    facts = [("trained", f"{_OPEN}between these{_CLOSE}, the rest is only read")]
    facts += [("stops at", " or ".join(shown.stops_at) or "nothing")]
    facts += [("longest", f"{shown.row_tokens:,} tokens")]
    facts += [("note", note.problem) for note in shown.notes]
    say(columns(facts, indent=0))
    for number, row in enumerate(shown.rows, start=1):
        weights = list(dict.fromkeys(span.weight for span in row.spans if span.weight))
        headline = _headline(row, weights, f"row {number} of {len(shown.rows)}")
        say(f"\n{paint(headline, 'bold')}")
        say("".join(_span_text(span, shows_weight=len(weights) > 1) for span in row.spans))


def _headline(row: "PreviewRow", weights: list[float], place: str) -> str:
    text = f"{place}  {row.example_id}  {row.tokens:,} tokens, {row.trained_tokens:,} trained"
    text += f", weight {' and '.join(f'{weight:g}' for weight in weights)}" if weights else ""
    text += f", ends with {row.ends_with!r}" if row.ends_with else ""
    return text + (", TOO LONG" if row.is_too_long else "")


def _span_text(span: "PreviewSpan", *, shows_weight: bool) -> str:
    text = span.text
    left_out = len(text) - _HEAD_CHARACTERS - _TAIL_CHARACTERS
    if left_out > 0:
        gap = f"\n... {left_out:,} characters ...\n"
        text = text[:_HEAD_CHARACTERS] + gap + text[-_TAIL_CHARACTERS:]
    if not span.weight:
        return paint(text, "dim")
    weight = f"x {span.weight:g}: " if shows_weight else ""
    return paint(f"{_OPEN}{weight}{text}{_CLOSE}", "green")
