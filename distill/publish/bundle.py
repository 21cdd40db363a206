"""One file with all that a machine without a network needs to answer with a student.

```
NAME/start.sh            checks the files, installs the wheels, serves
NAME/SHA256SUMS          of every other file, as `sha256sum -c` reads it
NAME/requirements.txt    exact versions of the packages that answering needs
NAME/wheels/             these packages, if they were asked for
NAME/model/              what a push would send: weights, tokenizer, template, card, lineage
```

The same student and the same packages give the same bytes.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from distill.errors import StorageError
from distill.lineage import read_lineage
from distill.publish.archive import Member, archive_parts, archive_size
from distill.publish.package import Package
from distill.publish.wheels import LOCK, Wheel, lock_text
from distill.storage import write_atomically
from distill.types import Progress

SUFFIX: Final = ".tar"
START: Final = "start.sh"

_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle will hold.

    Attributes:
        name: Of the folder that it unpacks to.
        members: Its files in order, all but the checksums.
        packages: Name to version of what answering needs.
        size_bytes: Of the archive.
    """

    name: str
    members: tuple[Member, ...]
    packages: Mapping[str, str]
    size_bytes: int


def quantisation_of(folder: Path) -> str:
    """How the weights of a model folder are held in fewer bits; empty if they are not."""
    config = folder / "config.json"
    if not config.is_file():
        return ""
    found = json.loads(config.read_text(encoding="utf-8")).get("quantization_config") or {}
    return str(found.get("quant_method", ""))


def plan_bundle(
    package: Package, name: str, packages: Mapping[str, str], wheels: Sequence[Wheel]
) -> Bundle:
    """Put together what a bundle will hold; nothing is written.

    Args:
        package: The student, ready for publication.
        name: Of the folder that the bundle unpacks to.
        packages: What answering needs.
        wheels: These packages; none if the other machine has them.
    """
    start = (Path(__file__).parent / START).read_bytes()
    members = [
        Member(START, start, is_program=True),
        Member(LOCK, lock_text(packages, wheels).encode()),
        *(Member(f"wheels/{one.path.name}", one.path, one.sha256) for one in wheels),
        *_model_members(package),
    ]
    members.sort(key=lambda one: one.name)
    return Bundle(name, tuple(members), packages, archive_size(name, members))


def check_target(target: Path, size_bytes: int) -> None:
    """See that a bundle of that size can be written there, before anything is.

    Raises:
        StorageError: If the name is taken, or the disk too small.
    """
    if target.exists():
        raise StorageError(
            f"--to {target}: is there already", hint="name another file: nothing is overwritten"
        )
    above = next(parent for parent in target.resolve().parents if parent.exists())
    free = shutil.disk_usage(above).free
    if free < size_bytes:
        raise StorageError(
            f"--to {target}: {size_bytes / 1e9:,.2f} GB are needed, {free / 1e9:,.2f} GB are free",
            hint="name a file on another disk",
        )


def write_bundle(bundle: Bundle, target: Path, on_progress: Callable[[Progress], None]) -> None:
    """Write the archive, whole or not at all.

    Raises:
        DataError: If a file changes meanwhile.
        StorageError: If the disk refuses, is too small, or the name is taken.
    """
    check_target(target, bundle.size_bytes)
    total = -(-sum(one.size for one in bundle.members) // _MEGABYTE)
    done = 0

    def count(more: int) -> None:
        nonlocal done
        before, done = done // _MEGABYTE, done + more
        if done // _MEGABYTE != before:
            on_progress(Progress("write MB", done // _MEGABYTE, total))

    write_atomically(target, archive_parts(bundle.name, bundle.members, count))
    on_progress(Progress("write MB", total, total))


def _model_members(package: Package) -> list[Member]:
    """The files of a publication; what each must be stands in its lineage."""
    known = read_lineage(package.folder).files
    return [
        Member(f"model/{file.name}", package.folder / file.name, known.get(file.name, ""))
        for file in package.files
    ]
