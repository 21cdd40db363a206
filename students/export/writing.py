"""An export from start to end: written under another name, checked, recorded, then renamed.

A kill or a failed check at any moment leaves no folder of the wanted name.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from distill.digest import digest_file
from distill.lineage import LINEAGE_FILE, carry_lineage, new_step
from distill.manifest import current_versions, now
from distill.records import to_record
from distill.storage import make_folder, write_atomically, write_json_atomically
from distill.types import Progress, Sampling
from engine.freed_memory import kept_freed_memory
from students.durable import whole_folder
from students.export.apps import how_to_run, lm_studio_preset, modelfile
from students.export.checking import CheckLevel, Found, run_checks
from students.export.gguf_format import write_gguf
from students.export.gguf_out import gguf_metadata
from students.export.gguf_vocabulary import (
    chat_template,
    end_tokens,
    read_vocabulary,
    token_texts,
    tokenizer_config,
)
from students.export.outfile import OnBytes
from students.export.plan import ExportPlan
from students.export.record import RECORD, ExportedFile, ExportRecord, check_rows
from students.export.safetensors_out import shards, write_shards
from students.export.small_files import make_readable_by_4, write_small_files
from students.export.turns import ChatTemplate, Turns, take_apart
from students.export.where_from import Student

if TYPE_CHECKING:
    from students.export.accuracy import HeldOut

Report = Callable[[Progress], None]
_MEGABYTE = 1_000_000
# Ollama reserves memory for this much; more is a choice of the user's.
_CONTEXT_TOKENS = 32_768


def export(
    plan: ExportPlan,
    on_progress: Report,
    *,
    level: CheckLevel = "all",
    held_out: "HeldOut | None" = None,
) -> ExportRecord:
    """Write the student, check it, and give the folder its name.

    Args:
        plan: What is asked for.
        on_progress: Called with megabytes written, then with the checks.
        level: How much is checked.
        held_out: What accuracy is measured on, if it is wanted.

    Raises:
        ModelError: If the student is broken.
        StageError: If a check fails; then nothing is left.
        StorageError: If the disk refuses.
    """
    make_folder(plan.target.resolve().parent)
    with whole_folder(plan.target.resolve()) as folder, kept_freed_memory():
        begun = time.monotonic()
        digests, has_exact_tokens = _write(plan, folder, _counter(plan, on_progress))
        seconds = time.monotonic() - begun
        written = folder / plan.gguf_name if plan.format == "gguf" else folder
        found = run_checks(
            plan,
            written,
            level,
            held_out,
            has_exact_tokens=has_exact_tokens,
            report=on_progress,
        )
        record = _record(plan, folder, digests, found, seconds)
        write_json_atomically(folder / RECORD, to_record(record))
        _carry_lineage(plan, folder, record)
    return record


def _carry_lineage(plan: ExportPlan, folder: Path, record: ExportRecord) -> None:
    """What led to the student travels with the export, if the student has a record of it."""
    settings = {"format": record.format, "quant": record.quant}
    if record.compat:
        settings["compat"] = record.compat
    size = sum(file.size_bytes for file in record.files)
    figures = {"numbers": record.numbers, "bytes": size, **check_rows(record.checks)}
    step = new_step("export", settings=settings, inputs={}, figures=figures)
    known = {file.name: file.digest for file in record.files}
    carry_lineage(_recorded(plan.student), folder, step, known=known)


def _recorded(student: Student) -> Path:
    """The folder with the student's record: an adapter's may lie with what it was merged to."""
    adapter = student.adapter
    if adapter is None:
        return student.folder
    return adapter if (adapter / LINEAGE_FILE).is_file() else adapter.parent


def _write(plan: ExportPlan, folder: Path, on_bytes: OnBytes) -> tuple[dict[str, str], bool]:
    if plan.format == "gguf":
        return _write_gguf(plan, folder, on_bytes)
    if plan.format == "safetensors":
        return _write_safetensors(plan, folder, on_bytes), True
    return _write_quantised(plan, folder, on_bytes), True


def _write_safetensors(plan: ExportPlan, folder: Path, on_bytes: OnBytes) -> dict[str, str]:
    kind = plan.tensors[0].kind
    digests = write_small_files(
        plan.student,
        folder,
        kind,  # type: ignore[arg-type]
        for_transformers4=plan.for_transformers4,
    )
    return digests | write_shards(folder, shards(plan.tensors), on_bytes)


def _write_quantised(plan: ExportPlan, folder: Path, on_bytes: OnBytes) -> dict[str, str]:
    """Merge first if there is an adapter; then let bitsandbytes do it."""
    from students.export.bits import write_quantised

    student, whole = plan.student, plan.student.folder
    merged = folder / "merged"
    if student.adapter is not None:
        merged.mkdir()
        write_small_files(student, merged, "BF16", for_transformers4=False)
        write_shards(merged, shards(plan.tensors), on_bytes)
        whole = merged
    write_small_files(student, folder, "BF16", for_transformers4=False)
    write_quantised(whole, folder, plan.format)
    shutil.rmtree(merged, ignore_errors=True)
    if plan.for_transformers4:
        make_readable_by_4(folder)
    return {}  # the configs were written again


def _write_gguf(plan: ExportPlan, folder: Path, on_bytes: OnBytes) -> tuple[dict[str, str], bool]:
    student, sampling = plan.student, sampling_of(plan.student)
    source = student.tokenizer_folder
    vocabulary = read_vocabulary(source, student.config, student.generation)
    metadata = gguf_metadata(student, plan.quant, vocabulary, sampling)
    path = folder / plan.gguf_name
    digests = {path.name: write_gguf(path, metadata, plan.tensors, on_bytes)}
    stops = token_texts(source, end_tokens(student.config, student.generation))
    context = min(int(student.config["max_position_embeddings"]), _CONTEXT_TOKENS)
    texts = {
        "Modelfile": modelfile(path.name, _turns(student), stops, sampling, context),
        "lm-studio.preset.json": lm_studio_preset(student.name, stops, sampling),
        "README.md": how_to_run(student.name, path.name),
    }
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    return digests, vocabulary.is_exact


def sampling_of(student: Student) -> Sampling:
    """How replies are drawn: as the student's generation config says, else as reasoning models."""
    usual = Sampling()
    return Sampling(
        temperature=float(student.generation.get("temperature") or usual.temperature),
        top_p=float(student.generation.get("top_p") or usual.top_p),
    )


def _turns(student: Student) -> Turns | None:
    """The chat template taken apart, if there is one and it can be."""
    from jinja2 import TemplateError

    source = chat_template(student.tokenizer_folder)
    if source is None:
        return None
    named = tokenizer_config(student.tokenizer_folder)
    tokens = {key: _text(named.get(key)) for key in ("bos_token", "eos_token")}
    try:
        return take_apart(ChatTemplate(source, **tokens))
    except TemplateError:
        return None


def _text(token: object) -> str:
    return str(token["content"]) if isinstance(token, dict) else str(token or "")


def _counter(plan: ExportPlan, on_progress: Report) -> OnBytes:
    total = -(-plan.weight_bytes // _MEGABYTE)
    written = 0

    def count(more: int) -> None:
        nonlocal written
        before, written = written // _MEGABYTE, written + more
        done = total if written >= plan.weight_bytes else written // _MEGABYTE
        if done != before:
            on_progress(Progress("write MB", done, total))

    return count


def _record(
    plan: ExportPlan, folder: Path, digests: dict[str, str], found: Found, seconds: float
) -> ExportRecord:
    student, versions = plan.student, current_versions()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return ExportRecord(
        name=student.name,
        format=plan.format,
        quant=plan.quant if plan.format in ("safetensors", "gguf") else plan.format,
        model_type=student.model_type,
        numbers=plan.numbers,
        adapter=student.adapter.name if student.adapter else "",
        run=student.run.root.name if student.run else "",
        compat="transformers4" if plan.for_transformers4 else "",
        files=tuple(
            ExportedFile(
                name=path.relative_to(folder).as_posix(),
                size_bytes=path.stat().st_size,
                digest=digests.get(path.name) or digest_file(path),
            )
            for path in files
        ),
        checks=found.checks,
        notes=tuple(found.notes),
        seconds=round(seconds, 3),
        created=now(),
        versions={"distill": versions.distill, **versions.libraries},
    )
