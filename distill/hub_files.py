"""Which files of a Hub data set hold a subset's split; the rule of the Hub's own library, in short.

The card (README.md) may say so under ``configs``. Otherwise folders and file names do: of a set
with ``math/train-00000.parquet`` and ``math/test-00000.parquet``, the split ``train`` of the subset
``math`` is the first. A set whose names say nothing is all ``train``.

This module knows names, not the network.
"""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from distill.data_rows import is_data_file
from distill.errors import DataError

_SHOWN: Final = 8
_SPLITS: Final = ("train", "test", "validation", "valid", "val", "dev", "eval")
_SHARD: Final = re.compile(r"-\d+-of-(\d+)(?=\.)")
_OWN_PARQUET: Final = (
    "The Hub keeps most sets as Parquet too: revision = 'refs/convert/parquet' reads that."
)


def choose_files(
    dataset: str, names: Sequence[str], card: Mapping[str, Any], *, subset: str | None, split: str
) -> list[str]:
    """The files that hold a split, in order.

    Args:
        dataset: For messages.
        names: All files of the set.
        card: The metadata at the top of its README.md.
        subset: One of its configurations; ``None`` for the default one.
        split: Which part.

    Raises:
        DataError: If there is no such subset or split, or no file that can be read.

    Example:
        >>> names = ["README.md", "data/train-0.parquet", "data/test-0.parquet"]
        >>> choose_files("org/x", names, {}, subset=None, split="train")
        ['data/train-0.parquet']
    """
    readable = sorted(name for name in names if is_data_file(Path(name)))
    if not readable:
        found = ", ".join(list(names)[:_SHOWN]) or "nothing"
        raise DataError(
            f"{dataset}: there is no file that can be read in it; found: {found}", hint=_OWN_PARQUET
        )
    configs = [one for one in card.get("configs") or () if one.get("data_files")]
    if configs:
        patterns = _patterns(dataset, configs, subset, split)
        chosen = [name for name in readable if any(fnmatchcase(name, one) for one in patterns)]
    else:
        chosen = _by_name(dataset, readable, subset, split)
    if not chosen:
        raise DataError(
            f"{dataset}: there is no file of the split '{split}'; found:"
            f" {', '.join(readable[:_SHOWN])}",
            hint="Name another one: train.data.split, and train.data.subset if it has several.",
        )
    _refuse_incomplete(dataset, chosen)
    return chosen


def _patterns(
    dataset: str, configs: Sequence[Mapping[str, Any]], subset: str | None, split: str
) -> list[str]:
    """Patterns of a split's files, as the card has them."""
    by_name = {str(one.get("config_name", "default")): one for one in configs}
    if subset is None:
        usual = [name for name, one in by_name.items() if one.get("default") or name == "default"]
        subset = usual[0] if usual else next(iter(by_name)) if len(by_name) == 1 else None
    if subset not in by_name:
        which = f"there is no subset '{subset}'" if subset else "it has several subsets"
        raise DataError(
            f"{dataset}: {which}; subsets: {', '.join(by_name)}", hint="Set train.data.subset."
        )
    files = by_name[subset]["data_files"]
    if isinstance(files, str) or all(isinstance(one, str) for one in files):
        files = [{"split": "train", "path": files}]
    paths = {str(one["split"]): one["path"] for one in files}
    if split not in paths:
        raise DataError(
            f"{dataset}: there is no split '{split}'; splits: {', '.join(paths)}",
            hint="Set train.data.split.",
        )
    found = paths[split]
    folder = by_name[subset].get("data_dir")
    return [
        f"{folder}/{one}" if folder else one
        for one in ([found] if isinstance(found, str) else found)
    ]


def _by_name(dataset: str, readable: Sequence[str], subset: str | None, split: str) -> list[str]:
    chosen = readable
    if subset is not None:
        chosen = [name for name in readable if subset in Path(name).parts[:-1]]
        if not chosen:
            folders = dict.fromkeys(part for name in readable for part in Path(name).parts[:-1])
            raise DataError(
                f"{dataset}: there is no subset '{subset}'; folders: {', '.join(folders) or 'none'}"
            )
    named = [name for name in chosen if _says(name, split)]
    says_any = any(_says(name, known) for name in chosen for known in _SPLITS)
    return named if named or says_any or split != "train" else list(chosen)


def _refuse_incomplete(dataset: str, chosen: Sequence[str]) -> None:
    """A download that was stopped leaves some shards of several; they count themselves."""
    counted: dict[tuple[str, str], int] = {}
    for name in chosen:
        if shard := _SHARD.search(name):
            series = (name[: shard.start()], shard[1])
            counted[series] = counted.get(series, 0) + 1
    for (start, count), there in counted.items():
        if there < int(count):
            raise DataError(
                f"{dataset}: {there} of {count} files {start}-... are there",
                hint=f"Fetch the others where there is a network: hf download {dataset}"
                " --repo-type dataset",
            )


def _says(name: str, split: str) -> bool:
    """Whether a part of the path is the name of a split: ``data/train-0.parquet`` says train."""
    return split.lower() in re.split(r"[/._-]+", name.lower())
