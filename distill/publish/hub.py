"""Sending a folder to the Hub, or to a server that speaks its protocol.

Nothing of it is sent before the server has said, when asked, that the repository is as private as
it should be: a server may take a wish for privacy for something else. What was sent before a kill
is not sent again.

This module knows folders and a server, nothing of models.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distill.errors import DistillError, TeacherError
from distill.lineage import LINEAGE_FILE
from distill.publish.package import PublishedFile

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Kind = Literal["model", "dataset"]
_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pth")
_LOGIN = "set HF_TOKEN to a token with write rights, or run: hf auth login"


@dataclass(frozen=True, slots=True)
class Published:
    """What was sent.

    Attributes:
        url: Page of the repository.
        commit: The state that it has now.
        is_private: As the server said it.
        uses_xet: Whether large files went through Xet.
        files: How many the repository was checked to have.
    """

    url: str
    commit: str
    is_private: bool
    uses_xet: bool
    files: int


def push_folder(
    folder: Path,
    repo: str,
    *,
    kind: Kind,
    is_private: bool,
    files: tuple[PublishedFile, ...],
    message: str,
    on_notice: Callable[[str], None],
) -> Published:
    """Send a folder, whole, as one commit.

    Args:
        folder: All that is in it is sent.
        repo: ``"OWNER/NAME"``.
        kind: Of the repository.
        is_private: What the server must say about the repository before anything is sent.
        files: What is in the folder, to be compared with what the server has in the end.
        message: Of the commit.
        on_notice: Told what happens.

    Raises:
        TeacherError: If the server refuses, in its words; or the repository is public, or holds
            another model.
    """
    from huggingface_hub import HfApi, constants

    api = HfApi()
    with _refusals(repo):
        if not api.repo_exists(repo, repo_type=kind):
            api.create_repo(repo, repo_type=kind, private=is_private)
        _require_ours(api, repo, kind, is_private=is_private)
        uses_xet = _has_xet(api, repo, kind)
        constants.HF_HUB_DISABLE_XET = not uses_xet
        on_notice("large files go through Xet" if uses_xet else "large files go as Git LFS objects")
        commit = api.upload_folder(
            folder_path=folder,
            repo_id=repo,
            repo_type=kind,
            commit_message=message,
        )
        info: Any = api.repo_info(repo, repo_type=kind, revision=commit.oid, files_metadata=True)
    found = {one.rfilename: one.size for one in info.siblings or []}
    missing = [one.name for one in files if found.get(one.name, -1) not in (one.size, None)]
    if missing:
        raise TeacherError(
            f"{repo}: the server took everything and does not have {missing[0]} as it was sent",
            hint="the same command sends what is missing",
        )
    url = f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    return Published(url, str(commit.oid), bool(info.private), uses_xet, len(files))


def _require_ours(api: "HfApi", repo: str, kind: Kind, *, is_private: bool) -> None:
    """Ask the server what the repository is, and what it holds; nothing was sent yet."""
    found: Any = api.repo_info(repo, repo_type=kind)
    if is_private and not found.private:
        raise TeacherError(
            f"{repo}: it should be private, and the server says that it is public;"
            " nothing was sent",
            hint="make it private on its settings page and run the same command, or say --public",
        )
    names = [one.rfilename for one in found.siblings or []]
    weights = [name for name in names if name.endswith(_WEIGHTS)]
    if kind == "model" and weights and LINEAGE_FILE not in names:
        raise TeacherError(
            f"{repo}: that name is taken by another model: it holds {weights[0]} and no"
            f" {LINEAGE_FILE}; nothing was sent",
            hint="choose another --repo, or delete what is there on its page first",
        )


def _has_xet(api: "HfApi", repo: str, kind: Kind) -> bool:
    """Whether the server hands out tokens for Xet; a mirror often does not."""
    from huggingface_hub import get_session
    from huggingface_hub.utils._runtime import is_xet_available

    if os.environ.get("HF_HUB_DISABLE_XET", "").lower() in {"1", "true", "on", "yes"}:
        return False
    if not is_xet_available():
        return False
    url = f"{api.endpoint}/api/{kind}s/{repo}/xet-write-token/main"
    answer = get_session().get(url, headers=api._build_hf_headers())
    return answer.is_success and "X-Xet-Cas-Url" in answer.headers


@contextmanager
def _refusals(repo: str) -> Iterator[None]:
    """What the Hub's client raises, as a message with the next step; never the token."""
    from huggingface_hub import errors

    try:
        yield
    except DistillError:
        raise
    except errors.OfflineModeIsEnabled as error:
        raise TeacherError(
            f"{repo}: HF_HUB_OFFLINE is set, so nothing can be sent", hint="unset it, or use bundle"
        ) from error
    except errors.LocalTokenNotFoundError as error:
        raise TeacherError(f"{repo}: there is no token", hint=_LOGIN) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        words = " ".join((error.server_message or error.response.reason_phrase or "").split())
        raise TeacherError(
            f"{repo}: the server refuses ({status}): {words or 'without a reason'}",
            hint=_HINTS.get(status, "the same command goes on where it stopped"),
        ) from error
    except (errors.HTTPError, OSError) as error:  # type: ignore[attr-defined]
        raise TeacherError(
            f"{repo}: the server cannot be reached: {type(error).__name__}: {error}",
            hint="look at HF_ENDPOINT and the network; the same command goes on where it stopped",
        ) from error
    except RuntimeError as error:  # what the Xet client raises, whatever it is
        raise TeacherError(
            f"{repo}: the server's Xet store fails: {' '.join(str(error).split())}",
            hint="HF_HUB_DISABLE_XET=1 sends large files as Git LFS objects instead",
        ) from error


_HINTS = {
    400: "look at the name: OWNER/NAME, letters, digits, '-', '_' and '.'",
    401: _LOGIN,
    403: f"the token may not write there; {_LOGIN}",
    404: "OWNER must be you or an organisation that you belong to",
    409: "that name is taken by something else; choose another --repo",
}
