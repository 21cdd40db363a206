"""Checkpoints of a training run: the newest whole one, and whether it belongs to this run.

    checkpoints/student/
      checkpoint-120/    the newest state, with origin.json: what was trained, on what, how

Older ones are removed once a newer one is whole. This module does not know what a state consists
of.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from distill.errors import RunDirError
from students.durable import remove_leftovers, whole_folder

_ORIGIN = "origin.json"
_NAME = re.compile(r"checkpoint-(\d+)")


class Checkpoints:
    """A folder of checkpoints that all have one origin.

    Attributes:
        folder: Where they lie.
    """

    def __init__(self, folder: Path, origin: Mapping[str, object]) -> None:
        """Take the folder, made if missing, and remove what a killed process left unfinished.

        Args:
            folder: Of this training alone.
            origin: Everything that the outcome depends on, as JSON values.

        Raises:
            RunDirError: If there are checkpoints of another training; says what differs.
        """
        self.folder = folder
        self._origin: dict[str, object] = json.loads(json.dumps(origin))
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        latest = self.latest()
        if latest is not None:
            self._check_origin(latest)

    def latest(self) -> Path | None:
        """The newest whole checkpoint."""
        steps = {path: _NAME.fullmatch(path.name) for path in self.folder.iterdir()}
        found = {path: int(match[1]) for path, match in steps.items() if match}
        return max(found, key=found.__getitem__, default=None)

    @contextmanager
    def writing(self, step: int) -> Iterator[Path]:
        """Give a folder to write a state into; when it is whole, older ones are removed."""
        target = self.folder / f"checkpoint-{step}"
        with whole_folder(target) as folder:
            (folder / _ORIGIN).write_text(json.dumps(self._origin, indent=1), encoding="utf-8")
            yield folder
        for path in self.folder.iterdir():
            if path != target and _NAME.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)

    def _check_origin(self, checkpoint: Path) -> None:
        stored = json.loads((checkpoint / _ORIGIN).read_text(encoding="utf-8"))
        keys = sorted(stored.keys() | self._origin.keys())
        changed = [key for key in keys if stored.get(key) != self._origin.get(key)]
        if changed:
            raise RunDirError(
                f"{checkpoint}: this checkpoint is of another training; "
                f"changed: {', '.join(changed)}",
                hint=f"restore the settings to go on, or remove {self.folder} to train anew",
            )
