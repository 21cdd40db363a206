"""What an export will write, and whether there is room for it; nothing is read but headers."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from distill.errors import ModelError, StorageError
from students.export.floats import FloatType
from students.export.gguf_kinds import QUANTS, Quant
from students.export.gguf_out import gguf_tensors
from students.export.outfile import Encoded
from students.export.safetensors_out import encode
from students.export.weights import Tensor
from students.export.where_from import Student

Format = Literal["safetensors", "gguf", "nf4", "int8"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
_FLOATS: Final = ("bf16", "f16", "f32")
# Of a disk, beyond the weights: tokenizer, headers, the file system's own.
_SPARE_BYTES = 50_000_000
_NF4_BLOCK = 64
_NF4_BYTES = 0.5 + 4 / _NF4_BLOCK  # a number, and a scale for each block


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """What is asked for, checked.

    Attributes:
        student: What is exported.
        target: Folder that will hold it.
        format: Of the files.
        quant: Type of the numbers; for ``nf4`` and ``int8`` that of what is not quantised.
        tensors: What will be written; for ``nf4`` and ``int8`` what is handed to bitsandbytes.
        numbers: In all tensors.
        weight_bytes: Of the files.
        for_transformers4: Whether transformers 4 must be able to load the folder.
    """

    student: Student
    target: Path
    format: Format
    quant: Quant
    tensors: Sequence[Encoded]
    numbers: int
    weight_bytes: int
    for_transformers4: bool

    @property
    def gguf_name(self) -> str:
        """Of the GGUF file."""
        return f"{self.student.name}-{self.quant.upper()}.gguf"


def plan_export(
    student: Student,
    target: Path,
    format_: Format,
    quant: Quant | None,
    *,
    for_transformers4: bool = False,
) -> ExportPlan:
    """Check what is asked for.

    Raises:
        ModelError: If the student cannot be written in this way.
        StorageError: If the target is taken or the disk too small.
    """
    quant = quant or ("q8_0" if format_ == "gguf" else "bf16")
    allowed = QUANTS if format_ == "gguf" else _FLOATS
    if quant not in allowed:
        raise ModelError(
            f"--quant {quant} is not for --format {format_}; allowed: {', '.join(allowed)}",
            hint="Quantised kinds are GGUF's: --format gguf",
        )
    if for_transformers4 and format_ == "gguf":
        raise ModelError("--compat transformers4 is for folders that transformers loads, not GGUF")
    weights = list(student.tensors().values())
    if format_ == "nf4":
        _refuse_narrow(weights)
    if format_ == "gguf":
        tensors = gguf_tensors(student, quant)
    else:
        kind: FloatType = {"bf16": "BF16", "f16": "F16", "f32": "F32"}[quant]  # type: ignore[assignment]
        tensors = [encode(tensor, kind) for tensor in weights]
    plan = ExportPlan(
        student=student,
        target=target,
        format=format_,
        quant=quant,
        tensors=tensors,
        numbers=sum(math.prod(tensor.shape) for tensor in weights),
        weight_bytes=_weight_bytes(format_, weights, tensors),
        for_transformers4=for_transformers4,
    )
    _check_target(plan)
    return plan


def _refuse_narrow(weights: Sequence[Tensor]) -> None:
    """Bitsandbytes runs on a processor only where rows are whole blocks."""
    for tensor in weights:
        if is_quantised(tensor) and tensor.shape[1] % _NF4_BLOCK:
            raise ModelError(
                f"nf4 needs rows of a multiple of {_NF4_BLOCK} numbers; {tensor.name} has"
                f" {tensor.shape[1]}",
                hint="choose --format int8, or a GGUF: --format gguf",
            )


def is_quantised(tensor: Tensor) -> bool:
    """Whether bitsandbytes holds a tensor in fewer bits: the matrices of the layers."""
    return len(tensor.shape) == 2 and ".layers." in tensor.name  # noqa: PLR2004 - a matrix


def _weight_bytes(format_: Format, weights: Sequence[Tensor], tensors: Sequence[Encoded]) -> int:
    total = sum(tensor.size_bytes for tensor in tensors)
    if format_ in ("safetensors", "gguf"):
        return total
    per_number = _NF4_BYTES if format_ == "nf4" else 1.0
    for tensor, encoded in zip(weights, tensors, strict=True):
        if is_quantised(tensor):
            total += round(per_number * math.prod(tensor.shape)) - encoded.size_bytes
    return total


def _check_target(plan: ExportPlan) -> None:
    target = plan.target
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(
            f"--to {target}: is there already",
            hint="name a new folder, or remove this one: nothing is overwritten",
        )
    above = next(parent for parent in target.resolve().parents if parent.exists())
    needed = plan.weight_bytes + _SPARE_BYTES
    if plan.format in ("nf4", "int8") and plan.student.adapter is not None:
        needed += sum(tensor.size_bytes for tensor in plan.tensors)  # the merged model, meanwhile
    free = shutil.disk_usage(above).free
    if free < needed:
        raise StorageError(
            f"--to {target}: {gigabytes(needed)} are needed and {gigabytes(free)} are free",
            hint="name a folder on another disk, or a smaller quantisation (--quant, --format)",
        )


def gigabytes(count: int) -> str:
    """Bytes for people.

    Example:
        >>> gigabytes(1_234_000_000), gigabytes(726_624)
        ('1.23 GB', '0.7 MB')
    """
    billion = 1_000_000_000
    return f"{count / billion:.2f} GB" if count >= billion / 10 else f"{count / 1e6:.1f} MB"
