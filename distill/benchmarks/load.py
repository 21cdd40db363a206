"""A benchmark with its prompts, by its name or from a file of yours, and what it was read from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from distill.benchmarks.locate import Found, fetch_files
from distill.benchmarks.table import EMBEDDED, Benchmark, find_benchmark
from distill.data_rows import is_data_file, read_rows
from distill.digest import sha256_file
from distill.errors import DataError
from distill.eval_result import BenchmarkFacts, SourceFile
from distill.evaluate import check_gold
from distill.prompts import read_prompts
from distill.storage import storage_errors
from distill.traces import hash_prompts
from distill.types import Prompt

_SHOWN_MISTAKES = 5


@dataclass(frozen=True, slots=True)
class LoadedBenchmark:
    """Prompts, who judges them, and where they come from.

    Attributes:
        facts: What a result says of it.
        prompts: All with gold answers.
        verifier: Kind of the rule that judges.
        options: Of the verifier.
        samples: Completions per problem unless the user says otherwise.
        needs_box: Whether prompts ask for the answer in a box.
        published: How many problems there should be; ``None`` if nobody knows.
    """

    facts: BenchmarkFacts
    prompts: Sequence[Prompt]
    verifier: str
    options: Mapping[str, object] = field(default_factory=dict)
    samples: int = 4
    needs_box: bool = True
    published: int | None = None

    def first(self, count: int | None) -> "LoadedBenchmark":
        """The same with its first problems only; ``None`` takes all."""
        if count is None or count >= len(self.prompts):
            return self
        prompts = self.prompts[:count]
        facts = replace(self.facts, prompts=count, prompts_hash=hash_prompts(prompts))
        return replace(self, facts=facts, prompts=prompts)


def is_file_name(text: str) -> bool:
    """Whether a benchmark is named by its file.

    Example:
        >>> is_file_name("my/held-out.jsonl"), is_file_name("aime24")
        (True, False)
    """
    return is_data_file(Path(text))


def load_benchmark(name: str, data: Path | None = None) -> LoadedBenchmark:
    """Read a benchmark.

    Args:
        name: Of a known one, or of a file with ``text`` and ``answer``.
        data: Where the files of a known one are, if not where they are expected.

    Raises:
        DataError: If there is none, its data cannot be had or is broken, or it has no gold answers.
        MissingDependencyError: If a library is needed to read or to fetch it.
    """
    if is_file_name(name):
        return load_file(Path(name))
    benchmark = find_benchmark(name)
    if benchmark.read is None:
        return _embedded()
    found = fetch_files(benchmark, data)
    prompts = _read(benchmark, found)
    return LoadedBenchmark(
        facts=facts_of(
            benchmark.name,
            benchmark.version,
            prompts,
            found.files,
            hub=benchmark.hub,
            revision=found.revision,
        ),
        prompts=prompts,
        verifier=benchmark.verifier,
        options=benchmark.options,
        samples=benchmark.samples,
        needs_box=benchmark.needs_box,
        published=benchmark.problems,
    )


def load_file(path: Path, verifier: str = "answer") -> LoadedBenchmark:
    """Read a file of prompts with gold answers as a benchmark.

    Raises:
        DataError: If it cannot be read, or a prompt has no gold answer.
    """
    prompts = read_prompts(path)
    try:
        check_gold(prompts)
    except DataError as error:
        raise DataError(f"{path}: {error.problem}", hint=error.hint) from None
    return LoadedBenchmark(
        facts=facts_of(path.stem, "", prompts, [path]),
        prompts=prompts,
        verifier=verifier,
        needs_box=verifier == "answer",
    )


def facts_of(
    name: str,
    version: str,
    prompts: Sequence[Prompt],
    files: Sequence[Path] = (),
    *,
    hub: str = "",
    revision: str = "",
) -> BenchmarkFacts:
    """What a result says of its problems.

    Raises:
        StorageError: If a file cannot be read.
    """
    sources = []
    for path in files:
        with storage_errors(path):
            sources.append(SourceFile(path.name, sha256_file(path)))
    return BenchmarkFacts(
        name, version, hub, revision, len(prompts), hash_prompts(prompts), tuple(sources)
    )


def _embedded() -> LoadedBenchmark:
    from distill.problems import embedded_prompts

    prompts = embedded_prompts("eval", EMBEDDED.problems, 0)
    return LoadedBenchmark(
        facts=facts_of(EMBEDDED.name, EMBEDDED.version, prompts),
        prompts=prompts,
        verifier=EMBEDDED.verifier,
        samples=EMBEDDED.samples,
        published=EMBEDDED.problems,
    )


def _read(benchmark: Benchmark, found: Found) -> list[Prompt]:
    """All prompts of the files; every mistake is told, at most five at length."""
    prompts, mistakes = [], []
    for prompt, mistake in _rows(benchmark, found):
        if prompt is not None:
            prompts.append(prompt)
        if mistake:
            mistakes.append(mistake)
    if mistakes:
        lines = "".join(f"\n  {mistake}" for mistake in mistakes[:_SHOWN_MISTAKES])
        more = len(mistakes) - _SHOWN_MISTAKES
        raise DataError(
            f"the data of benchmark '{benchmark.name}' is not as expected:{lines}"
            + (f"\n  and {more} more" if more > 0 else ""),
            hint=f"Fetch it again, or convert it to a JSONL with text and answer of your own. Its"
            f" form is that of {benchmark.hub}.",
        )
    ids = [prompt.id for prompt in prompts]
    if len(set(ids)) < len(ids):  # two files may each count from 0
        prompts = [
            Prompt(f"{place}", one.text, one.answer, one.kind, one.level)
            for place, one in enumerate(prompts)
        ]
    check_gold(prompts)
    return prompts


def _rows(benchmark: Benchmark, found: Found) -> Iterator[tuple[Prompt | None, str]]:
    """Each row's prompt, or what is wrong with it."""
    read = benchmark.read
    assert read is not None
    place = 0
    for path in found.files:
        for row in read_rows(path):
            if row.problem:
                yield None, f"{row.place}: {row.problem}"
                continue
            try:
                yield read(row.values, place), ""
            except KeyError as error:
                yield None, f"{row.place}: there is no {error.args[0]}"
            except (ValueError, TypeError, AttributeError) as error:
                yield None, f"{row.place}: {error}"
            place += 1
