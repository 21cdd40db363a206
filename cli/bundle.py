"""``distill bundle``: a student as one file for a machine without a network."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import columns, note, paint, say, say_json, shown_path
from cli.options import AsJson
from cli.published import AcceptRisk, Results, SigningKey, read_results

if TYPE_CHECKING:
    from distill.publish.bundle import Bundle
    from distill.publish.package import Package
    from distill.publish.wheels import Wheel


def bundle(
    student: Annotated[
        Path,
        typer.Argument(
            metavar="STUDENT", help="Folder of a student, an export or a run.", show_default=False
        ),
    ],
    *,
    to: Annotated[
        Path,
        typer.Option("--to", metavar="FILE.tar", help="A new file.", show_default=False),
    ],
    wheels: Annotated[
        bool,
        typer.Option("--wheels", help="With the Python packages that it needs, fetched by pip."),
    ] = False,
    wheel_dir: Annotated[
        Path | None,
        typer.Option("--wheel-dir", metavar="DIR", help="With these packages from a folder."),
    ] = None,
    accept_risk: AcceptRisk = False,
    results: Results = None,
    sign: SigningKey = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be in it, and write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a student into one file for a machine without a network.

    It holds what a push would send, checksums, a lock of the packages that answering needs, and
    start.sh, which checks the files and serves the student. With --wheels nothing else is needed
    but a Python of the same version and system.

    Example: distill bundle runs/quickstart --to maths-1.5b.tar --wheels
    """
    from cli.progress import show_progress
    from distill.publish.bundle import check_target, plan_bundle, quantisation_of, write_bundle
    from distill.publish.package import packaged_model, student_in
    from distill.publish.wheels import needed_packages

    _check_options(to, wheel_dir, wheels=wheels)
    check_target(to, 0)
    source = student_in(student)
    with packaged_model(
        source,
        to.stem,
        accepts_risk=accept_risk,
        results=read_results(source, results or ()),
        signing_key=sign,
    ) as package:
        names = [file.name for file in package.files]
        packages = needed_packages(names, quantisation_of(package.folder))
        fetches = wheels and not dry_run
        with _wheels(packages, to.resolve().parent, wheel_dir, fetches=fetches) as found:
            planned = plan_bundle(package, to.stem, packages, found)
            check_target(to, planned.size_bytes)
            if not dry_run:
                with show_progress() as report:
                    write_bundle(planned, to, report)
            # Here, because fetched wheels are gone after the block.
            if as_json:
                say_json({**_summary(planned, package, to), "is_written": not dry_run})
            else:
                _show(planned, package, to, is_written=not dry_run)


def _check_options(to: Path, wheel_dir: Path | None, *, wheels: bool) -> None:
    from distill.errors import RecipeError
    from distill.publish.bundle import SUFFIX

    if to.suffix != SUFFIX or not to.stem.strip("."):
        raise RecipeError(
            f"--to {to}: a bundle is a NAME{SUFFIX}, and NAME is what the student will be called",
            hint="weights and wheels do not get smaller by compression",
        )
    if wheels and wheel_dir is not None:
        raise RecipeError(
            "--wheels fetches packages, --wheel-dir takes them from a folder: say one"
        )


def _wheels(
    packages: dict[str, str], beside: Path, wheel_dir: Path | None, *, fetches: bool
) -> "AbstractContextManager[list[Wheel]]":
    from distill.publish.wheels import fetched_wheels, wheels_in
    from distill.storage import make_folder

    if wheel_dir is not None:
        return nullcontext(wheels_in(wheel_dir, packages))
    if not fetches:
        return nullcontext([])
    note(f"  pip gets {len(packages)} packages")
    make_folder(beside)
    return fetched_wheels(packages, beside)


def _summary(planned: "Bundle", package: "Package", to: Path) -> dict[str, object]:
    return {
        "bundle": str(to),
        "name": planned.name,
        "bytes": planned.size_bytes,
        "packages": dict(planned.packages),
        "files": [{"name": one.name, "size": one.size} for one in planned.members],
        "left_out": list(package.left_out),
    }


def _show(planned: "Bundle", package: "Package", to: Path, *, is_written: bool) -> None:
    wheels = sum(one.name.startswith("wheels/") for one in planned.members)
    done = f"{len(planned.members):,} files" if is_written else "nothing was written"
    say(f"{paint(shown_path(to.resolve()), 'bold')}  {planned.size_bytes / 1e6:,.1f} MB, {done}")
    say(
        columns(
            [
                (f"{one.size:>15,}", one.name)
                for one in planned.members
                if not one.name.startswith("wheels/")
            ]
        )
    )
    has_wheels = f"{wheels} wheels" if wheels else "no wheels: the other machine must have them"
    say(f"\n{len(planned.packages)} packages are locked; {has_wheels}")
    if package.left_out:
        say(f"left out: {', '.join(package.left_out)}")
    if is_written:
        say("\nThere")
        say(columns([(f"tar xf {to.name} && {planned.name}/start.sh", "serves it")]))
