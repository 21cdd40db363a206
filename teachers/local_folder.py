"""The folder of a local teacher: fetched if it has to be, whole by its headers. Loads no torch."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from distill.errors import ModelError
from distill.local_section import LocalTeacher
from distill.storage import hash_json
from engine.hub import hub_folder
from engine.model_files import check_folder, folder_fingerprint, weight_files
from teachers.weight_headers import weight_bytes

_HASHED_WHOLE_BYTES: Final = 4 << 30
_SPOTS: Final = 8
_SPOT_BYTES: Final = 1 << 20
_SMALL_FILES: Final = (
    *("config.json", "generation_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
)


def model_folder(section: LocalTeacher) -> Path:
    """The folder of a model whose files are all there and as long as their headers say.

    Raises:
        ModelError: If it cannot be had, or files are missing, cut or corrupt; names each of them.
    """
    path = Path(section.model).expanduser()
    folder = path if path.exists() else hub_folder(section.model, section.revision)
    check_folder(folder)
    weight_bytes(folder)
    return folder


def read_config_file(folder: Path) -> dict[str, Any]:
    """What the ``config.json`` of a model folder says.

    Raises:
        ModelError: If it cannot be read or names no kind of model.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not a model's config: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise ModelError(f"{path}: not a model's config: it has no model_type")
    return config


def model_name(section: LocalTeacher) -> str:
    """What traces call the model."""
    return section.model.rstrip("/").rpartition("/")[2]


def teacher_fingerprint(section: LocalTeacher, folder: Path) -> str:
    """What the answers depend on: the files, and the precision that they are computed in."""
    return hash_json({"files": _files_fingerprint(folder), "dtype": section.dtype})[:16]


def _files_fingerprint(folder: Path) -> str:
    """Hash of all that an answer depends on; of very large weights, of headers and spots.

    To read 700 GB for a hash would take as long as to load them.
    """
    names = weight_files(folder)
    if sum((folder / name).stat().st_size for name in names) <= _HASHED_WHOLE_BYTES:
        return folder_fingerprint(folder)
    digest = hashlib.sha256()
    for name in _SMALL_FILES:
        if (folder / name).is_file():
            digest.update(name.encode() + (folder / name).read_bytes())
    for name in names:
        _hash_spots(folder / name, digest)
    return digest.hexdigest()[:16]


def _hash_spots(path: Path, digest: "hashlib._Hash") -> None:
    """The header of a safetensors file, and parts of it from its begin to its end."""
    size = path.stat().st_size
    digest.update(f"{path.name}:{size}".encode())
    with path.open("rb") as file:
        length = file.read(8)
        digest.update(file.read(int.from_bytes(length, "little")))
        for spot in range(_SPOTS):
            file.seek(max(size - _SPOT_BYTES, 0) * spot // (_SPOTS - 1))
            digest.update(file.read(_SPOT_BYTES))
