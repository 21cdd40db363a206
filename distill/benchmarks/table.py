"""Which benchmarks are known: their data set, their verifier, how they are usually sampled.

Problems are not part of the package. Their files are those of the Hub, taken as they are; what
makes a prompt of a row is named here and stands in ``distill.benchmarks.forms``.

Samples are those of published protocols: DeepSeek-R1 (2501.12948) draws 64 of AIME and some of the
others so that the noise of sampling is small beside that of the few problems.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from distill.benchmarks import forms, livecode
from distill.errors import DataError
from distill.types import Prompt

Row = Mapping[str, Any]
RowReader = Callable[[Row, int], Prompt | None]
"""Makes a prompt of a row and its place; ``None`` for one that is not part of the benchmark."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark.

    Attributes:
        name: As users say it.
        title: What it is, in a few words.
        version: Raised when the same rows would be asked or judged otherwise.
        problems: How many are published.
        verifier: Kind of the rule that judges.
        samples: Completions per problem that published figures rest on, or that suffice.
        hub: Data set on the Hub; empty if it ships with the package.
        files: Patterns of its files there, in order.
        read: Makes prompts of its rows; ``None`` if it ships with the package.
        options: Of the verifier.
        needs_box: Whether the prompt asks for the answer in a box.
        licence: Of the data; empty if its card says nothing.
        note: What else one must know.
        task: Its task on the Hub's leaderboard of the data set; empty if there is none.
    """

    name: str
    title: str
    version: str
    problems: int
    verifier: str
    samples: int
    hub: str = ""
    files: tuple[str, ...] = ()
    read: RowReader | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    needs_box: bool = True
    licence: str = ""
    note: str = ""
    task: str = ""


EMBEDDED: Final = Benchmark(
    name="embedded",
    title="integer problems of two to five steps, made from a seed; split eval",
    version="1",
    problems=300,
    verifier="answer",
    samples=4,
    licence="Apache-2.0",
    note="ships with the package; needs no network",
)

BENCHMARKS: Final = (
    EMBEDDED,
    Benchmark(
        name="aime24",
        title="AIME 2024 I and II, answers 0 to 999",
        version="1",
        problems=30,
        verifier="answer",
        samples=64,
        hub="HuggingFaceH4/aime_2024",
        files=("data/train-*.parquet",),
        read=forms.maths,
    ),
    Benchmark(
        name="aime25",
        title="AIME 2025 I and II, answers 0 to 999",
        version="1",
        problems=30,
        verifier="answer",
        samples=64,
        hub="opencompass/AIME2025",
        files=("aime2025-I.jsonl", "aime2025-II.jsonl"),
        read=forms.maths,
        licence="MIT",
    ),
    Benchmark(
        name="math500",
        title="500 problems of MATH, seven subjects, five levels",
        version="1",
        problems=500,
        verifier="answer",
        samples=4,
        hub="HuggingFaceH4/MATH-500",
        files=("test.jsonl",),
        read=forms.maths,
    ),
    Benchmark(
        name="gpqa-diamond",
        title="graduate questions in science, four choices in an order fixed by the question",
        version="1",
        problems=198,
        verifier="choice",
        samples=8,
        hub="Idavidrein/gpqa",
        files=("gpqa_diamond.csv",),
        read=forms.gpqa,
        licence="CC-BY-4.0",
        note="gated: accept its terms on the Hub, then set HF_TOKEN; never publish the questions",
        task="gpqa_diamond",
    ),
    Benchmark(
        name="livecodebench",
        title="programming contests of August 2024 to January 2025, the window of DeepSeek-R1",
        version="1",
        problems=279,
        verifier="code",
        samples=4,
        hub="livecodebench/code_generation_lite",
        files=("test.jsonl", "test[2-5].jsonl"),
        read=livecode.read,
        options={"seconds": 10.0, "memory_bytes": 4 << 30},
        needs_box=False,
        note="some GB of tests; answers are run in the sandbox",
    ),
    Benchmark(
        name="ifeval",
        title="instructions that a program can check, prompt-level, strict",
        version="1",
        problems=541,
        verifier="instructions",
        samples=1,
        hub="google/IFEval",
        files=("ifeval_input_data.jsonl",),
        read=forms.instructions,
        needs_box=False,
        licence="Apache-2.0",
    ),
    Benchmark(
        name="gsm8k",
        title="grade school problems in words, test split",
        version="1",
        problems=1319,
        verifier="answer",
        samples=1,
        hub="openai/gsm8k",
        files=("main/test-*.parquet",),
        read=forms.gsm8k,
        licence="MIT",
        task="gsm8k",
    ),
)


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name; case, spaces and underscores make no difference.

    Raises:
        DataError: If there is none; says which there are.

    Example:
        >>> find_benchmark("MATH_500").name
        'math500'
    """
    for benchmark in BENCHMARKS:
        if _plain(benchmark.name) == _plain(name):
            return benchmark
    names = [benchmark.name for benchmark in BENCHMARKS]
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.45)
    meant = f"; did you mean '{close[0]}'?" if close else ""
    raise DataError(
        f"there is no benchmark '{name}'{meant}",
        hint=f"Known: {', '.join(names)}; or a file of yours that ends in .jsonl, .json,"
        " .csv or .parquet.",
    )


def _plain(name: str) -> str:
    return name.lower().translate(str.maketrans("", "", "-_ "))
