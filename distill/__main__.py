"""The console entry point: makes sure that the packages it loads are this project's own.

``cli``, ``engine``, ``students`` and ``teachers`` are common names. A folder on ``PYTHONPATH`` or
another distribution that has one of them would be loaded instead, and fail far from its cause.
"""

import gc
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

PACKAGES = ("cli", "distill", "engine", "students", "teachers")
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Shadow:
    """A package of ours that Python would load from elsewhere.

    Attributes:
        package: Its name.
        found: The folder or file that would be loaded; ``None`` if there is none at all.
    """

    package: str
    found: Path | None

    def explain(self) -> str:
        """What stands in the way and what to do about it."""
        if self.found is None:
            return f"the package '{self.package}' is missing from {ROOT}; install again"
        owner = _distribution_of(self.package, self.found)
        what = f"the distribution '{owner}' at {self.found}" if owner else str(self.found)
        cure = (
            f"uninstall '{owner}', or keep the two in separate environments"
            if owner
            else f"take {self.found.parent} off PYTHONPATH, or start from another folder"
        )
        return f"{what} shadows this project's package '{self.package}'; {cure}"


def find_shadows() -> list[Shadow]:
    """The packages of ours that would be loaded from somewhere else."""
    places = {package: _locate(package) for package in PACKAGES}
    return [
        Shadow(package, found)
        for package, found in places.items()
        if found is None or found != ROOT / package
    ]


def main() -> int:
    """Run the command line; returns the exit code."""
    # Torch and transformers bring a million objects that stay. By default Python looks through all
    # of them again and again while they load, a sixth of the time.
    gc.set_threshold(20_000, 50, 100)
    shadows = find_shadows()
    # The doctor reports shadows itself, among its other findings.
    if shadows and (sys.argv[1:2] != ["doctor"] or any(one.package == "cli" for one in shadows)):
        for shadow in shadows:
            sys.stderr.write(f"error: {shadow.explain()}\n")
        return 8

    from cli.main import main as run_command_line

    return run_command_line()


def _locate(package: str) -> Path | None:
    """The folder, or the single file, that ``import`` would take; nothing is imported."""
    spec = PathFinder.find_spec(package)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin else None


def _distribution_of(package: str, found: Path) -> str | None:
    """The installed distribution that a shadowing package came with."""
    from importlib.metadata import distributions

    for distribution in distributions():
        for file in distribution.files or ():
            if file.parts[0] == package or file.name == f"{package}.py":
                place = Path(str(distribution.locate_file(file))).resolve()
                if place == found or found in place.parents:
                    return str(distribution.name)
    return None


if __name__ == "__main__":
    sys.exit(main())
