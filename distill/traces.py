"""Judged traces in files: the records of a sampling journal, and reading them in order.

A journal begins with a header that says what its answers depend on; one record per judged trace
follows, in the order of arrival. ``read_traces`` gives them by prompt, then by sample, so that
what is made of them does not depend on who answered first.

This module knows records and files, nothing of models.
"""

import hashlib
import json
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from distill.errors import DataError, RunDirError
from distill.journal import read_journal
from distill.records import Record, from_record, to_record
from distill.schedule import SampleKey
from distill.types import Completer, JudgedTrace, Prompt, Sampling, Verifier

_HEADER = "header"
_TRACE = "trace"
_HASHED = {
    "fingerprint": "the model's weights or template changed",
    "prompts": "the prompts changed",
}
_NAMED = ("model", "verifier")


def journal_header(
    prompts: Sequence[Prompt], completer: Completer, verifier: Verifier, sampling: Sampling
) -> Record:
    """First record of a journal: everything that its answers and verdicts depend on.

    How many samples are wanted is not part of it: more can be drawn into the same journal. Nor is
    what is kept of them beside the text.
    """
    drawn = to_record(sampling)
    del drawn["keeps_logprobs"]
    return {
        "kind": _HEADER,
        "model": completer.model,
        "fingerprint": completer.fingerprint,
        "verifier": verifier.name,
        "prompts": hash_prompts(prompts),
        "sampling": drawn,
    }


def hash_prompts(prompts: Iterable[Prompt]) -> str:
    """SHA-256 over all that prompts say, in order; one is held at a time.

    Raises:
        ValueError: If two prompts have one id.
    """
    digest, ids = hashlib.sha256(), set[int]()
    for count, prompt in enumerate(prompts, start=1):
        ids.add(hash(prompt.id))  # 64 bits of each id, not a million ids
        if len(ids) < count:
            raise ValueError(f"two prompts have the same id, {prompt.id!r}")
        values = [prompt.id, prompt.text, prompt.answer, prompt.kind, prompt.level]
        digest.update(orjson.dumps(values))
    return digest.hexdigest()


def check_header(found: Record, expected: Mapping[str, Any], path: Path) -> None:
    """Make sure that a journal was written with the present model and settings.

    Raises:
        DataError: If the record is no header.
        RunDirError: If something differs; says what.
    """
    if found.get("kind") != _HEADER or not isinstance(found.get("sampling"), dict):
        raise DataError(f"{path}:1: the first record is no header; this is no journal of traces")
    changes = [what for key, what in _HASHED.items() if found.get(key) != expected[key]]
    then = {name: found.get(name) for name in _NAMED} | found["sampling"]
    now = {name: expected[name] for name in _NAMED} | expected["sampling"]
    changes += [
        f"{name} was {then.get(name)}, is {value}"
        for name, value in now.items()
        if then.get(name) != value
    ]
    if changes:
        raise RunDirError(
            f"{path} holds answers made with other settings: {'; '.join(changes)}",
            hint="Set it back to go on, or take a new run folder; nothing was changed.",
        )


def trace_line(judged: JudgedTrace) -> bytes:
    """A judged trace as a record of the journal, encoded.

    Raises:
        ValueError: If a number in it is NaN or infinite.
    """
    receipt, verdict = judged.trace.receipt, judged.verdict
    numbers = [verdict.reward, verdict.milliseconds]
    if receipt is not None:
        numbers += [receipt.seconds, receipt.usd or 0.0]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"trace {judged.trace.id}: a number in it is not finite: {numbers}")
    record = {"kind": _TRACE, "trace": judged.trace, "verdict": verdict}
    try:
        return orjson.dumps(record)
    except TypeError:  # half a surrogate pair, which only an escape can hold
        text = json.dumps({"kind": _TRACE, **to_record(judged)}, separators=(",", ":"))
        return text.encode()


def trace_from(record: Mapping[str, object], place: str) -> JudgedTrace:
    """The judged trace in a record.

    Raises:
        DataError: If the record holds none; ``place`` says where it stands.
    """
    if record.get("kind") != _TRACE:
        raise DataError(f"{place}: the record is no trace but {record.get('kind')!r}")
    return from_record(JudgedTrace, {k: v for k, v in record.items() if k != "kind"}, place)


def prompt_ranks(prompts: Sequence[Prompt]) -> dict[str, int]:
    """Place of each prompt in its set.

    Raises:
        ValueError: If two prompts have one id.
    """
    ranks = {prompt.id: rank for rank, prompt in enumerate(prompts)}
    if len(ranks) != len(prompts):
        raise ValueError("two prompts have the same id")
    return ranks


def key_of(judged: JudgedTrace, ranks: Mapping[str, int], place: str) -> SampleKey:
    """Which sample of which prompt a stored trace is.

    Raises:
        DataError: If it belongs to no prompt.
    """
    rank = ranks.get(judged.trace.prompt_id)
    if rank is None:
        raise DataError(f"{place}: trace {judged.trace.id} belongs to no prompt of this run")
    return SampleKey(judged.trace.sample_index, rank)


def read_traces(
    path: Path, prompts: Sequence[Prompt], samples: int | None = None
) -> Iterator[JudgedTrace]:
    """The traces of a journal by rank of their prompt, then by sample; one is held at a time.

    Of two records about one sample the later counts: a failed sample was asked again.

    Args:
        path: The journal.
        prompts: What was sampled.
        samples: Only the first so many samples of each prompt; ``None`` gives all.

    Raises:
        DataError: If the file is missing or a record broken, or a trace belongs to no prompt.
    """
    ranks = prompt_ranks(prompts)
    lines: dict[SampleKey, int] = {}
    for line, record in enumerate(read_journal(path)):
        if line:  # the first is the header
            place = f"{path}:{line + 1}"
            key = key_of(trace_from(record, place), ranks, place)
            if samples is None or key.sample_index < samples:
                lines[key] = line
    offsets = _line_offsets(path)
    with path.open("rb") as file:
        for key in sorted(lines, key=lambda key: (key.rank, key.sample_index)):
            file.seek(offsets[lines[key]])
            record = json.loads(file.readline())
            del record["crc"]
            yield trace_from(record, f"{path}:{lines[key] + 1}")


def _line_offsets(path: Path) -> Sequence[int]:
    """Where each line begins."""
    offsets = array("Q", [0])
    with path.open("rb") as file:
        for line in file:
            offsets.append(offsets[-1] + len(line))
    return offsets
