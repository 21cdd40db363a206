"""Models of the Hub: from the cache on this machine, or fetched into it.

What the cache holds of a revision is taken without asking the Hub, so that a run that goes on
tomorrow reads the same weights, and works without a network. Only safetensors, the configuration
and the tokenizer are fetched: no code, no pickles. Loads no torch.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from distill.errors import DistillError, MissingDependencyError, ModelError, StorageError
from engine.model_files import EXPECTED, check_folder

_FILES = (
    *("config.json", "generation_config.json"),
    *("model*.safetensors", "model.safetensors.index.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"),
    *("LICENSE*", "NOTICE*", "USE_POLICY*"),
)
_UNREADABLE = (401, 403)


def hub_folder(model: str, revision: str = "main") -> Path:
    """The folder of a whole model in the Hub's cache, fetched if it is not there.

    Args:
        model: Such as ``"Qwen/Qwen2.5-7B"``.
        revision: Branch, tag or commit.

    Raises:
        ModelError: If it cannot be had: what is expected where, and what to do.
        StorageError: If the disk is full or read-only.
        MissingDependencyError: If ``huggingface_hub`` is not installed.
    """
    cached = _cached(model, revision, "config.json")
    if cached is not None and _is_whole(cached.parent):
        return cached.parent
    with _explained(model, revision):
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils.tqdm import disable_progress_bars

        if not sys.stderr.isatty():
            disable_progress_bars()
        folder = Path(
            snapshot_download(
                model, revision=revision, allow_patterns=list(_FILES), endpoint=_endpoint()
            )
        )
    try:
        check_folder(folder)
    except ModelError as error:
        raise ModelError(
            f"{model}: {error.problem}",
            hint=f"{error.hint}; weights that are only there as pickles are never fetched",
        ) from error
    return folder


def hub_tokenizer(model: str, revision: str = "main") -> Path:
    """The ``tokenizer.json`` of a model, without its weights.

    Raises:
        ModelError: As `hub_folder`.
    """
    name = "tokenizer.json"
    if cached := _cached(model, revision, name):
        return cached
    with _explained(model, revision):
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(model, name, revision=revision, endpoint=_endpoint()))


def _cached(model: str, revision: str, name: str) -> Path | None:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError as error:
        raise MissingDependencyError(
            "a model from the Hub needs huggingface_hub, which is not installed",
            hint="pip install 'distill-reasoning[train]'",
        ) from error
    found = try_to_load_from_cache(model, name, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _is_whole(folder: Path) -> bool:
    try:
        check_folder(folder)
    except ModelError:
        return False
    return True


def _endpoint() -> str:
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT") or constants.ENDPOINT


def _page(model: str) -> str:
    """The model's page, without a login that the endpoint's address may hold."""
    parts = urlsplit(_endpoint())
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}/{model}"


@contextmanager
def _explained(model: str, revision: str) -> Iterator[None]:
    """Turn whatever fetching raises into one message that can be acted on."""
    from huggingface_hub import errors

    name = model if revision == "main" else f"{model} at {revision}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise _gated(name, model) from error
    except errors.RepositoryNotFoundError as error:
        raise _unknown(name) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(
            f"{model} has no revision '{revision}' on the Hub",
            hint='leave `revision` out for "main", or give a branch, tag or commit',
        ) from error
    except errors.HfHubHTTPError as error:
        raise _refused(name, model, error.response.status_code) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        cause = error.__cause__
        if isinstance(cause, errors.HfHubHTTPError):
            raise _refused(name, model, cause.response.status_code) from error
        raise _not_here(name, model, error) from error
    except OSError as error:
        if error.errno is None:  # of the network, not of the disk
            raise _not_here(name, model, error) from error
        raise StorageError(
            f"{name}: fetching it into {_cache()} failed: {error.strerror}",
            hint="free some disk space, or set HF_HOME to a folder on another disk",
        ) from error


def _gated(name: str, model: str) -> DistillError:
    return ModelError(
        f"{name}: its owner shares it only with accounts that have agreed to its terms",
        hint=f"agree at {_page(model)}, then {_token_advice()}",
    )


def _unknown(name: str) -> DistillError:
    return ModelError(
        f"{name}: the Hub has no such model, or it is private",
        hint=f"`distill students` lists known names; for a private one, {_token_advice()}",
    )


def _refused(name: str, model: str, status: int) -> DistillError:
    if status in _UNREADABLE:
        return ModelError(
            f"{name}: the Hub refuses to hand it out ({status})",
            hint=f"look at {_page(model)}, then {_token_advice()}",
        )
    return ModelError(
        f"{name}: the Hub answered {status}", hint="try again later; what was fetched is kept"
    )


def _not_here(name: str, model: str, error: Exception) -> DistillError:
    from huggingface_hub import constants

    is_partial = type(error).__name__ == "IncompleteSnapshotError"
    found = "only in part in" if is_partial else "not in"
    why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the Hub cannot be reached"
    place = _cache() / f"models--{model.replace('/', '--')}" / "snapshots" / "<commit>"
    return ModelError(
        f"{name}: {found} the cache of this machine, and {why}",
        hint=f"expected in {place}: {EXPECTED}\n"
        f"With a network: hf download {model}\n"
        f'Copied by hand: kind = "local" in the recipe, and the folder that holds them',
    )


def _token_advice() -> str:
    from huggingface_hub import get_token

    if get_token():
        return "see that the token in HF_TOKEN (or of `hf auth login`) may read it"
    return "set HF_TOKEN to a token that may read it (or run `hf auth login`)"


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)
