"""``RunDir``: the folder of one run, what is finished in it, and how a run goes on.

A folder belongs to one recipe. A stage is finished when the manifest says so, with hashes of all
it read and wrote; the next try passes over it. What no longer fits is never overwritten or deleted:
it is refused, or put aside under ``superseded/`` when the user restarts from a stage.

This module knows files and records, nothing of what a stage does.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from distill.changes import Change, compare, earliest, find_changes, listed
from distill.closing import Closing
from distill.digest import short
from distill.errors import DataError, RunDirError
from distill.layout import MADE_BY, STAGES, RunLayout, Stage, maker_of, stages_from
from distill.lock import FileLock
from distill.manifest import RunManifest, StageRecord, current_versions, now
from distill.recipe import Recipe
from distill.storage import make_folder, storage_errors, sync_files, sync_folder
from distill.stored_run import (
    digests_inside,
    read_run,
    refuse_foreign,
    write_manifest,
    write_recipe,
)

_SUPERSEDED = "superseded"
_ELSEWHERE = "or take another folder: --run-dir DIR"


class RunDir(Closing):
    """A run folder that this process alone writes to.

    Attributes:
        paths: What lies where in it.
        recipe: What is run.
        manifest: What is done.
    """

    def __init__(
        self, paths: RunLayout, recipe: Recipe, manifest: RunManifest, lock: FileLock
    ) -> None:
        """Use `open`."""
        self.paths = paths
        self.recipe = recipe
        self.manifest = manifest
        self._lock = lock

    @classmethod
    def open(cls, path: Path, recipe: Recipe, *, restart_from: Stage | None = None) -> "RunDir":
        """Create a run folder, or go on with one of the same recipe.

        A recipe that differs only in what stages that were not begun depend on is accepted.

        Args:
            path: The folder; it may be missing or empty.
            recipe: What is run.
            restart_from: Put what this stage and later ones made aside, and forget their records.

        Raises:
            RunDirError: If the folder is in use, belongs to another recipe or version, or holds
                something else.
            StorageError: If the disk refuses.
        """
        refuse_foreign(path)
        make_folder(path)
        paths = RunLayout(path)
        lock = FileLock(paths.lock, guards=path)
        try:
            if paths.manifest.exists():
                stored = read_run(path)
                run = cls(paths, stored.recipe, stored.manifest, lock)
                run._continue_with(recipe, restart_from)
            else:
                run = cls(paths, recipe, RunManifest.new(recipe.seed), lock)
                # The manifest is last: without it, nothing was begun here.
                write_recipe(paths, recipe)
                write_manifest(paths, run.manifest)
        except BaseException:
            lock.release()
            raise
        return run

    def stage(
        self,
        name: Stage,
        *,
        inputs: Sequence[Path] = (),
        settings: Mapping[str, object] | None = None,
    ) -> "StageRun":
        """Begin a stage, or find it begun or finished.

        Args:
            name: Which one.
            inputs: Files and folders that it reads, in the run folder or elsewhere.
            settings: What it depends on beyond the recipe, as JSON values: fingerprints of models,
                names of verifiers. The recipe itself was compared when the folder was opened.

        Raises:
            RunDirError: If an input is not made yet, or the stage was begun with other inputs or
                settings, or what it or an earlier one made was changed since.
            DataError: If an input from elsewhere is missing.
        """
        record = self.manifest.stages.get(name)
        wanted = StageRecord(
            settings=json.loads(json.dumps(dict(settings or {}), allow_nan=False)),
            inputs=self._digest_inputs(name, inputs, record.inputs if record else {}),
            begun=now(),
        )
        if record is not None:
            _refuse_other(name, record, wanted)
            if record.finished is None or self._has_outputs(name, record):
                return StageRun(self, name)
        self._record(name, wanted)
        return StageRun(self, name)

    def close(self) -> None:
        """Let other processes write to the folder; a second call does nothing."""
        self._lock.release()

    def _record(self, name: Stage, record: StageRecord) -> None:
        self.manifest = self.manifest.with_stages({**self.manifest.stages, name: record})
        write_manifest(self.paths, self.manifest)

    def _digest_inputs(
        self, name: Stage, inputs: Sequence[Path], begun_with: Mapping[str, str]
    ) -> dict[str, str]:
        digests: dict[str, str] = {}
        for path in inputs:
            maker = self._maker_of(path)
            if maker not in (None, name) and not self.manifest.is_finished(maker):
                raise RunDirError(
                    f"{self.paths.root}: stage '{name}' needs what stage '{maker}' makes, and that"
                    " is not finished",
                    hint=f"Finish it first: distill {maker} RECIPE, or distill run RECIPE for all.",
                )
            if not path.exists():
                raise DataError(f"{path}: there is no such file; stage '{name}' reads it")
            if maker is None or maker == name:
                digests |= digests_inside(path, self.paths.root, begun_with)
                continue
            made = self.manifest.stages[maker].outputs
            found = digests_inside(path, self.paths.root, made)
            self._refuse_changed(maker, found)
            digests |= found
        return digests

    def _maker_of(self, path: Path) -> Stage | None:
        if not path.is_relative_to(self.paths.root):
            return None
        return maker_of(path.relative_to(self.paths.root).as_posix())

    def _has_outputs(self, name: Stage, record: StageRecord) -> bool:
        """Whether all that a finished stage made is there; raises if it was changed."""
        found: dict[str, str] = {}
        for relative in record.outputs:
            path = self.paths.root / relative
            if path.is_file():
                found |= digests_inside(path, self.paths.root, record.outputs)
        self._refuse_changed(name, found)
        return len(found) == len(record.outputs)

    def _refuse_changed(self, maker: Stage, found: Mapping[str, str]) -> None:
        made = self.manifest.stages[maker].outputs
        changed = [path for path in made if path in found and found[path] != made[path]]
        if changed:
            raise RunDirError(
                f"{self.paths.root}: changed since stage '{maker}' made it: {', '.join(changed)}",
                hint=f"Restore it, or have it made again: --restart-from {maker}",
            )

    def _continue_with(self, recipe: Recipe, restart_from: Stage | None) -> None:
        """Take a recipe for a folder that has one; put aside what the user wants made again."""
        changes = [
            change
            for change in find_changes(self.recipe, recipe)
            if change.stage and any(map(self._is_begun, stages_from(change.stage)))
        ]
        if changes:
            self._refuse_unless_restarted(changes, restart_from)
        if restart_from:
            self._put_aside(restart_from)
        if recipe != self.recipe:
            self.recipe = recipe
            write_recipe(self.paths, recipe)
            self.manifest = self.manifest.model_copy(update={"seed": recipe.seed})
            write_manifest(self.paths, self.manifest)

    def _refuse_unless_restarted(
        self, changes: Sequence[Change], restart_from: Stage | None
    ) -> None:
        first = earliest(changes)
        if restart_from is None:
            raise RunDirError(
                f"{self.paths.root} belongs to another recipe:{listed(changes)}",
                hint=f"This matters from stage '{first}' on. To keep what comes before and put the"
                f" rest aside: --restart-from {first}; {_ELSEWHERE}{self._reuse_hint(first)}",
            )
        if STAGES.index(restart_from) > STAGES.index(first):
            raise RunDirError(
                f"{self.paths.root}: --restart-from {restart_from} is too late for what the recipe"
                f" changes:{listed(changes)}",
                hint=f"This matters from stage '{first}' on: --restart-from {first}; {_ELSEWHERE}",
            )

    def _reuse_hint(self, first: Stage) -> str:
        """How answers that were paid for can still count."""
        if first != "generate" or not self.paths.requests.exists():
            return ""
        return f"\nAnswers that still fit are taken over with --reuse {self.paths.root}"

    def _is_begun(self, stage: Stage) -> bool:
        return stage in self.manifest.stages or bool(self._made_by(stage))

    def _made_by(self, stage: Stage) -> list[str]:
        return [path for path in MADE_BY[stage] if (self.paths.root / path).exists()]

    def _put_aside(self, stage: Stage) -> None:
        """Move what a stage and later ones made; the last first, so that a kill leaves no gap."""
        stages = stages_from(stage)
        if not any(map(self._is_begun, stages)):
            return
        root = self.paths.root
        aside = _next_folder(root / _SUPERSEDED)
        write_recipe(RunLayout(aside), self.recipe)
        write_manifest(RunLayout(aside), self.manifest)
        for path in [path for one in reversed(stages) for path in self._made_by(one)]:
            make_folder((aside / path).parent)
            with storage_errors(root / path):
                (root / path).rename(aside / path)
                sync_folder((aside / path).parent)
                sync_folder((root / path).parent)
        left = {name: one for name, one in self.manifest.stages.items() if name not in stages}
        self.manifest = self.manifest.with_stages(left)
        write_manifest(self.paths, self.manifest)


class StageRun:
    """One stage of an open run."""

    def __init__(self, run: RunDir, name: Stage) -> None:
        """Use ``RunDir.stage``."""
        self.name = name
        self._run = run

    @property
    def record(self) -> StageRecord:
        """What the manifest says about it."""
        return self._run.manifest.stages[self.name]

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.record.finished is not None

    def finish(
        self, outputs: Sequence[Path], summary: Mapping[str, object], seconds: float
    ) -> None:
        """Record that the stage is done; nothing it made may change afterwards.

        Args:
            outputs: Files and folders that it made; they are synced, and their digests kept.
            summary: Figures as JSON values.
            seconds: How long this try took.

        Raises:
            ValueError: If an output is missing or none of those that the stage makes, or the
                summary holds NaN.
            StorageError: If the disk refuses.
        """
        root = self._run.paths.root
        digests: dict[str, str] = {}
        for output in outputs:
            relative = output.relative_to(root).as_posix()
            if maker_of(relative) != self.name or not output.exists():
                raise ValueError(f"{relative} is missing, or not what stage {self.name} makes")
            with storage_errors(output):
                sync_files(output)
            digests |= digests_inside(output, root, {})
        done = {
            "outputs": digests,
            "summary": json.loads(json.dumps(dict(summary), allow_nan=False)),
            "seconds": round(seconds, 3),
            "finished": now(),
            "versions": current_versions(),
        }
        self._run._record(self.name, self.record.model_copy(update=done))


def _refuse_other(name: Stage, record: StageRecord, wanted: StageRecord) -> None:
    """Raise when a stage depends on something else than it did when it was begun."""
    changes = compare(record.settings, wanted.settings)
    changes += compare(_shortened(record.inputs), _shortened(wanted.inputs))
    if changes:
        raise RunDirError(
            f"stage '{name}' was begun with other inputs or settings:{listed(changes)}",
            hint=f"To put what it made aside and begin again: --restart-from {name}; {_ELSEWHERE}",
        )


def _shortened(digests: Mapping[str, str]) -> dict[str, str]:
    return {path: short(value) for path, value in digests.items()}


def _next_folder(folder: Path) -> Path:
    make_folder(folder)
    numbers = [int(found.name) for found in folder.iterdir() if found.name.isdecimal()]
    return folder / str(max(numbers, default=0) + 1)
