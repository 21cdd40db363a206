"""What is said about the places of a model: where it goes, and what would be enough for it."""

from distill.errors import ModelError
from distill.local_section import LocalTeacher
from teachers.local_checkpoint import Checkpoint
from teachers.local_places import KEPT_SHARE, Place, Placement
from teachers.shard_cost import DISK_BYTES_PER_SECOND
from teachers.shard_plan import GIB, Cluster, Wish, enough_gpus

_USUAL_GPU_GIB = 80
_USUAL_CONTEXT = 32_768


def described(checkpoint: Checkpoint, placement: Placement) -> str:
    """Where the weights go, in one line."""
    places = [f"{_gib(size)} {_name(one)}" for one, size in placement.bytes.items() if size]
    text = f"{_gib(placement.total)} of weights in {_format(checkpoint)}: {', '.join(places)}"
    if on_disk := placement.bytes.get("disk", 0):
        seconds = on_disk / DISK_BYTES_PER_SECOND
        text += (
            f"; a step that needs all that is on disk takes {seconds:,.1f} s to read it at"
            f" {DISK_BYTES_PER_SECOND / 1e9:g} GB/s"
        )
    return text


def check_room(section: LocalTeacher, checkpoint: Checkpoint, placement: Placement) -> None:
    """Refuse a model that does not fit, before a weight is read.

    Raises:
        ModelError: What there is room for, and what would be enough.
    """
    if not placement.homeless:
        return
    rooms = ", ".join(f"{_gib(max(size, 0))} {_name(one)}" for one, size in placement.rooms.items())
    raise ModelError(
        f"{checkpoint.name}: {_gib(placement.total)} of weights in {_format(checkpoint)} do not"
        f" fit: there is room for {rooms}, beside what loading and a step need",
        hint="enough would be:\n" + "\n".join(_enough(section, checkpoint, placement)),
    )


def _enough(section: LocalTeacher, checkpoint: Checkpoint, placement: Placement) -> list[str]:
    """Ways out, the simplest first."""
    missing, ways = placement.homeless, []
    memory = (missing - min(placement.rooms["cpu"], 0)) / (1 - KEPT_SHARE)
    if checkpoint.dtype.itemsize > 2:  # noqa: PLR2004 - bytes of bfloat16
        ways.append('teacher.dtype = "bfloat16", which halves the weights')
    if section.max_memory:
        ways.append("larger sizes in teacher.max_memory, if more is free")
    ways.append(f"{_gib(memory)} more of free memory")
    if section.offload_folder is None:
        ways.append(f"teacher.offload_folder on a fast disk with {_gib(missing * 1.1)} free")
    else:
        ways.append(f"{_gib(missing * 1.1)} more free in {section.offload_folder}")
    if checkpoint.facts is not None:
        cluster = Cluster(1, _USUAL_GPU_GIB * GIB)
        gpus = enough_gpus(checkpoint.facts, cluster, Wish(_USUAL_CONTEXT))
        if gpus is not None:
            ways.append(
                f'teacher.kind = "engine" and {gpus} x {_USUAL_GPU_GIB} GiB of GPU; `distill shard'
                f" {section.model} --gpus {gpus}x{_USUAL_GPU_GIB}GB` says how"
            )
    return [f"  {way}" for way in ways]


def _format(checkpoint: Checkpoint) -> str:
    return "FP8" if checkpoint.is_fp8 else str(checkpoint.dtype).removeprefix("torch.")


def _name(one: Place) -> str:
    return {"cpu": "in memory", "disk": "on disk"}.get(str(one), f"on GPU {one}")


def _gib(size: float) -> str:
    if size >= GIB:
        return f"{size / GIB:,.1f} GiB"
    return f"{size / 1024**2:,.1f} MiB"
