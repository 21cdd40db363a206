"""A prompt set on the disk is the same as one in memory."""

from pathlib import Path

import pytest

from distill.errors import DataError
from distill.prompt_file import PromptFile
from distill.prompts import write_prompts
from distill.traces import hash_prompts
from distill.types import Prompt

PROMPTS = [
    Prompt("a", "What?"),
    Prompt("b", "한국어\nzwei Zeilen", "42", kind="k", level=3),
    Prompt("c", "\u2028 separators \x85", "0012"),
]


def test_prompts_come_back_by_rank_slice_and_in_turn(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    write_prompts(path, PROMPTS)
    with PromptFile(path) as stored:
        assert len(stored) == 3
        assert list(stored) == PROMPTS
        assert [stored[rank] for rank in (2, 0, -2)] == [PROMPTS[2], PROMPTS[0], PROMPTS[1]]
        assert stored[1:] == PROMPTS[1:]
        assert hash_prompts(stored) == hash_prompts(PROMPTS)
        with pytest.raises(IndexError):
            stored[3]


def test_a_changed_file_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    write_prompts(path, PROMPTS)
    path.write_text(path.read_text().replace('"id": "b"', '"ID": "b"'))
    with (
        PromptFile(path) as stored,
        pytest.raises(DataError, match=r"p.jsonl:2: this is no prompt"),
    ):
        list(stored)


def test_every_field_is_part_of_the_hash() -> None:
    base = hash_prompts([Prompt("a", "b", "c", "d", 1)])
    others = [
        Prompt("x", "b", "c", "d", 1),
        Prompt("a", "x", "c", "d", 1),
        Prompt("a", "b", None, "d", 1),
        Prompt("a", "b", "c", "x", 1),
        Prompt("a", "b", "c", "d", 2),
    ]
    assert len({base, *(hash_prompts([one]) for one in others)}) == 6
