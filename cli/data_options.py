"""Options of ``distill train`` that name a data set: other words for keys of ``[train.data]``."""

import json
from collections.abc import Sequence
from typing import Annotated

import typer

DataSet = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="FILE|hub:ORG/NAME",
        help="Train on this instead of the run's traces: a file or folder of JSONL, JSON, CSV or"
        " Parquet, or a set of the Hub.",
        show_default=False,
    ),
]
DataSplit = Annotated[
    str | None,
    typer.Option("--split", metavar="NAME", help="Which split of it.  [default: train]"),
]
DataMap = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="Which column of it is what, such as prompt=question; may be given several times.",
        show_default=False,
    ),
]
_HUB = "hub:"


def data_settings(data: str | None, split: str | None, mapping: Sequence[str] | None) -> list[str]:
    """What these options change in a recipe, as ``--set`` would.

    Raises:
        RecipeError: If a mapping is malformed.

    Example:
        >>> data_settings("hub:org/x", "test", ["prompt=question"])[-1]
        'train.data.map.prompt="question"'
    """
    settings = []
    if data is not None:
        name, kind, key = (
            (data.removeprefix(_HUB), "hub", "dataset")
            if data.startswith(_HUB)
            else (data, "file", "path")
        )
        settings += [f"train.data.kind={kind}", f"train.data.{key}={_quoted(name)}"]
    if split is not None:
        settings.append(f"train.data.split={_quoted(split)}")
    return settings + [_mapped(one) for one in mapping or ()]


def _mapped(text: str) -> str:
    from distill.errors import RecipeError
    from distill.training_form import FIELDS

    field, equals, column = text.partition("=")
    if not equals or not column or field not in FIELDS:
        known = "".join(f"\n  {name}: {what}" for name, what in FIELDS.items())
        raise RecipeError(f"--map {text}: write FIELD=COLUMN; fields are{known}")
    return f"train.data.map.{field}={_quoted(column)}"


def _quoted(text: str) -> str:
    """A text as TOML has it."""
    return json.dumps(text, ensure_ascii=False)
