"""Look for rows of a trace file that break the reader, with coverage-guided mutation (atheris).

    pip install atheris
    python benchmarks/fuzz_traces.py -max_total_time=300

Every line must be read, or refused as a ``BrokenRow`` with a sentence; any other exception is a bug
and ends the search with the line that shows it. The tests hold a short search of the same kind
(``tests/distill/test_trace_files.py``); this one is for leaving it on overnight. It writes no
results.
"""

import sys
from contextlib import suppress
from typing import Any

try:
    import atheris  # type: ignore[import-not-found]
except ModuleNotFoundError:
    sys.exit("atheris is not installed: pip install atheris")

with atheris.instrument_imports(include=["distill"]):
    from distill.trace_columns import FIELDS, Columns
    from distill.trace_files import BrokenRow, parse_row, read_journal_row, read_row, row_key
    from distill.types import Prompt

COLUMNS = (
    Columns({name: name for name in FIELDS if name != "completion"}),
    Columns({name: name for name in FIELDS}),
    Columns({"messages": "messages", "answer": "answer"}),
)
WORDS = [
    *("role", "content", "from", "value", "user", "assistant", "gpt", "reasoning_content"),
    *("stop", "length", "prompt_id", "sample_index", "model", "completion", "text", "reasoning"),
    *("finish", "usage", "is_accepted", "reason", "verifier", "reward", "<think>", "</think>"),
]
PROMPT = Prompt("p", "?", "1")
SEEDS = (
    b'{"prompt_id": "p", "prompt": "?", "answer": "1", "completion": "<think>a</think>1"}',
    b'{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "1"}]}',
    b'{"prompt": "?", "reasoning": "a", "text": "1", "finish": "stop", "teacher_logprobs": [0]}',
    b'{"kind": "trace", "trace": {"prompt_id": "p"}, "verdict": {}}',
)


def read(data: bytes) -> None:
    """Read a line in every way there is: the bytes as they are, and a row that they spell."""
    with suppress(BrokenRow):
        read_row_in_all_ways(parse_row(data))
    source = atheris.FuzzedDataProvider(data)
    names = [*FIELDS, "kind", "trace", "verdict", "crc"]
    row = {name: value(source, 3) for name in names if source.ConsumeBool()}
    read_row_in_all_ways(row)


def read_row_in_all_ways(row: dict[str, Any]) -> None:
    """A row is read or refused in words, whatever its columns are taken for."""
    for columns in COLUMNS:
        with suppress(BrokenRow):
            row_key(row, columns)
            read_row(row, columns, 1, None)
    with suppress(BrokenRow):
        read_journal_row(row, 1, PROMPT)


def value(source: Any, depth: int) -> Any:  # noqa: ANN401 - any JSON value
    """A JSON value; now and then a text or key that the reader knows."""
    makers = (_plain, _plain, _table, _list) if depth else (_plain,)
    return makers[source.ConsumeIntInRange(0, len(makers) - 1)](source, depth)


def _plain(source: Any, depth: int) -> Any:  # noqa: ANN401
    del depth
    makers = (
        lambda: source.PickValueInList(WORDS),
        lambda: source.ConsumeUnicodeNoSurrogates(20),
        lambda: source.ConsumeInt(4),
        source.ConsumeRegularFloat,
        lambda: source.PickValueInList([None, True, False]),
    )
    return makers[source.ConsumeIntInRange(0, len(makers) - 1)]()


def _table(source: Any, depth: int) -> dict[str, Any]:  # noqa: ANN401
    count = source.ConsumeIntInRange(0, 3)
    return {source.PickValueInList(WORDS): value(source, depth - 1) for _ in range(count)}


def _list(source: Any, depth: int) -> list[Any]:  # noqa: ANN401
    return [value(source, depth - 1) for _ in range(source.ConsumeIntInRange(0, 3))]


def main() -> None:
    """Search until told to stop."""
    for seed in SEEDS:
        read(seed)
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
