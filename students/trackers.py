"""Sends the figures of each step to TensorBoard, Weights & Biases or trackio, when asked to.

transformers has a callback for each of them; here they get our figures. What a project or an
account is called, they take from their own variables (``WANDB_PROJECT``, ...).
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from transformers import Trainer, TrainerCallback
from transformers.integrations.integration_utils import (
    TensorBoardCallback,
    TrackioCallback,
    WandbCallback,
)

from distill.errors import MissingDependencyError
from distill.train_sections import Tracker

TENSORBOARD_FOLDER = "tensorboard"
_PACKAGES: Mapping[Tracker, Sequence[str]] = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}


def check_trackers(trackers: Sequence[Tracker]) -> None:
    """Refuse, before anything is loaded, those that are not installed.

    Raises:
        MissingDependencyError: With the install line.
    """
    for tracker in trackers:
        packages = _PACKAGES[tracker]
        if not any(find_spec(package) for package in packages):
            raise MissingDependencyError(
                f"train.report_to = '{tracker}' needs {packages[0]}, which is not installed",
                hint=f"pip install {packages[0]}, or take it out of train.report_to",
            )


def add_trackers(trainer: Trainer, trackers: Sequence[Tracker], folder: Path, stage: str) -> None:
    """Let them follow a trainer.

    Args:
        trainer: Its steps must be logged.
        trackers: That were asked for.
        folder: Of the run; TensorBoard's files go there.
        stage: Of a curriculum, or empty.
    """
    made: Mapping[Tracker, Callable[[], TrainerCallback]] = {
        "tensorboard": lambda: _tensorboard(folder / TENSORBOARD_FOLDER / stage),
        "wandb": WandbCallback,
        "trackio": TrackioCallback,
    }
    for tracker in trackers:
        trainer.add_callback(made[tracker]())


def _tensorboard(folder: Path) -> TrainerCallback:
    callback = TensorBoardCallback()
    callback.logging_dir = str(folder)
    return callback
