"""A data set of the Hugging Face Hub as files on this disk, downloaded once into the Hub's cache.

Without a network, or with ``HF_HUB_OFFLINE=1``, what lies in the cache is taken; what is missing is
named with the place where it is expected. Tokens are the Hub library's business: ``HF_TOKEN``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.data_sections import DataFiles, HubData
from distill.errors import DataError, MissingDependencyError
from distill.hub_files import choose_files

_CARD = "README.md"


def find_hub_files(section: HubData) -> DataFiles:
    """The files of a split; downloaded if they are not in the cache.

    Raises:
        DataError: If the data set, subset or split is missing or closed, or it can only be had
            from a network that is not there.
        MissingDependencyError: If huggingface_hub is not installed.
    """
    try:
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
        from huggingface_hub.errors import HTTPError as NetworkError  # type: ignore[attr-defined]
    except ModuleNotFoundError:
        raise MissingDependencyError(
            f"{section.dataset}: reading from the Hub needs the library huggingface_hub",
            hint="pip install huggingface_hub",
        ) from None
    try:
        return _downloaded(section)
    except GatedRepoError:
        raise _closed(section, "its terms must be accepted first") from None
    except RepositoryNotFoundError:
        raise _closed(section, "there is no such data set on the Hub, or it is private") from None
    except RevisionNotFoundError:
        raise DataError(f"{section.dataset}: there is no revision '{section.revision}'") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no status"
        return _cached(section, f"the Hub answered {status}")
    except OfflineModeIsEnabled:
        return _cached(section, "HF_HUB_OFFLINE forbids to fetch it")
    except (OSError, NetworkError):
        return _cached(section, "the Hub cannot be reached")


def cache_folder(dataset: str) -> Path:
    """Where the Hub's library keeps a data set."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE) / f"datasets--{dataset.replace('/', '--')}"


def _downloaded(section: HubData) -> DataFiles:
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    info = HfApi().dataset_info(section.dataset, revision=section.revision)
    names = [one.rfilename for one in info.siblings or ()]
    dataset, revision = section.dataset, section.revision
    card = None
    if _CARD in names:
        card = Path(hf_hub_download(dataset, _CARD, repo_type="dataset", revision=revision))
    chosen = _chosen(section, names, card)
    folder = snapshot_download(
        dataset,
        repo_type="dataset",
        revision=revision,
        allow_patterns=[_literal(name) for name in chosen],
    )
    return _found(section, Path(folder), chosen)


def _cached(section: HubData, why: str) -> DataFiles:
    """The same from the cache alone."""
    place = cache_folder(section.dataset)
    branch = place / "refs" / section.revision
    commit = branch.read_text(encoding="utf-8").strip() if branch.is_file() else section.revision
    folder = place / "snapshots" / commit
    if not folder.is_dir():
        raise _not_cached(section, f"it is not in the Hub's cache, and {why}", folder)
    names = [found.relative_to(folder).as_posix() for found in folder.rglob("*") if found.is_file()]
    chosen = _chosen(section, names, folder / _CARD if _CARD in names else None)
    return _found(section, folder, chosen)


def _chosen(section: HubData, names: Sequence[str], card: Path | None) -> list[str]:
    return choose_files(
        section.dataset, names, _card(card), subset=section.subset, split=section.split
    )


def _card(path: Path | None) -> dict[str, Any]:
    from huggingface_hub.repocard import metadata_load

    if path is None:
        return {}
    try:
        return metadata_load(path) or {}
    except ValueError:
        return {}


def _found(section: HubData, folder: Path, chosen: Sequence[str]) -> DataFiles:
    subset = f"/{section.subset}" if section.subset else ""
    return DataFiles(
        f"{section.dataset}{subset} ({section.split})",
        folder.name,
        [folder / name for name in chosen],
    )


def _literal(name: str) -> str:
    """A pattern that fits this name alone."""
    return name.replace("[", "[[]")


def _closed(section: HubData, why: str) -> DataError:
    return DataError(
        f"{section.dataset}: {why}",
        hint="Look at it on the Hub with your account, then set HF_TOKEN to a token of that account"
        " and run the same command again.",
    )


def _not_cached(section: HubData, problem: str, folder: Path) -> DataError:
    revision = "" if section.revision == "main" else f" --revision {section.revision}"
    return DataError(
        f"{section.dataset}: {problem}",
        hint=f"Expected: data files of the split '{section.split}' (Parquet, JSONL, JSON or CSV) in"
        f"\n  {folder}\nWhere there is a network: hf download {section.dataset}"
        f" --repo-type dataset{revision}\nThen copy that folder of the cache here, or name the"
        " files themselves: --data FILE",
    )
