"""``distill push``: publish a student or a data set on the Hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import columns, note, paint, say, say_json
from cli.options import AsJson
from cli.published import AcceptRisk, Results, SigningKey, read_results

if TYPE_CHECKING:
    from distill.publish.hub import Published
    from distill.publish.package import Package


def push(
    what: Annotated[
        Path,
        typer.Argument(
            metavar="STUDENT",
            help="Folder of a student, an export or a run; or a Parquet or JSONL file.",
            show_default=False,
        ),
    ],
    *,
    repo: Annotated[
        str, typer.Option("--repo", metavar="OWNER/NAME", help="Where to.", show_default=False)
    ],
    public: Annotated[
        bool, typer.Option("--public", help="For everybody; private unless given.")
    ] = False,
    accept_risk: AcceptRisk = False,
    results: Results = None,
    sign: SigningKey = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the files and the card, and send nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Publish a student or a data set, private, with its card.

    The server must confirm that the repository is private before anything is sent. A push that was
    stopped goes on with the same command. HF_TOKEN is the key, HF_ENDPOINT another server.

    Example: distill push runs/quickstart --repo my-org/maths-1.5B --dry-run
    """
    from distill.publish.package import packaged_data, packaged_model, student_in

    name = _name_of(repo)
    if what.is_file():
        _refuse_for_data(results, sign)
        packaging = packaged_data(what, name)
    else:
        source = student_in(what)
        packaging = packaged_model(
            source,
            name,
            accepts_risk=accept_risk,
            results=read_results(source, results or ()),
            signing_key=sign,
        )
    with packaging as package:
        if dry_run:
            _show(package, repo, is_private=not public, as_json=as_json)
            return
        done = _send(package, repo, is_private=not public)
    if as_json:
        from distill.records import to_record

        say_json(to_record(done))
    else:
        how = "private" if done.is_private else "public"
        say(f"{done.url}  ({how}, {done.files:,} files, commit {done.commit[:12]})")


def _refuse_for_data(results: list[Path] | None, sign: Path | None) -> None:
    from distill.errors import RecipeError

    if results or sign is not None:
        raise RecipeError("--results and --sign are for students, and this is a data set")


def _send(package: "Package", repo: str, *, is_private: bool) -> "Published":
    from distill.publish.hub import push_folder

    for model in package.licence.unknown:
        note(f"  the terms of {model} are not known here: read them")
    return push_folder(
        package.folder,
        repo,
        kind=package.kind,
        is_private=is_private,
        files=package.files,
        message=f"{len(package.files):,} files of {package.source.name}",
        on_notice=lambda text: note(f"  {text}"),
    )


def _name_of(repo: str) -> str:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    from distill.errors import RecipeError

    owner, _, name = repo.partition("/")
    if not owner or not name or "/" in name:
        raise RecipeError(f"--repo {repo}: it must be OWNER/NAME, such as my-org/maths-1.5B")
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise RecipeError(
            f"--repo {repo}: the Hub takes no such name",
            hint="OWNER and NAME are letters, digits, '-', '_' and '.', 96 characters at most;"
            " neither '--' nor '..', and no '-' or '.' at an end",
        ) from error
    return name


def _show(package: "Package", repo: str, *, is_private: bool, as_json: bool) -> None:
    if as_json:
        from distill.records import to_record

        say_json(
            {
                "repo": repo,
                "kind": package.kind,
                "is_private": is_private,
                "files": [to_record(file) for file in package.files],
                "left_out": list(package.left_out),
                "card": package.card,
            }
        )
        return
    how = "private" if is_private else "public"
    megabytes = package.total_bytes / 1e6
    say(f"{paint(repo, 'bold')}  ({package.kind}, {how}, {megabytes:,.1f} MB; nothing was sent)")
    say(columns([(f"{file.size:>15,}", file.name) for file in package.files]))
    if package.left_out:
        say("\nLeft out")
        say(columns([("", name) for name in package.left_out]))
    say(f"\n{package.card}")
