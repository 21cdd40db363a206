"""Whether the files of a model folder or a run folder are what their record says."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from distill.digest import digest_file
from distill.errors import DataError
from distill.lineage import LINEAGE_FILE, SIGNATURE_FILE, listed_files, read_lineage
from distill.signature import check_signature, is_signed
from distill.storage import storage_errors
from distill.stored_run import read_run

Problem = Literal["changed", "missing", "not listed"]
Signature = Literal["none", "not checked", "valid", "invalid"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A file that is not what the record says.

    Attributes:
        path: Named from the folder.
        problem: What is wrong with it.
    """

    path: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of checking a folder.

    Attributes:
        record: The file that says what should be there.
        files: How many it lists.
        findings: What is wrong, by name of the file; nothing if all is well.
        signature: Whether there is one, and what a key says to it.
        why: Why it is invalid.
    """

    record: str
    files: int
    findings: tuple[Finding, ...]
    signature: Signature = "none"
    why: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.findings and self.signature != "invalid"


def check_folder(folder: Path, public_key: Path | None = None) -> Checked:
    """Compute every hash of a model folder, or of what a run has made, again.

    Args:
        folder: Of a model or of a run.
        public_key: Whose signature a model folder must have; ``None`` if it does not matter.

    Raises:
        DataError: If the folder has neither a lineage nor a manifest, or the key is none.
        MissingDependencyError: If a signature is to be checked and the library is not there.
        RunDirError: If it is a run folder whose manifest is broken.
        StorageError: If a file cannot be read.
    """
    if (folder / LINEAGE_FILE).is_file():
        return _with_signature(_check_model(folder), folder, public_key)
    if (folder / "manifest.json").is_file():
        return _check_run(folder)
    problem = "there is no such folder" if not folder.is_dir() else "nothing says what is in it"
    raise DataError(
        f"{folder}: {problem}",
        hint=f"Name a student's folder, which holds {LINEAGE_FILE}, or a run folder.",
    )


def _with_signature(checked: Checked, folder: Path, public_key: Path | None) -> Checked:
    if public_key is None:
        return replace(checked, signature="not checked") if is_signed(folder) else checked
    if not is_signed(folder):
        return replace(checked, signature="invalid", why=f"there is no {SIGNATURE_FILE}")
    why = check_signature(folder, public_key)
    return replace(checked, signature="invalid" if why else "valid", why=why)


def _check_model(folder: Path) -> Checked:
    try:
        listed = read_lineage(folder).files
    except DataError:
        return Checked(LINEAGE_FILE, 0, (Finding(LINEAGE_FILE, "changed"),))
    found = set(listed_files(folder))
    findings = _compare(folder, listed)
    findings += [Finding(path, "not listed") for path in found - listed.keys()]
    return Checked(LINEAGE_FILE, len(listed), tuple(sorted(findings, key=lambda one: one.path)))


def _check_run(folder: Path) -> Checked:
    manifest = read_run(folder).manifest
    listed = {
        path: value for record in manifest.stages.values() for path, value in record.outputs.items()
    }
    findings = sorted(_compare(folder, listed), key=lambda one: one.path)
    return Checked("manifest.json", len(listed), tuple(findings))


def _compare(folder: Path, listed: Mapping[str, str]) -> list[Finding]:
    findings = []
    for path, expected in listed.items():
        file = folder / path
        if not file.is_file():
            findings.append(Finding(path, "missing"))
            continue
        with storage_errors(file):
            if digest_file(file, like=expected) != expected:
                findings.append(Finding(path, "changed"))
    return findings
