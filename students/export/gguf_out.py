"""Puts a student into a GGUF file: tensors in llama.cpp's kinds, settings, tokenizer, template."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from numpy.typing import NDArray

from distill import __version__
from distill.types import Sampling
from students.export.floats import FLOAT_TYPES
from students.export.gguf_format import Value, size_bytes
from students.export.gguf_kinds import FILE_TYPE, Quant, kind_of
from students.export.gguf_model import (
    FREQUENCIES,
    Rotated,
    check_architecture,
    frequency_factors,
    gguf_name,
    head_size,
    is_rotated,
    settings,
)
from students.export.gguf_numbers import encode
from students.export.gguf_vocabulary import Vocabulary
from students.export.outfile import Encoded
from students.export.weights import StoredTensor, Tensor, in_order, row_ranges
from students.export.where_from import Student


def gguf_tensors(student: Student, quant: Quant) -> list[Encoded]:
    """The tensors as they will lie in the file.

    Raises:
        ModelError: If the architecture or one of the tensors has no place in a GGUF file.
    """
    check_architecture(student.config)
    layers = int(student.config["num_hidden_layers"])
    found: list[Encoded] = []
    factors = frequency_factors(student.config)
    if factors is not None:
        found.append(
            Encoded(FREQUENCIES, factors.shape, "F32", factors.nbytes, lambda: iter([factors]))
        )
    for tensor in student.tensors().values():
        name = gguf_name(tensor.name)
        kind = kind_of(name, tensor.shape, quant, layers=layers, is_tied=student.is_tied)
        parts = partial(_parts, tensor, kind, student.config)
        found.append(Encoded(name, tensor.shape, kind, size_bytes(tensor.shape, kind), parts))
    return found


def gguf_metadata(
    student: Student, quant: Quant, vocabulary: Vocabulary, sampling: Sampling
) -> dict[str, Value]:
    """Everything that the file says beside its tensors.

    Raises:
        ModelError: If positions are scaled in a way that llama.cpp does not know.
    """
    architecture = student.model_type
    values: dict[str, Value] = {
        "general.architecture": architecture,
        "general.type": "model",
        "general.name": student.name,
        "general.description": f"exported by distill {__version__}",
        "general.quantization_version": 2,
        "general.file_type": FILE_TYPE[quant],
        "general.sampling.temp": float(sampling.temperature),
        "general.sampling.top_p": float(sampling.top_p),
    }
    for key, value in settings(student.config).items():
        values[f"{architecture}.{key}"] = value
    return values | vocabulary.metadata


def _parts(tensor: Tensor, kind: str, config: dict[str, Any]) -> Iterator[NDArray[Any]]:
    """The bytes of a tensor, a few rows at a time; rows that belong together stay together."""
    head = head_size(config) if is_rotated(tensor.name, config) else 1
    read = tensor.read if head == 1 else Rotated(tensor, head).read
    ranges = row_ranges(tensor.shape, multiple=head)
    return in_order(
        lambda rows: encode(read(*rows), kind),
        ranges,
        is_cheap=kind in FLOAT_TYPES and isinstance(tensor, StoredTensor),
    )
