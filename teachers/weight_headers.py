"""The headers of a checkpoint's safetensors files: what they hold, and whether they are whole.

A safetensors file starts with 8 bytes (length of the header), then a JSON header that says where
each tensor lies. Only headers are read, so 700 GB are checked in a moment.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from distill.errors import ModelError

_LENGTH_BYTES: Final = 8
_LONGEST_HEADER: Final = 100_000_000
_HINT: Final = "fetch this file again, then run the same command"


def has_weights(folder: Path) -> bool:
    """Whether a folder holds any weights, or an index of them."""
    return any(folder.glob("*.safetensors")) or any(folder.glob("*.safetensors.index.json"))


def weight_bytes(folder: Path) -> int:
    """Bytes of all tensors of a checkpoint, by its headers.

    Raises:
        ModelError: If files are missing, cut or corrupt; names each of them.
    """
    names = _expected(folder)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"{folder}: {len(missing)} of {len(names)} weight files are missing: {_shown(missing)}",
            hint="fetch them, then run the same command",
        )
    return sum(_bytes_of(folder / name) for name in names)


def _expected(folder: Path) -> list[str]:
    """Names of the files that the index wants, or that are there if there is no index."""
    index = next(iter(sorted(folder.glob("*.safetensors.index.json"))), None)
    if index is None:
        return sorted(path.name for path in folder.glob("*.safetensors"))
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return sorted(set(weight_map.values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{index}: not an index of weights: {error}", hint=_HINT) from error


def _bytes_of(path: Path) -> int:
    """Bytes of the tensors in one file, which must be as long as its header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if not 0 < length <= min(_LONGEST_HEADER, size - _LENGTH_BYTES):
            raise ModelError(f"{path}: corrupt: it has no whole header", hint=_HINT)
        header = _read_header(path, file.read(length))
    data = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    wanted = _LENGTH_BYTES + length + data
    if size != wanted:
        state = "cut off" if size < wanted else "too long"
        raise ModelError(
            f"{path}: {state}: {size:,} bytes where its header says {wanted:,}", hint=_HINT
        )
    return int(data)


def _read_header(path: Path, text: bytes) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads(text)
        header.pop("__metadata__", None)
        for entry in header.values():
            _, _ = map(int, entry["data_offsets"])
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{path}: corrupt: its header cannot be read", hint=_HINT) from error
    return header


def _shown(names: Sequence[str], most: int = 5) -> str:
    """Some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
