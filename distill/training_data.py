"""A data set to train on: its files, its form, and its rows as examples one at a time.

    files -> rows (distill.data_rows) -> form (distill.training_form) -> Example or Document

Memory does not grow with the set. Rows that cannot be trained on stop the reading at its end, the
first of them named, or are counted and left out, as the recipe says.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from distill.data_rows import Row, data_suffix, is_data_file, read_rows
from distill.data_sections import DataFiles, FileData, HubData
from distill.errors import DataError
from distill.training_form import Form, choose_form, read_example, with_later
from distill.turns import BrokenRow
from distill.types import Document, Example

_LOOKED_AT: Final = 100
_NAMED: Final = 5
_ENOUGH: Final = 100
"""Broken rows after which reading on tells nobody anything new."""


@dataclass(frozen=True, slots=True)
class DataReport:
    """What was read of a data set.

    Attributes:
        source: What the user named.
        revision: Commit on the Hub; empty for files.
        form: Its form and columns, for people.
        examples: Rows that are trained on.
        trained_turns: Assistant turns among them, or plain texts.
        with_reasoning: Rows with reasoning in a trained turn.
        broken: Rows that were left out because they cannot be trained on.
    """

    source: str
    revision: str
    form: str
    examples: int
    trained_turns: int
    with_reasoning: int
    broken: int


@dataclass(slots=True)
class TrainingData:
    """A data set that was opened; ``read`` it as often as needed.

    Attributes:
        found: Where the rows are.
        form: Which form they have.
        max_rows: Read so many at most; ``None`` for all.
        broken: Whether a row that cannot be used is an error or is left out.
        mistakes: Places and reasons of the first rows that were left out.
    """

    found: DataFiles
    form: Form
    max_rows: int | None = None
    broken: Literal["error", "drop"] = "error"
    mistakes: list[str] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def read(self) -> Iterator[Example | Document]:
        """What is trained on, in order.

        Raises:
            DataError: At the end, if rows are broken and must not be, or none can be used; at once
            if nearly all are.
        """
        self.mistakes.clear()
        self._counts = dict.fromkeys(("examples", "trained_turns", "with_reasoning", "broken"), 0)
        for row in islice(self._rows(), self.max_rows):
            try:
                example = read_example(row, self.form)
            except BrokenRow as broken:
                self._note(f"{row.place}: {broken}")
                continue
            self._count(example)
            yield example
        self._check()

    def report(self) -> DataReport:
        """What the last reading found, once it is over."""
        return DataReport(
            self.found.name, self.found.revision, self.form.describe(), **self._counts
        )

    def _rows(self) -> Iterator[Row]:
        for path in self.found.files:
            yield from read_rows(path, list(dict.fromkeys(self.form.wanted.values())))

    def _count(self, example: Example | Document) -> None:
        self._counts["examples"] += 1
        if isinstance(example, Document):
            self._counts["trained_turns"] += 1
            return
        trained = [turn for turn in example.messages if turn.is_trained]
        self._counts["trained_turns"] += len(trained)
        self._counts["with_reasoning"] += any(turn.reasoning for turn in trained)

    def _note(self, mistake: str) -> None:
        self._counts["broken"] += 1
        if len(self.mistakes) < _NAMED:
            self.mistakes.append(mistake)
        if self.broken == "error" and self._counts["broken"] == _ENOUGH:
            self._refuse(f"{_ENOUGH} rows and more")

    def _check(self) -> None:
        broken, good = self._counts["broken"], self._counts["examples"]
        if not broken and not good:
            raise DataError(f"{self.found.name}: there are no rows in it")
        if broken and self.broken == "error":
            self._refuse(f"{broken:,} of {broken + good:,} rows")
        if not good:
            self._refuse(f"all {broken:,} rows")

    def _refuse(self, how_many: str) -> None:
        more = self._counts["broken"] - len(self.mistakes)
        lines = "".join(f"\n  {mistake}" for mistake in self.mistakes)
        rest = f"\n  and {more:,} more" if more else ""
        hint = "Mend them, or leave such rows out: --set train.data.broken=drop"
        if not self._counts["examples"]:
            hint = f"None is left. {self.form.needs()}"
        raise DataError(
            f"{self.found.name}: {how_many} cannot be trained on:{lines}{rest}",
            hint=hint,
        )


def open_training_data(section: FileData | HubData) -> TrainingData:
    """Find the files of a data set and its form.

    Raises:
        DataError: If there are none, or their form is not known.
        MissingDependencyError: If a library is missing that reads them.
    """
    if isinstance(section, HubData):
        from distill.hub_data import find_hub_files

        found = find_hub_files(section)
    else:
        found = DataFiles(str(section.path), "", _files_of(section.path))
    form = _form_of(found.files, section.map)
    return TrainingData(found, form, section.max_rows, section.broken)


def read_training_file(path: Path) -> Iterator[Example | Document]:
    """The rows of one file, strictly.

    Raises:
        DataError: If it cannot be read, or a row of it is broken.
    """
    return open_training_data(FileData(path=path)).read()


def _files_of(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"{path}: there is no such file")
    if not path.is_dir():
        return [path]
    files = sorted(found for found in path.iterdir() if found.is_file() and is_data_file(found))
    if not files:
        names = ", ".join(sorted(found.name for found in path.iterdir())[:8]) or "nothing"
        raise DataError(
            f"{path}: there is no data file in this folder; found: {names}",
            hint="A data file is JSONL, JSON, CSV or Parquet.",
        )
    return files


def _form_of(files: Sequence[Path], mapping: Mapping[str, str]) -> Form:
    """The form of the first file that has rows; all have the same."""
    for path in files:
        columns = _columns_of(path)
        if columns:
            form = choose_form(str(path), columns, mapping)
            return with_later(form) if data_suffix(path) in (".jsonl", ".json") else form
    where = files[0] if len(files) == 1 else files[0].parent
    raise DataError(f"{where}: there are no rows in it")


def _columns_of(path: Path) -> list[str]:
    """Names of the columns, from the first rows that can be read."""
    rows = list(islice(read_rows(path), _LOOKED_AT))
    columns = list(dict.fromkeys(name for row in rows for name in row.values))
    if rows and not columns:
        raise DataError(f"{rows[0].place}: {rows[0].problem or 'a row without values'}")
    return columns
