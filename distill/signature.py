"""The signature of a model folder: who vouches for it, through ``model-signing`` and a key pair.

The lineage says whether a file was changed; a signature says also that nobody wrote both anew. It
covers every file of the folder, the lineage included. No network is asked.

Keys are of an elliptic curve, as PEM files:

    openssl ecparam -name prime256v1 -genkey -noout -out key.pem
    openssl ec -in key.pem -pubout -out key.pub
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from distill.errors import DataError, MissingDependencyError
from distill.lineage import SIGNATURE_FILE

if TYPE_CHECKING:
    from model_signing.hashing import Config

_MAKE_KEYS: Final = (
    "an EC key as PEM is needed: openssl ecparam -name prime256v1 -genkey -noout -out key.pem;"
    " its public half: openssl ec -in key.pem -pubout -out key.pub"
)


def sign_folder(folder: Path, private_key: Path) -> None:
    """Sign every file of a folder.

    Raises:
        MissingDependencyError: If ``model-signing`` is not installed.
        DataError: If the key cannot be used.
    """
    with _library():
        from model_signing import signing
    config = signing.Config().set_hashing_config(_covered())
    with _key_errors("--sign", private_key):
        config.use_elliptic_key_signer(private_key=private_key)
    config.sign(folder, folder / SIGNATURE_FILE)


def check_signature(folder: Path, public_key: Path) -> str:
    """Why the signature of a folder is not that of a key; empty if it is.

    Raises:
        MissingDependencyError: If ``model-signing`` is not installed.
        DataError: If the key cannot be used.
    """
    with _library():
        from cryptography.exceptions import InvalidSignature
        from model_signing import verifying
    config = verifying.Config().set_hashing_config(_covered())
    with _key_errors("--key", public_key):
        config.use_elliptic_key_verifier(public_key=public_key)
    try:
        config.verify(folder, folder / SIGNATURE_FILE)
    except InvalidSignature:
        return "it was not made with this key"
    # What a signature file that was changed can make of the library's reading of it.
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return " ".join(str(error).split()) or "it cannot be read"
    return ""


def is_signed(folder: Path) -> bool:
    """Whether there is a signature."""
    return (folder / SIGNATURE_FILE).is_file()


def _covered() -> "Config":
    """All files that a lineage covers, and the lineage."""
    from model_signing import hashing

    left_out: list[str | Path] = [SIGNATURE_FILE, ".cache"]
    return hashing.Config().set_ignored_paths(paths=left_out, ignore_git_paths=True)


@contextmanager
def _library() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise MissingDependencyError(
            f"signatures need a library that is not installed: {error.name}",
            hint="pip install 'distill-reasoning[sign]'",
        ) from error


@contextmanager
def _key_errors(option: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{option} {path}: {error.strerror}", hint=_MAKE_KEYS) from error
    except (ValueError, TypeError) as error:
        said: Any = str(error).split(".")[0].split("(")[0].strip()
        raise DataError(f"{option} {path}: not a usable key: {said}", hint=_MAKE_KEYS) from error
