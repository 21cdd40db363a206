"""``load_weights``: a checkpoint as a model in this process, its parts where there is room."""

import logging
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.hooks import remove_hook_from_module  # type: ignore[import-untyped]
from safetensors import safe_open
from transformers import PreTrainedModel

from distill.errors import ModelError
from distill.local_section import LocalTeacher
from engine import folder
from engine.folder import LoadedModel
from engine.lean_loading import lean_loading
from teachers.local_checkpoint import Checkpoint, open_checkpoint
from teachers.local_cut import empty_model
from teachers.local_memory import check_room, described
from teachers.local_places import Part, Place, Placement, parts_of, place, rooms_for

DeviceMap = Mapping[str, Place]


def load_weights(
    section: LocalTeacher, on_notice: Callable[[str], None] = lambda text: None
) -> LoadedModel:
    """Load a local teacher in this process.

    Args:
        section: The recipe's choice.
        on_notice: Called with where the weights go, before they are read.

    Raises:
        ModelError: If files are missing or broken, the architecture is unknown, or there is too
            little memory.
    """
    checkpoint = open_checkpoint(section)
    for note in checkpoint.notes:
        on_notice(f"{checkpoint.name}: {note}")
    if isinstance(section.device_map, dict):
        device_map: DeviceMap = section.device_map
    else:
        placement = find_placement(section, checkpoint)
        check_room(section, checkpoint, placement)
        on_notice(f"{checkpoint.name}: {described(checkpoint, placement)}")
        device_map = placement.device_map
    model = _load(checkpoint, device_map, section.offload_folder)
    if model.device.type == "meta":
        raise ModelError(
            f"{checkpoint.folder}: the embeddings have no device of their own",
            hint="teacher.device_map: put model.embed_tokens on a GPU, or on the cpu if there is"
            " none; 'auto' does",
        )
    return LoadedModel(model, checkpoint.tokenizer, checkpoint.folder, checkpoint.stored_dtype)


def placement_text(section: LocalTeacher) -> str:
    """Where a model's weights would lie on this machine; nothing of them is read.

    Raises:
        ModelError: If the model is broken, unknown, or does not fit.
    """
    checkpoint = open_checkpoint(section)
    placement = find_placement(section, checkpoint)
    check_room(section, checkpoint, placement)
    return described(checkpoint, placement)


def find_placement(section: LocalTeacher, checkpoint: Checkpoint) -> Placement:
    """Where each part of a model would lie on this machine; nothing is read."""
    skeleton = empty_model(checkpoint.config, checkpoint.dtype)
    parts = [_stored(part, checkpoint) for part in parts_of(skeleton)]
    return place(parts, rooms_for(section, parts, checkpoint.facts))


def _stored(part: Part, checkpoint: Checkpoint) -> Part:
    """A part at its size in FP8, if that is kept: one byte in place of two inside of layers."""
    is_small = checkpoint.is_fp8 and ".layers." in f".{part.name}"
    return replace(part, bytes=part.bytes // 2) if is_small else part


def _load(checkpoint: Checkpoint, device_map: DeviceMap, offload: Path | None) -> PreTrainedModel:
    if "disk" not in device_map.values():
        return _read(checkpoint, device_map, None)
    if offload is None:
        raise ModelError(
            "teacher.device_map puts parts on disk, and teacher.offload_folder is not set",
            hint="name a folder on a fast disk",
        )
    offload.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="distill-offload-", dir=offload))
    try:
        model = _read(checkpoint, device_map, scratch)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    if model.device.type == "cpu":
        map_from(scratch, model)
    if any(parameter.device.type == "meta" for parameter in model.parameters()):
        weakref.finalize(model, shutil.rmtree, scratch, ignore_errors=True)
    else:  # what is mapped stays readable, and nothing is left behind after a kill
        shutil.rmtree(scratch)
    return model


def _read(checkpoint: Checkpoint, device_map: DeviceMap, scratch: Path | None) -> PreTrainedModel:
    """Read the weights; those that go to disk are written to ``scratch`` if they are changed."""
    return read_weights(checkpoint, device_map=dict(device_map), offload_folder=scratch)


def read_weights(checkpoint: Checkpoint, **places: Any) -> PreTrainedModel:  # noqa: ANN401
    """Read the weights, in evaluation mode.

    Args:
        checkpoint: Which.
        places: Where they go, as ``from_pretrained`` takes it.

    Raises:
        ModelError: If some are missing or broken.
    """
    # Reading ahead in threads pays where a GPU takes what was read, and holds all twice elsewhere.
    lean = nullcontext() if torch.cuda.is_available() else lean_loading()
    with _quiet_accelerate(), lean:
        return folder.read_weights(
            checkpoint.folder, config=checkpoint.config, dtype=checkpoint.dtype, **places
        )


def map_from(scratch: Path, model: PreTrainedModel) -> None:
    """Let the kernel read from disk what a step touches, and keep what is touched often.

    Accelerate's hooks would read all experts of a layer for each step.
    """
    for name, parameter in list(model.named_parameters()):
        file = scratch / f"{name}.safetensors"
        if parameter.device.type != "meta" or not file.is_file():
            continue
        owner, _, own_name = name.rpartition(".")
        module = model.get_submodule(owner)
        remove_hook_from_module(module)
        with safe_open(file, framework="pt") as opened:
            mapped = torch.nn.Parameter(opened.get_tensor(name), requires_grad=False)
        setattr(module, own_name, mapped)
    if all(parameter.device.type != "meta" for parameter in model.parameters()):
        remove_hook_from_module(model, recurse=True)


@contextmanager
def _quiet_accelerate() -> Iterator[None]:
    """It warns of what the notice about the places has said."""
    logger = logging.getLogger("accelerate.big_modeling")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
