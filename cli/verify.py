"""``distill verify``: whether the files of a student are what its record says."""

from pathlib import Path
from typing import Annotated

import typer

from cli.console import columns, note, say, say_json
from cli.options import AsJson


def verify(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="STUDENT", help="Folder of a student, or of a run.", show_default=False
        ),
    ],
    *,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="KEY.pub", help="Whose signature it must have."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check every hash of a student; name what differs.

    A changed byte, a missing file and one too many are found; the exit code is 3 then. With a
    public key, so is a signature that is missing or another's.

    Example: distill verify runs/quickstart/student
    """
    from distill.errors import DataError
    from distill.integrity import check_folder
    from distill.records import to_record

    checked = check_folder(folder, key)
    if as_json:
        say_json({"folder": str(folder), **to_record(checked)})
        if not checked.is_whole:
            raise typer.Exit(DataError.exit_code)
        return
    if checked.signature == "not checked":
        note("  it is signed: --key KEY.pub checks by whom")
    if not checked.findings:
        say(f"{folder}: all {checked.files:,} files are as {checked.record} says")
        if checked.signature == "valid":
            say(f"{folder}: signed with the key of {key}")
        elif checked.signature == "invalid":
            raise DataError(
                f"{folder}: not signed with the key of {key}: {checked.why}",
                hint="Do not trust it; the hashes alone say nothing about who wrote them.",
            )
        return
    say(columns([(one.problem, one.path) for one in checked.findings]))
    raise DataError(
        f"{folder}: {len(checked.findings):,} files are not as {checked.record} says",
        hint="Copy the folder again from where it came from, or have it made again.",
    )
