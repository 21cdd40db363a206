"""A GGUF file of a small model, for llama.cpp's server: the export's own, in float32."""

from pathlib import Path

from distill.types import Sampling
from students.export.gguf_format import write_gguf as write_file
from students.export.gguf_out import gguf_metadata, gguf_tensors
from students.export.gguf_vocabulary import read_vocabulary
from students.export.where_from import find_student


def write_gguf(folder: Path, path: Path) -> None:
    """Write the model in ``folder``, as transformers saves it, to one GGUF file."""
    student = find_student(folder)
    vocabulary = read_vocabulary(folder, student.config, student.generation)
    metadata = gguf_metadata(student, "f32", vocabulary, Sampling())
    write_file(path, metadata, gguf_tensors(student, "f32"), lambda _count: None)
