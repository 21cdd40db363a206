"""``distill doctor``: what this machine has, and what stands in the way."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Literal

import typer

from cli.console import columns, paint, say, say_json
from cli.failures import INSTALL_LINE
from cli.options import AsJson
from distill import __version__
from distill.__main__ import ROOT, find_shadows

Health = Literal["ok", "warning", "problem"]

_LIBRARIES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "datasets")
_GIB = 1024**3
_LOW_DISK_BYTES = _GIB
_ENVIRONMENT_EXIT_CODE = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        name: What was looked at.
        found: What is there.
        health: ``"problem"`` makes the command fail.
        cure: What to do, unless all is well.
    """

    name: str
    found: str
    health: Health = "ok"
    cure: str = ""


def doctor(*, as_json: AsJson = False) -> None:
    """Look at this machine: versions, GPU, memory, disk, packages.

    Nothing is changed and nothing is sent anywhere. Exits with 8 if something is in the way.

    Example: distill doctor
    """
    findings = list(examine())
    if as_json:
        say_json([asdict(finding) for finding in findings])
    else:
        say(columns([(_mark(one) + one.name, _line(one)) for one in findings]))
    if any(finding.health == "problem" for finding in findings):
        raise typer.Exit(_ENVIRONMENT_EXIT_CODE)


def examine() -> Iterator[Finding]:
    """Everything that the doctor looks at, the quick things first."""
    yield Finding("distill", f"{__version__} from {ROOT}")
    yield from _packages()
    yield Finding("python", f"{platform.python_version()} at {sys.executable}")
    yield from map(_library, _LIBRARIES)
    yield _processor()
    yield _memory()
    yield _gpu()
    yield _disk(Path.cwd())
    yield _hub()


def _packages() -> Iterator[Finding]:
    shadows = find_shadows()
    if not shadows:
        yield Finding("packages", "all ours, none is shadowed")
    for shadow in shadows:
        found = str(shadow.found) if shadow.found else "missing"
        yield Finding(f"package {shadow.package}", found, "problem", shadow.explain())


def _library(name: str) -> Finding:
    try:
        return Finding(name, version_of(name))
    except PackageNotFoundError:
        cure = f"needed to train and to run local models: {INSTALL_LINE}"
        return Finding(name, "not installed", "warning", cure)


def _processor() -> Finding:
    has_affinity = hasattr(os, "sched_getaffinity")
    usable = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS")
    limit = f", OMP_NUM_THREADS={threads}" if threads else ""
    return Finding("processor", f"{usable} cores for us, {platform.machine()}{limit}")


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return Finding("memory", "unknown on this system")
    limit_file = Path("/sys/fs/cgroup/memory.max")
    limit = limit_file.read_text().strip() if limit_file.is_file() else "max"
    if limit.isdigit() and int(limit) < total:
        return Finding("memory", f"{int(limit) / _GIB:.1f} GiB allowed to this container")
    return Finding("memory", f"{total / _GIB:.1f} GiB, {free / _GIB:.1f} GiB of it unused")


def _gpu() -> Finding:
    try:
        import torch
    except ImportError:
        return Finding("gpu", "not looked for without torch")
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
        listed = ", ".join(f"{card.name} {card.total_memory / _GIB:.0f} GiB" for card in cards)
        return Finding("gpu", listed)
    if torch.backends.mps.is_available():
        return Finding("gpu", "Apple GPU (mps)")
    return Finding("gpu", "none; the embedded models need none")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    found = f"{free / _GIB:.1f} GiB free at {folder}"
    if free < _LOW_DISK_BYTES:
        return Finding("disk", found, "warning", "make room, or run elsewhere with --run-dir DIR")
    return Finding("disk", found)


def _hub() -> Finding:
    is_offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
    home = os.environ.get("HF_HOME") or str(Path("~/.cache/huggingface").expanduser())
    state = "offline (HF_HUB_OFFLINE is set)" if is_offline else "online allowed"
    return Finding("model hub", f"{state}, cache at {home}")


def _mark(finding: Finding) -> str:
    marks = {"ok": paint("✓ ", "green"), "warning": paint("! ", "yellow")}
    return marks.get(finding.health) or paint("✗ ", "red")


def _line(finding: Finding) -> str:
    return f"{finding.found}: {finding.cure}" if finding.cure else finding.found
