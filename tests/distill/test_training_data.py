"""A training set in any form gives the same examples, and a row that teaches nothing is named."""

import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from distill.data_sections import FileData
from distill.errors import DataError
from distill.training_data import open_training_data
from distill.types import Document, Example, Message

ASKED = Message("user", "1 + 1?")
WRITTEN = Message("assistant", "It is 2.", reasoning="one and one", is_trained=True)
TAGGED = "<think>\none and one\n</think>\n\nIt is 2."


def write(path: Path, rows: Sequence[Any]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def read(path: Path, **settings: Any) -> list[Example | Document]:
    return list(open_training_data(FileData(path=path, **settings)).read())


def turns(*spelled: tuple[str, str], role: str = "role", content: str = "content") -> list[Any]:
    return [{role: name, content: text} for name, text in spelled]


FORMS: dict[str, dict[str, Any]] = {
    "think tags": {"messages": turns(("user", "1 + 1?"), ("assistant", TAGGED))},
    "reasoning_content": {
        "messages": [
            {"role": "user", "content": "1 + 1?", "reasoning_content": None},
            {"role": "assistant", "content": "It is 2.", "reasoning_content": "one and one"},
        ]
    },
    "thinking": {
        "messages": [
            {"role": "user", "content": "1 + 1?"},
            {"role": "assistant", "content": "It is 2.", "thinking": "one and one"},
        ]
    },
    "sharegpt": {
        "conversations": turns(("human", "1 + 1?"), ("gpt", TAGGED), role="from", content="value")
    },
    "content in parts": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "1 + 1?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": TAGGED}]},
        ]
    },
    "a question left open": {
        "messages": turns(("user", "1 + 1?"), ("assistant", TAGGED), ("user", "thanks"))
    },
    "texts": {"prompt": "1 + 1?", "completion": TAGGED},
    "texts and reasoning": {"prompt": "1 + 1?", "reasoning": "one and one", "text": "It is 2."},
    "turns": {
        "prompt": turns(("user", "1 + 1?")),
        "completion": turns(("assistant", TAGGED)),
    },
}


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_example(tmp_path: Path, form: str, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", [FORMS[form]] * 2)
    examples = read(path)
    assert [example.messages for example in examples if isinstance(example, Example)] == [
        (ASKED, WRITTEN)
    ] * 2
    place = f"{path}:2" if suffix == ".jsonl" else f"{path}: row 2"
    assert examples[1].id == place


def test_a_train_parquet_of_another_run_keeps_ids_and_weights(tmp_path: Path) -> None:
    row = {"id": "p/1#0", "source": "r", "weight": 0.5, **FORMS["reasoning_content"]}
    (example,) = read(write(tmp_path / "train.parquet", [row]))
    assert example == Example("p/1#0", (ASKED, WRITTEN), 0.5)


def test_several_turns_are_all_trained_but_those_with_weight_zero(tmp_path: Path) -> None:
    talk = turns(
        ("system", "Be brief."), ("assistant", "Hello."), ("user", "1?"), ("assistant", "one")
    )
    talk += [{"role": "user", "content": "2?"}]
    talk += [{"role": "assistant", "content": "tow", "weight": 0}]
    talk += turns(("user", "3?"), ("assistant", "three"))
    (example,) = read(write(tmp_path / "a.jsonl", [{"messages": talk}]))
    assert isinstance(example, Example)
    assert [turn.content for turn in example.messages if turn.is_trained] == ["one", "three"]


def test_a_system_column_stands_before_the_prompt(tmp_path: Path) -> None:
    row = {"system": "Be brief.", "prompt": "1?", "completion": "one"}
    (example,) = read(write(tmp_path / "a.jsonl", [row]))
    assert isinstance(example, Example)
    assert [turn.role for turn in example.messages] == ["system", "user", "assistant"]


def test_a_text_alone_is_a_document(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": " Once <think> upon. "}])
    assert read(path) == [Document(f"{path}:1", " Once <think> upon. ")]


def test_the_form_is_said_with_its_columns(tmp_path: Path) -> None:
    def form(rows: Sequence[Any], **settings: Any) -> str:
        path = write(tmp_path / "a.jsonl", rows)
        return open_training_data(FileData(path=path, **settings)).form.describe()

    assert form([FORMS["sharegpt"]]) == "conversations (conversations)"
    assert form([{"text": "a"}]) == "plain text, trained on whole (text)"
    mapping = {"prompt": "q", "completion": "a"}
    row = {"q": "1?", "a": "one", "messages": "not these"}
    assert form([row], map=mapping) == "prompt-completion (q, a)"
    assert read(write(tmp_path / "a.jsonl", [row]), map=mapping)


def test_an_unknown_form_names_columns_forms_and_the_mapping(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"problem": "1?", "generation": "one", "n": 1}])
    with pytest.raises(DataError) as found:
        read(path)
    shown = str(found.value)
    assert "columns found: problem, generation, n" in shown
    assert "messages or conversations (a list of turns), prompt with completion, or text" in shown
    assert "--map prompt=problem --map completion=generation" in shown


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        ({"prompt": "quest"}, "prompt = 'quest': there is no such column; found: problem"),
        ({"question": "problem"}, "maps no field of training data; fields: messages, prompt"),
    ],
)
def test_a_wrong_mapping_is_named(tmp_path: Path, mapping: dict[str, str], problem: str) -> None:
    path = write(tmp_path / "a.jsonl", [{"problem": "1?"}])
    with pytest.raises(DataError, match=problem):
        read(path, map=mapping)


GOOD = {"messages": turns(("user", "1 + 1?"), ("assistant", "2"))}
BROKEN: dict[str, tuple[Any, str]] = {
    "no assistant": ({"messages": turns(("user", "1?"))}, "no assistant turn to learn from"),
    "assistant first": ({"messages": turns(("assistant", "1?"))}, "no assistant turn"),
    "empty": ({"messages": []}, "messages must be a list of turns, not \\[\\]"),
    "no list": ({"messages": "hi"}, "messages must be a list of turns, not 'hi'"),
    "a tool": ({"messages": turns(("user", "1?"), ("tool", "2"))}, "there is no role 'tool'"),
    "nothing said": (
        {"messages": turns(("user", "1?"), ("assistant", " "))},
        "turn 2, .* is empty",
    ),
    "cut": (
        {"messages": turns(("user", "1?"), ("assistant", "<think> so"))},
        "the reasoning is cut",
    ),
    "twice": (
        {
            "messages": [
                {"role": "user", "content": "1?"},
                {"role": "assistant", "content": TAGGED, "reasoning": "one"},
            ]
        },
        "in a field of its own and between think tags",
    ),
    "half a character": (
        {"messages": turns(("user", "\ud83d"), ("assistant", "2"))},
        "half a character",
    ),
    "a number": ({"messages": turns(("user", 5), ("assistant", "2"))}, "must be text, not 5"),  # type: ignore[arg-type]
    "a weight": ({**GOOD, "weight": -1}, "weight must be a number above 0, not -1"),
    "no object": ("hi", "a row is an object in braces"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_row_that_teaches_nothing_is_named_with_file_and_line(tmp_path: Path, what: str) -> None:
    row, problem = BROKEN[what]
    path = write(tmp_path / "a.jsonl", [GOOD, row, GOOD])
    with pytest.raises(DataError, match=f"1 of 3 rows .*:\n  {path}:2: .*{problem}"):
        read(path)


def test_broken_rows_are_counted_and_left_out_where_the_recipe_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [GOOD, *(row for row, _ in BROKEN.values())])
    data = open_training_data(FileData(path=path, broken="drop"))
    assert len(list(data.read())) == 1
    assert data.report().broken == len(BROKEN)
    assert data.mistakes[0].startswith(f"{path}:2: no assistant turn")


def test_a_set_of_broken_rows_alone_is_refused_whatever_the_recipe_says(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"messages": turns(("user", "1?"))}] * 3)
    with pytest.raises(DataError, match="all 3 rows cannot be trained on"):
        read(path, broken="drop")


def test_reading_stops_early_when_nearly_every_row_is_broken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"messages": turns(("user", "1?"))}] * 5_000)
    with pytest.raises(DataError, match="100 rows and more") as found:
        read(path)
    assert "and 95 more" in str(found.value)


@pytest.mark.parametrize("text", ["", "\n\n", "[]"])
def test_an_empty_set_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / ("a.json" if text == "[]" else "a.jsonl")
    path.write_text(text)
    with pytest.raises(DataError, match="there are no rows in it"):
        read(path)


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write(tmp_path / f"{name}.jsonl", [{"text": name}])
    (tmp_path / "README.md").write_text("what it is")
    assert [each.text for each in read(tmp_path) if isinstance(each, Document)] == ["a", "b"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no data file in this folder; found: nothing"):
        read(tmp_path / "empty")


def test_max_rows_takes_the_first_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [GOOD] * 9)
    assert len(read(path, max_rows=4)) == 4


def test_the_report_counts_turns_and_reasoning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [GOOD, FORMS["think tags"]])
    data = open_training_data(FileData(path=path))
    list(data.read())
    report = data.report()
    assert (report.examples, report.trained_turns, report.with_reasoning) == (2, 2, 1)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_memory_does_not_grow_with_the_set(tmp_path: Path, suffix: str) -> None:
    row = {"messages": turns(("user", "1 + 1?"), ("assistant", "two " * 2_000))}
    path = write(tmp_path / f"a{suffix}", [row] * 1_500)  # 12 MB
    tracemalloc.start()
    try:
        assert sum(1 for _ in open_training_data(FileData(path=path)).read()) == 1_500
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()
