"""``RunManifest``: what was done in a run folder, with which versions, and what came of it."""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from distill import __version__
from distill.layout import STAGES, Stage

FORMAT: Final = 1
"""Raised when an older program could misread a run folder."""

_LIBRARIES = ("torch", "transformers", "peft", "datasets", "accelerate", "tokenizers")


class _Noun(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Versions(_Noun):
    """What ran."""

    distill: str
    python: str
    platform: str
    libraries: dict[str, str]
    """Name to version, of those that are installed."""


class StageRecord(_Noun):
    """One stage: begun when ``finished`` is ``None``, else done."""

    settings: dict[str, Any]
    """What it depends on beyond the recipe, such as the teacher's fingerprint."""

    inputs: dict[str, str]
    """Path relative to the run folder, to the digest of its bytes, when it began."""

    begun: str
    """UTC."""

    finished: str | None = None
    """UTC."""

    outputs: dict[str, str] = {}
    """Path relative to the run folder, to the digest of its bytes; every file of a folder."""

    summary: dict[str, Any] = {}
    """Figures for people."""

    seconds: float = 0.0
    """How long the last try took."""

    versions: Versions | None = None
    """What finished it."""


class RunManifest(_Noun):
    """The content of ``manifest.json``."""

    format: int = FORMAT
    """Of the run folder."""

    seed: int
    """Of the recipe."""

    created: str
    """UTC."""

    updated: str
    """UTC."""

    versions: Versions
    """What created the run folder."""

    stages: dict[Stage, StageRecord] = {}
    """Those that were begun, in order."""

    @classmethod
    def new(cls, seed: int) -> "RunManifest":
        """The manifest of a run that has done nothing yet."""
        return cls(seed=seed, created=now(), updated=now(), versions=current_versions())

    def with_stages(self, stages: Mapping[Stage, StageRecord]) -> "RunManifest":
        """This manifest with other records, put in order."""
        ordered = {stage: stages[stage] for stage in STAGES if stage in stages}
        return self.model_copy(update={"stages": ordered, "updated": now()})

    def is_finished(self, stage: Stage) -> bool:
        """Whether a stage is recorded as finished; its files are not looked at."""
        return stage in self.stages and self.stages[stage].finished is not None


def now() -> str:
    """The time in UTC, to the second.

    Example:
        >>> len(now())
        20
    """
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def current_versions() -> Versions:
    """What runs now; nothing is imported for it."""
    libraries = {}
    for name in _LIBRARIES:
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            continue
    return Versions(
        distill=__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        libraries=libraries,
    )
