"""Where the files of a benchmark are: a copy of yours, the Hub's cache, else the Hub.

Nothing is downloaded when ``HF_HUB_OFFLINE`` is set, and nothing before the local places were
looked at. The cache is read by its layout, so the Hub's library is needed only to download.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from distill.benchmarks.table import Benchmark
from distill.errors import DataError, MissingDependencyError

FOLDER_VARIABLE: Final = "DISTILL_BENCHMARKS"
"""Environment variable that names the folder of local copies."""

_TRUE: Final = {"1", "ON", "YES", "TRUE"}


@dataclass(frozen=True, slots=True)
class Found:
    """The files of a benchmark.

    Attributes:
        files: In order.
        revision: Commit of the data set; empty if nobody knows.
    """

    files: tuple[Path, ...]
    revision: str = ""


def find_files(benchmark: Benchmark, data: Path | None = None) -> Found | None:
    """The files if they are on this machine; ``None`` if they are not.

    Args:
        benchmark: One that has files.
        data: Where to look instead: a file, or a folder that holds the files.

    Raises:
        DataError: If ``data`` holds no such files.
    """
    if data is not None:
        files = _files_in(data, benchmark.files)
        if not files:
            wanted = ", ".join(benchmark.files)
            problem = "there is nothing there" if not data.exists() else f"there is no {wanted}"
            raise DataError(f"{data}: {problem}, of which {benchmark.name} is made")
        return Found(files)
    for folder, revision in _places(benchmark):
        files = _files_in(folder, benchmark.files)
        if files:
            return Found(files, revision)
    return None


def fetch_files(benchmark: Benchmark, data: Path | None = None) -> Found:
    """The files, from the Hub if they are not on this machine.

    Raises:
        DataError: If they cannot be had; says where they are expected and how to fetch them.
        MissingDependencyError: If the Hub's library is missing.
    """
    found = find_files(benchmark, data)
    if found is not None:
        return found
    if is_offline():
        raise DataError(
            f"the data of benchmark '{benchmark.name}' is not on this machine, and HF_HUB_OFFLINE"
            " forbids to fetch it",
            hint=how_to_fetch(benchmark),
        )
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError:
        raise MissingDependencyError(
            f"the data of benchmark '{benchmark.name}' is not on this machine, and fetching it"
            " needs the library huggingface_hub",
            hint=f"pip install huggingface_hub\nor fetch it elsewhere: {how_to_fetch(benchmark)}",
        ) from None
    try:
        folder = Path(
            snapshot_download(
                benchmark.hub, repo_type="dataset", allow_patterns=list(benchmark.files)
            )
        )
    # No network, no such repository, gated, a broken download: all of them are one of these.
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"the data of benchmark '{benchmark.name}' cannot be fetched from the Hub: {reason}",
            hint=how_to_fetch(benchmark),
        ) from None
    files = _files_in(folder, benchmark.files)
    if not files:
        raise DataError(
            f"the data set {benchmark.hub} has no {', '.join(benchmark.files)} any more",
            hint=how_to_fetch(benchmark),
        )
    return Found(files, folder.name)


def how_to_fetch(benchmark: Benchmark) -> str:
    """What a user does to get the files, and where they are expected."""
    patterns = " ".join(f"--include '{pattern}'" for pattern in benchmark.files)
    lines = [
        "where there is a network:",
        f"  hf download {benchmark.hub} --repo-type dataset {patterns}",
        f"then copy them to the folder {local_folder(benchmark)}",
        f"(the environment variable {FOLDER_VARIABLE} names another place), or name them: --data",
    ]
    if benchmark.note.startswith("gated"):
        lines.append(benchmark.note)
    return "\n".join(lines)


def local_folder(benchmark: Benchmark) -> Path:
    """Where a copy of yours is looked for."""
    root = os.environ.get(FOLDER_VARIABLE) or "benchmarks"
    return Path(root).expanduser() / benchmark.name


def is_offline() -> bool:
    """Whether the Hub must not be asked."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE


def _places(benchmark: Benchmark) -> list[tuple[Path, str]]:
    """Folders to look at, each with the commit that it holds."""
    cache = _hub_cache() / f"datasets--{benchmark.hub.replace('/', '--')}"
    reference = cache / "refs" / "main"
    revisions = [reference.read_text().strip()] if reference.is_file() else []
    snapshots = cache / "snapshots"
    if not revisions and snapshots.is_dir():
        revisions = sorted(found.name for found in snapshots.iterdir())
    return [(local_folder(benchmark), "")] + [(snapshots / name, name) for name in revisions]


def _hub_cache() -> Path:
    home = os.environ.get("HF_HOME") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "huggingface"
    )
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _files_in(place: Path, patterns: Sequence[str]) -> tuple[Path, ...]:
    """The files of all patterns in order; nothing if one of them has none."""
    if place.is_file():
        return (place,)
    inside = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else []
    found: list[Path] = []
    for pattern in patterns:
        # A copy may lie flat, without the folders that the data set has.
        whole = [path for path in inside if fnmatch(path.relative_to(place).as_posix(), pattern)]
        name = pattern.rpartition("/")[2]
        matching = whole or [path for path in inside if fnmatch(path.name, name)]
        if not matching:
            return ()
        found += [path for path in matching if path not in found]
    return tuple(found)
