"""Does the export compute what the student computes? With transformers, in float32.

A folder is loaded as any program would load it. A GGUF's numbers are put in the place of the
student's own: what quantisation does to the weights shows without llama.cpp.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from distill.errors import StageError
from engine.folder import load_folder, load_tokenizer
from engine.threads import fitting_threads
from students.export.check_texts import check_texts
from students.export.check_weights import written_rows
from students.export.floats import to_float32
from students.export.gguf_format import read_gguf
from students.export.probes import Reference, load_student_tokenizer, log_probabilities
from students.export.record import DriftCheck, MergeCheck, TokenCheck
from students.export.weights import row_ranges
from students.export.where_from import Student

MERGE_TOLERANCE = 1e-3
Rows = Callable[[int, int], np.ndarray]


def check_tokens(student: Student, folder: Path) -> TokenCheck:
    """Split many texts with the student's tokenizer and with the exported one.

    Raises:
        StageError: If one text has other tokens.
    """
    ours, theirs = load_student_tokenizer(student), load_tokenizer(folder)
    texts = check_texts(ours.all_special_tokens)
    different = [
        text
        for text in texts
        if ours(text, add_special_tokens=False)["input_ids"]
        != theirs(text, add_special_tokens=False)["input_ids"]
    ]
    if different:
        raise StageError(f"the exported tokenizer splits {different[0]!r} otherwise")
    return TokenCheck("transformers", len(texts), len(texts))


def check_merge(student: Student, reference: Reference) -> MergeCheck:
    """Merged weights in the base against the adapter attached to it.

    Raises:
        StageError: If they differ by more than float32 explains.
    """
    model = load_folder(student.folder).model
    for name, tensor in student.tensors().items():
        _put(model, name, lambda start, stop, it=tensor: to_float32(it.read(start, stop)))  # type: ignore[misc]
    largest = max(
        float((found - expected).abs().max())
        for found, expected in zip(
            log_probabilities(model, reference.rows), reference.log_probabilities, strict=True
        )
    )
    if not largest <= MERGE_TOLERANCE:
        raise StageError(
            f"merged and attached adapter differ by {largest:.2g} in log-probability;"
            f" {MERGE_TOLERANCE:g} is accepted",
            hint="nothing was exported; merge with peft (merge_and_unload) and export the result",
        )
    tokens = sum(len(each) for each in reference.log_probabilities)
    return MergeCheck(largest, MERGE_TOLERANCE, tokens)


def check_drift(student: Student, path: Path, reference: Reference) -> DriftCheck:
    """How far the export's log-probabilities are from the student's."""
    model = _with_gguf(student, path) if path.suffix == ".gguf" else load_folder(path).model
    with fitting_threads(model.num_parameters()):
        found = log_probabilities(model, reference.rows)
    return measure(reference, found, by="transformers")


def measure(reference: Reference, found: list[torch.Tensor], *, by: str) -> DriftCheck:
    """The figures, from log-probabilities on the reference's rows."""
    greedy_tokens = greedy_equal = 0
    largest = 0.0
    divergences, agreements = [], []
    wants_traces = reference.traces == "run"
    for row, expected_T_V, found_T_V in zip(
        reference.rows, reference.log_probabilities, found, strict=True
    ):
        same_T = expected_T_V.argmax(-1) == found_T_V.argmax(-1)
        if row.is_greedy:
            chosen_T_1 = torch.tensor(row.token_ids[row.start :])[:, None]
            gaps = (expected_T_V.gather(1, chosen_T_1) - found_T_V.gather(1, chosen_T_1)).abs()
            largest = max(largest, float(gaps.max()))
            greedy_tokens += len(same_T)
            greedy_equal += int(same_T.sum())
        if row.is_greedy != wants_traces:
            kl_T = (expected_T_V.exp() * (expected_T_V - found_T_V)).sum(-1)
            divergences.append(kl_T)
            agreements.append(same_T)
    kl, same = torch.cat(divergences), torch.cat(agreements)
    return DriftCheck(
        by=by,
        greedy_tokens=greedy_tokens,
        greedy_equal=greedy_equal,
        largest_difference=largest,
        kl_nats=max(float(kl.mean()), 0.0),
        top_share=float(same.float().mean()),
        tokens=len(kl),
        traces=reference.traces,
    )


def _with_gguf(student: Student, path: Path) -> PreTrainedModel:
    file = read_gguf(path)
    model = load_folder(student.folder).model
    for name in student.tensors():
        _put(model, name, written_rows(student, file, name))
    return model


@torch.inference_mode()
def _put(model: PreTrainedModel, name: str, rows: Rows) -> None:
    """Overwrite a parameter, a few rows at a time."""
    parameter = model.get_parameter(name)
    for start, stop in row_ranges(tuple(parameter.shape), multiple=model.config.hidden_size):
        parameter[start:stop] = torch.from_numpy(np.ascontiguousarray(rows(start, stop)))
