"""Sections of a recipe that name a data set to train on, instead of a run's own traces."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from distill.section import InputPath, Section


class _Rows(Section):
    """What is the same wherever rows come from."""

    map: dict[str, str] = Field(default_factory=dict)
    """Column by field where names differ, such as { prompt = "question" }; see the guide."""

    max_rows: int | None = Field(default=None, ge=1)
    """Read the first so many rows only."""

    broken: Literal["error", "drop"] = "error"
    """What to do with a row that cannot be trained on: stop and name it, or count it and go on."""


class FileData(_Rows):
    """A data set in a file of yours: conversations, prompts with completions, or plain text."""

    kind: Literal["file"] = "file"
    """Where the rows are."""

    path: InputPath
    """JSONL, JSON, CSV or Parquet, or a folder of such files, read in the order of their names."""


class HubData(_Rows):
    """A data set on the Hugging Face Hub; what is in the local cache needs no network."""

    kind: Literal["hub"] = "hub"
    """Where the rows are."""

    dataset: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """Its name, such as open-r1/Mixture-of-Thoughts."""

    subset: str | None = None
    """One of its configurations, if it has several."""

    split: str = Field(default="train", pattern=r"^[\w.-]+$")
    """Which part of it."""

    revision: str = "main"
    """Branch, tag or commit; a commit makes the run repeatable."""


TrainData = Annotated[FileData | HubData, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class DataFiles:
    """Where the rows of a data set are.

    Attributes:
        name: What the user named, for people.
        revision: Commit on the Hub; empty for files of the user.
        files: On this disk, in order.
    """

    name: str
    revision: str
    files: Sequence[Path]
