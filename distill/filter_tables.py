"""The two Parquet files of the filter: what was found about each trace, and what is trained on.

Schemas are explicit, never guessed from values. ``traces.verdicts.parquet`` has a row for every
trace and no text of it: ``row`` says where that stands. ``train.parquet`` is the Hub's
conversational format, with reasoning in a field of its own.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from distill.errors import DataError
from distill.filter_group import Judged
from distill.storage import make_folder, storage_errors, sync_folder
from distill.types import Check, Example, Message

_CHECK: Final = pa.struct(
    [
        ("name", pa.string()),
        ("version", pa.int32()),
        ("value", pa.float64()),
        ("value_text", pa.string()),
        ("threshold", pa.float64()),
        ("threshold_text", pa.string()),
        ("ok", pa.bool_()),
        ("reason", pa.string()),
    ]
)
_VERDICT: Final = pa.struct(
    [
        ("is_accepted", pa.bool_()),
        ("reason", pa.string()),
        ("verifier", pa.string()),
        ("reward", pa.float64()),
    ]
)
VERDICTS: Final = pa.schema(
    [
        ("id", pa.string()),
        ("prompt_id", pa.string()),
        ("sample_index", pa.int32()),
        ("row", pa.int64()),
        ("source", pa.string()),
        ("model", pa.string()),
        ("tokens", pa.int64()),
        ("pass_rate", pa.float64()),
        ("verdict", _VERDICT),
        ("checks", pa.list_(_CHECK)),
        ("first_failed", pa.string()),
        ("also_failed", pa.list_(pa.string())),
        ("weight", pa.float64()),
        ("selected", pa.bool_()),
    ]
)
_MESSAGE: Final = pa.struct(
    [("role", pa.string()), ("content", pa.string()), ("reasoning_content", pa.string())]
)
TRAIN: Final = pa.schema(
    [
        ("id", pa.string()),
        ("prompt_id", pa.string()),
        ("source", pa.string()),
        ("model", pa.string()),
        ("messages", pa.list_(_MESSAGE)),
        ("weight", pa.float64()),
        ("tokens", pa.int64()),
        ("pass_rate", pa.float64()),
        ("is_correct", pa.bool_()),
    ]
)
_OPTIONS: Final[Mapping[str, Any]] = {"compression": "zstd", "version": "2.6"}


def verdict_table(group: Iterable[Judged], source: str) -> Any:  # noqa: ANN401 - a pyarrow table
    """Rows of ``VERDICTS``."""
    return pa.Table.from_pylist([_verdict_row(one, source) for one in group], VERDICTS)


def train_table(group: Iterable[Judged], source: str) -> Any:  # noqa: ANN401 - a pyarrow table
    """Rows of ``TRAIN`` for the selected ones among some traces."""
    rows = [_train_row(one, source) for one in group if one.is_selected]
    return pa.Table.from_pylist(rows, TRAIN)


def check_row(check: Check) -> dict[str, Any]:
    """A check as a row of ``checks``: numbers as numbers, texts as texts."""
    row: dict[str, Any] = {"name": check.name, "version": check.version, "ok": check.ok}
    for name, value in (("value", check.value), ("threshold", check.threshold)):
        row[name] = None if isinstance(value, str) else value
        row[f"{name}_text"] = _whole(value) if isinstance(value, str) else None
    return {**row, "reason": _whole(check.reason) or None}


class TableWriter:
    """Writes a Parquet file part by part; after a crash the old file is there or the new one."""

    def __init__(self, path: Path, schema: Any) -> None:  # noqa: ANN401 - a pyarrow schema
        """Begin a draft beside ``path``."""
        make_folder(path.parent)
        self._path = path
        self._draft = path.with_name(f".{path.name}.tmp")
        with storage_errors(path):
            self._writer = pq.ParquetWriter(self._draft, schema, **_OPTIONS)

    def write(self, table: Any) -> None:  # noqa: ANN401 - a pyarrow table
        """Add some rows."""
        if table.num_rows:
            with storage_errors(self._path):
                self._writer.write_table(table)

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with storage_errors(self._path):
            self._writer.close()
            if kind is not None:
                with suppress(OSError):
                    self._draft.unlink()
                return
            with self._draft.open("rb") as file:
                os.fsync(file.fileno())
            self._draft.replace(self._path)
            sync_folder(self._path.parent)


def write_table(path: Path, table: Any) -> None:  # noqa: ANN401 - a pyarrow table
    """Write a Parquet file at once."""
    with TableWriter(path, table.schema) as writer:
        writer.write(table)


def read_examples(path: Path) -> Iterator[Example]:
    """The examples of a ``train.parquet`` in order.

    Raises:
        DataError: If the file is missing or is another one.
    """
    for row in read_rows(path, TRAIN, ["id", "messages", "weight"]):
        messages = tuple(
            Message(
                turn["role"],
                turn["content"],
                turn["reasoning_content"],
                is_trained=turn["role"] == "assistant",
            )
            for turn in row["messages"]
        )
        yield Example(row["id"], messages, row["weight"])


def read_rows(
    path: Path,
    schema: Any,  # noqa: ANN401 - a pyarrow schema
    columns: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """Some columns of a file, row by row.

    Raises:
        DataError: If the file is missing or has another schema.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema):
                raise DataError(f"{path}: its columns are not those that the filter writes")
            for batch in file.iter_batches(batch_size=512, columns=list(columns)):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not valid Parquet: {str(error).splitlines()[0]}") from None


def _verdict_row(one: Judged, source: str) -> dict[str, Any]:
    trace, verdict = one.candidate.trace, one.verdict
    return {
        "id": trace.id,
        "prompt_id": trace.prompt_id,
        "sample_index": trace.sample_index,
        "row": one.candidate.row,
        "source": one.candidate.source or source,
        "model": trace.model,
        "tokens": one.tokens,
        "pass_rate": one.pass_rate,
        "verdict": {
            "is_accepted": verdict.is_accepted,
            "reason": _whole(verdict.reason),
            "verifier": verdict.verifier,
            "reward": verdict.reward,
        },
        "checks": [check_row(check) for check in one.checks],
        "first_failed": one.failed[0] if one.failed else None,
        "also_failed": one.failed[1:],
        "weight": one.weight if one.is_selected else 0.0,
        "selected": one.is_selected,
    }


def _train_row(one: Judged, source: str) -> dict[str, Any]:
    candidate, completion = one.candidate, one.candidate.trace.completion
    return {
        "id": candidate.trace.id,
        "prompt_id": candidate.prompt.id,
        "source": candidate.source or source,
        "model": candidate.trace.model,
        "messages": [
            {"role": "user", "content": candidate.prompt.text, "reasoning_content": None},
            {
                "role": "assistant",
                "content": completion.text,
                "reasoning_content": completion.reasoning,
            },
        ],
        "weight": one.weight,
        "tokens": one.tokens,
        "pass_rate": one.pass_rate,
        "is_correct": one.verdict.is_accepted,
    }


def _whole(text: str) -> str:
    """Without halves of characters, which a cut in an excerpt can leave and Parquet refuses."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
