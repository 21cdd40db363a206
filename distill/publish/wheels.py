"""Which packages a student needs to answer: an exact lock of them, and their wheels.

The lock is read from what is installed here, because that is what the student was tested with. A
build's own suffix (2.13.0+cpu) is left out of it: which build a machine takes is up to its wheels.
"""

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from distill.digest import sha256_file
from distill.errors import DataError, MissingDependencyError, StageError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

TOOLKIT: Final = "distill-reasoning"
LOCK: Final = "requirements.txt"

_FOLDER: Final = ("torch", "transformers", "safetensors")
_GGUF: Final = ("xllamacpp",)
_IN_BITS: Final = ("accelerate", "bitsandbytes")
_ADAPTER: Final = ("peft",)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file that pip installs a package from.

    Attributes:
        path: Of it.
        package: Its normalised name.
        sha256: Of its bytes.
    """

    path: Path
    package: str
    sha256: str


def needed_packages(files: Iterable[str], quantised: str = "") -> dict[str, str]:
    """Name to version of every package that answering with a model folder needs.

    Args:
        files: Of the folder.
        quantised: How its weights are held in fewer bits; empty if they are not.

    Raises:
        MissingDependencyError: If one of them is not installed here.
    """
    files = list(files)
    names = list(_FOLDER)
    if any(name.endswith(".gguf") for name in files):
        names = list(_GGUF)
    elif quantised:
        names += _IN_BITS
    if any(name.endswith("adapter_config.json") for name in files):
        names += _ADAPTER
    return installed_closure([TOOLKIT, *names])


def installed_closure(names: Sequence[str]) -> dict[str, str]:
    """Name to installed version of packages and of all that they need on this machine, sorted.

    Raises:
        MissingDependencyError: If one of them is not installed.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        one = waiting.pop()
        name, extras = canonicalize_name(one.name), frozenset(one.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise MissingDependencyError(
                f"the lock of wheels needs {name}, which is not installed here",
                hint=f"pip install {name}",
            ) from None
        found[name] = Version(package.version).public
        needs = map(Requirement, package.requires or ())
        waiting += [need for need in needs if _applies(need, extras)]
    return dict(sorted(found.items()))


def lock_text(packages: Mapping[str, str], wheels: Sequence[Wheel]) -> str:
    """The lock as pip reads it; with wheels, pip accepts no others."""
    lines = [f"# What {TOOLKIT} needs to answer with this student; written by `distill bundle`."]
    for name, version in packages.items():
        hashes = [f"--hash=sha256:{one.sha256}" for one in wheels if one.package == name]
        lines.append(" \\\n    ".join([f"{name}=={version}", *hashes]))
    return "\n".join(lines) + "\n"


def wheels_in(folder: Path, packages: Mapping[str, str]) -> list[Wheel]:
    """The wheels of a folder that a lock names; others are passed over.

    Raises:
        DataError: If one that is needed is not there.
    """
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    if not folder.is_dir():
        raise DataError(f"--wheel-dir {folder}: there is no such folder")
    found = []
    for path in sorted(folder.glob("*.whl")):
        try:
            name, version, _, _ = parse_wheel_filename(path.name)
        except InvalidWheelFilename:
            continue
        if packages.get(name) == version.public:
            found.append(Wheel(path, name, sha256_file(path)))
    here = {one.package for one in found}
    missing = [f"{name}=={packages[name]}" for name in packages if name not in here]
    if missing:
        raise DataError(
            f"--wheel-dir {folder}: {len(missing)} of {len(packages)} wheels are not in it:"
            f" {', '.join(missing)}",
            hint=f"`--dry-run --json` prints the lock; pip wheel --no-deps -w {folder} PACKAGE"
            " gets one, with the toolkit's own checkout as PACKAGE for its wheel",
        )
    return found


@contextmanager
def fetched_wheels(packages: Mapping[str, str], beside: Path) -> Iterator[list[Wheel]]:
    """Get the wheels of a lock from where pip gets packages; they go with the block.

    Args:
        packages: The lock.
        beside: Where they lie meanwhile, in a folder of their own.

    Raises:
        StageError: If pip cannot get one, in its words.
    """
    wanted = [f"{name}=={version}" for name, version in packages.items() if name != TOOLKIT]
    with TemporaryDirectory(prefix=".wheels-", dir=beside) as folder:
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet"]
        command += ["--disable-pip-version-check", "--wheel-dir", folder]
        command += [*wanted, _toolkit_source(packages[TOOLKIT])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise StageError(
                f"pip has no wheel: {errors[-1] if errors else done.stderr.strip()[-300:]}",
                hint="get the wheels elsewhere and name their folder: --wheel-dir DIR",
            )
        yield wheels_in(Path(folder), packages)


def _toolkit_source(version: str) -> str:
    """What pip makes the toolkit's own wheel from: its checkout, else its release."""
    checkout = Path(__file__).resolve().parents[2]
    is_checkout = (checkout / "pyproject.toml").is_file()
    return str(checkout) if is_checkout else f"{TOOLKIT}=={version}"


def _applies(need: "Requirement", extras: frozenset[str]) -> bool:
    marker = need.marker
    return marker is None or any(marker.evaluate({"extra": one}) for one in extras or {""})
