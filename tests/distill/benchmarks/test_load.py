"""Benchmarks are read from files laid out as on the Hub; their content is ours, not theirs."""

import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from distill.benchmarks import livecode
from distill.benchmarks.forms import BOXED
from distill.benchmarks.load import load_benchmark
from distill.benchmarks.table import BENCHMARKS, find_benchmark
from distill.errors import DataError
from distill.problems import embedded_prompts
from distill.types import Completion
from distill.verify import build_verifier

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub, and no other place to look at."""
    cache = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("DISTILL_BENCHMARKS", str(tmp_path / "copies"))
    return cache


def snapshot(cache: Path, repository: str) -> Path:
    """A folder of the cache as the Hub's library lays it out."""
    folder = cache / f"datasets--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    inside = folder / "snapshots" / COMMIT
    inside.mkdir(parents=True)
    return inside


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_aime24_is_read_from_the_hubs_cache(hub_cache: Path) -> None:
    rows = [
        {"id": 60 + n, "problem": f"What is {n} + 1?", "solution": "...", "answer": str(n + 1)}
        for n in range(3)
    ]
    folder = snapshot(hub_cache, "HuggingFaceH4/aime_2024")
    write_rows(folder / "data" / "train-00000-of-00001.parquet", rows)
    loaded = load_benchmark("aime24")
    assert [prompt.id for prompt in loaded.prompts] == ["60", "61", "62"]
    assert loaded.prompts[1].text == f"What is 1 + 1?\n{BOXED}"
    assert loaded.prompts[1].answer == "2"
    assert (loaded.verifier, loaded.samples, loaded.published) == ("answer", 64, 30)
    facts = loaded.facts
    assert (facts.name, facts.hub, facts.revision) == (
        "aime24",
        "HuggingFaceH4/aime_2024",
        COMMIT,
    )
    assert [one.name for one in facts.files] == ["train-00000-of-00001.parquet"]
    assert len(facts.files[0].sha256) == 64


def test_aime25_joins_both_parts_and_numbers_them(hub_cache: Path) -> None:
    folder = snapshot(hub_cache, "opencompass/AIME2025")
    for part, answer in (("I", "7"), ("II", "8")):
        rows = [{"question": f"Part {part}?", "answer": answer}]
        write_rows(folder / f"aime2025-{part}.jsonl", rows)
    prompts = load_benchmark("aime25").prompts
    assert [(prompt.id, prompt.answer) for prompt in prompts] == [("0", "7"), ("1", "8")]


def test_a_copy_of_ones_own_goes_before_the_cache_and_may_lie_flat(
    hub_cache: Path, tmp_path: Path
) -> None:
    write_rows(
        snapshot(hub_cache, "openai/gsm8k") / "main" / "test-0.parquet",
        [{"question": "Cached?", "answer": "#### 1"}],
    )
    write_rows(
        tmp_path / "copies" / "gsm8k" / "test-00000-of-00001.parquet",
        [{"question": "How many?", "answer": "2 * 500 = 1,000\n#### 1,000"}],
    )
    loaded = load_benchmark("gsm8k")
    assert loaded.prompts[0].text.startswith("How many?")
    assert loaded.prompts[0].answer == "1000"
    assert loaded.facts.revision == ""


def test_math500_keeps_subject_and_level(hub_cache: Path) -> None:
    row = {"problem": "1+1", "answer": "2", "subject": "Algebra", "level": 3, "unique_id": "t/1"}
    write_rows(snapshot(hub_cache, "HuggingFaceH4/MATH-500") / "test.jsonl", [row])
    (prompt,) = load_benchmark("MATH-500").prompts
    assert (prompt.id, prompt.kind, prompt.level) == ("t/1", "Algebra", 3)


def test_gpqa_shuffles_its_choices_the_same_way_in_every_run(tmp_path: Path) -> None:
    header = (
        "Record ID,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3"
    )
    lines = [f"rec{n},Which number is {n}?,{n},{n}1,{n}2,{n}3" for n in range(1, 9)]
    path = tmp_path / "gpqa_diamond.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    first, again = (load_benchmark("gpqa-diamond", path).prompts for _ in "ab")
    assert first == again
    assert len({prompt.answer for prompt in first}) > 1  # not always the same letter
    verifier = build_verifier("choice")
    for number, prompt in enumerate(first, start=1):
        assert f"{prompt.answer}) {number}\n" in prompt.text
        right = Completion(rf"So it is \boxed{{{prompt.answer}}}.")
        assert verifier.verify(prompt, right).is_accepted is True


def test_ifeval_keeps_only_what_an_instruction_needs(tmp_path: Path) -> None:
    row = {
        "key": 1000,
        "prompt": "Write two words without a comma.",
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        "kwargs": [
            {"num_words": None, "relation": None},
            {"num_words": 3, "relation": "less than"},
        ],
    }
    path = tmp_path / "ifeval_input_data.jsonl"
    write_rows(path, [row])
    loaded = load_benchmark("ifeval", path)
    (prompt,) = loaded.prompts
    assert prompt.text == row["prompt"]
    verifier = build_verifier(loaded.verifier)
    assert verifier.verify(prompt, Completion("two words")).is_accepted is True
    assert verifier.verify(prompt, Completion("two, words")).is_accepted is False


def _packed(cases: list[dict[str, str]]) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()


def _contest(day: str, **more: Any) -> dict[str, Any]:
    return {
        "question_id": f"q-{day}",
        "question_content": "Add two numbers.",
        "contest_date": f"{day}T00:00:00",
        "starter_code": "",
        "difficulty": "easy",
        "metadata": "{}",
        "public_test_cases": json.dumps([{"input": "1 2", "output": "3", "testtype": "stdin"}]),
        "private_test_cases": _packed([{"input": "4 5", "output": "9", "testtype": "stdin"}]),
        **more,
    }


def test_livecodebench_takes_its_window_with_public_and_hidden_tests(tmp_path: Path) -> None:
    days = ("2024-07-31", "2024-08-01", "2025-01-31", "2025-02-01")
    for part, day in zip(("", "2", "3", "5"), days, strict=True):
        write_rows(tmp_path / f"test{part}.jsonl", [_contest(day)])
    loaded = load_benchmark("livecodebench", tmp_path)
    assert [prompt.id for prompt in loaded.prompts] == ["q-2024-08-01", "q-2025-01-31"]
    verifier = build_verifier(loaded.verifier, **loaded.options)
    try:
        right = "```python\na, b = map(int, input().split())\nprint(a + b, pow(2, 3, 5))\n```"
        verdict = verifier.verify(
            loaded.prompts[0], Completion(right.replace(", pow(2, 3, 5)", ""))
        )
        assert (verdict.is_accepted, verdict.reason) == (True, "all 2 tests passed")
        guess = Completion("```python\nprint(3)\n```")
        assert "1 of 2 tests passed" in verifier.verify(loaded.prompts[0], guess).reason
    finally:
        verifier.close()  # type: ignore[attr-defined]


def test_livecodebench_calls_methods_and_leaves_builtins_alone(tmp_path: Path) -> None:
    cases = [{"input": "2\n3\n5", "output": "3", "testtype": "functional"}]
    row = _contest(
        "2024-09-01",
        starter_code="class Solution:\n    def power(self, a, b, m):\n        ",
        metadata='{"func_name": "power"}',
        public_test_cases=json.dumps(cases),
        private_test_cases="[]",
    )
    write_rows(tmp_path / "test.jsonl", [row])
    write_rows(tmp_path / "test2.jsonl", [_contest("2020-01-01")])
    loaded = load_benchmark("livecodebench", tmp_path)
    assert "class Solution:" in loaded.prompts[0].text
    verifier = build_verifier(loaded.verifier, **loaded.options)
    code = "class Solution:\n    def power(self, a, b, m):\n        return pow(a, b, m)"
    try:
        completion = Completion(f"```python\n{code}\n```")
        assert verifier.verify(loaded.prompts[0], completion).is_accepted is True
    finally:
        verifier.close()  # type: ignore[attr-defined]


class _Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("ran"),)  # type: ignore[return-value]


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    evil = base64.b64encode(zlib.compress(pickle.dumps(_Evil()))).decode()
    with pytest.raises(ValueError, match="it would import"):
        livecode.hidden_cases(evil)
    with pytest.raises(ValueError, match="hold no text"):
        livecode.hidden_cases(base64.b64encode(zlib.compress(pickle.dumps([1]))).decode())
    with pytest.raises(ValueError, match="cannot be unpacked"):
        livecode.hidden_cases("not base64!")


def test_missing_data_says_how_to_fetch_it_and_where_it_is_expected(
    hub_cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        load_benchmark("gpqa-diamond")
    assert "HF_HUB_OFFLINE" in caught.value.problem
    hint = caught.value.hint
    assert "hf download Idavidrein/gpqa --repo-type dataset" in hint
    assert str(tmp_path / "copies" / "gpqa-diamond") in hint
    assert "gated" in hint


def test_half_a_download_is_not_taken_for_the_benchmark(hub_cache: Path) -> None:
    folder = snapshot(hub_cache, "opencompass/AIME2025")
    write_rows(folder / "aime2025-I.jsonl", [{"question": "?", "answer": "1"}])
    with pytest.raises(DataError, match="is not on this machine"):
        load_benchmark("aime25")


def test_rows_of_another_form_are_named_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text('{"problem": "1+1"}\nnot json\n{"problem": "?", "answer": "3"}\n')
    with pytest.raises(DataError) as caught:
        load_benchmark("math500", path)
    assert f"{path}:1: there is no 'answer'" in caught.value.problem
    assert f"{path}:2: not valid JSON" in caught.value.problem


def test_the_embedded_benchmark_is_that_of_the_demo() -> None:
    loaded = load_benchmark("embedded")
    assert list(loaded.prompts) == embedded_prompts("eval", 300, 0)
    assert loaded.facts.files == ()


def test_a_file_of_ones_own_needs_gold_answers(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"text": "1 + 1?", "answer": "2"}\n{"text": "2 + 2?"}\n')
    with pytest.raises(DataError, match=r"mine.jsonl: 1 of 2 prompts .* no gold answer"):
        load_benchmark(str(path))


def test_first_problems_are_other_problems(tmp_path: Path) -> None:
    loaded = load_benchmark("embedded")
    few = loaded.first(5)
    assert len(few.prompts) == few.facts.prompts == 5
    assert few.facts.prompts_hash != loaded.facts.prompts_hash
    assert loaded.first(None) == loaded.first(300) == loaded


def test_an_unknown_name_is_answered_with_what_was_meant() -> None:
    with pytest.raises(DataError, match="did you mean 'gpqa-diamond'"):
        find_benchmark("gpqa")


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda one: one.name)
def test_every_benchmark_has_a_verifier_that_can_be_built(benchmark: Any) -> None:
    verifier = build_verifier(benchmark.verifier, **benchmark.options)
    assert verifier.name
    if hasattr(verifier, "close"):
        verifier.close()
