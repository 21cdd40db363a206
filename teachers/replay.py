"""``ReplayTeacher``: answers from the recorded traces of an earlier run, for tests and offline use.

A recording answers exactly the samples it holds, by prompt id and sample index, and it does not
draw: sampling settings have no effect on it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from distill.digest import sha256_file
from distill.errors import DataError
from distill.journal import read_journal
from distill.traces import trace_from
from distill.types import Answer, Completion, Request, RequestSource, Sampling

_AT_ONCE = 64


class ReplayTeacher:
    """A recording as a ``Completer``; it is held in memory."""

    samples_at_once = 1
    is_billed = False

    def __init__(self, path: Path) -> None:
        """Read a recording.

        Args:
            path: A ``traces.jsonl`` of an earlier run.

        Raises:
            DataError: If the file is missing, broken, or holds no traces.
        """
        self._path = path
        self._completions: dict[tuple[str, int], Completion] = {}
        self.model = ""
        for line, record in enumerate(read_journal(path)):
            if line:  # the first is the header
                trace = trace_from(record, f"{path}:{line + 1}").trace
                self._completions[trace.prompt_id, trace.sample_index] = trace.completion
                self.model = trace.model
        if not self._completions:
            raise DataError(f"{path}: the recording holds no traces")
        self.fingerprint = sha256_file(path)

    def progress_figures(self) -> Mapping[str, str]:
        """Nothing beside the sampling loop's own figures."""
        return {}

    def complete(self, source: RequestSource, sampling: Sampling) -> Iterator[Answer]:
        """Answer every request at once; one that was not recorded fails."""
        while requests := source.take(_AT_ONCE):
            for request in requests:
                yield Answer(request, self._completion(request))

    def _completion(self, request: Request) -> Completion:
        recorded = self._completions.get((request.prompt.id, request.sample_index))
        if recorded is not None:
            return recorded
        missing = f"sample {request.sample_index} of prompt {request.prompt.id!r}"
        return Completion("", finish="error", error=f"{missing} is not in {self._path}")
