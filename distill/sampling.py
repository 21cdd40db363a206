"""The one sampling loop, for generation and for evaluation.

It asks a completer for samples, has each answer judged as it arrives, and appends both to a
journal before they count. A run that was killed goes on from the journal: the same command gives
the same traces, and nothing that was stored is asked again but the block that was under way, and
that only with a completer whose rows depend on each other.

This module knows no models; what is asked next is ``distill.schedule``'s to say.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from distill.errors import StageError
from distill.journal import Journal
from distill.schedule import SampleKey, SamplingPlan, Schedule
from distill.traces import (
    check_header,
    journal_header,
    key_of,
    prompt_ranks,
    trace_from,
    trace_record,
)
from distill.types import (
    Answer,
    Completer,
    Completion,
    JudgedTrace,
    Progress,
    Prompt,
    Request,
    Sampling,
    Trace,
    Verifier,
)

ProgressListener = Callable[[Progress], None]

_GROUP_RECORDS = 64
_GROUP_SECONDS = 0.5
_LEAST_FOR_A_SHARE = 20
"""Samples before a share of failures says anything."""


@dataclass(frozen=True, slots=True)
class SamplingOutcome:
    """What a sampling run did.

    Attributes:
        samples: Samples that were drawn, those of earlier tries included.
        accepted: How many the verifier accepted.
        truncated: How many the token limit cut.
        failed: How many got no answer.
        output_tokens: Tokens of all samples.
        resumed: Samples that an earlier try had stored.
        mismatched: Stored samples that came out differently when their block was asked again; the
            stored ones count. More than 0 means that the machine, its libraries or its number of
            threads changed: a resumed run then is not the run that an uninterrupted one had been.
        seconds: Of this try.
        tokens_per_second: New tokens of this try by its seconds.
    """

    samples: int
    accepted: int
    truncated: int
    failed: int
    output_tokens: int
    resumed: int
    mismatched: int
    seconds: float
    tokens_per_second: float


def sample_prompts(
    prompts: Sequence[Prompt],
    completer: Completer,
    verifier: Verifier,
    *,
    sampling: Sampling,
    plan: SamplingPlan,
    journal: Journal,
    stage: str,
    max_failed_share: float = 0.1,
    on_progress: ProgressListener | None = None,
) -> SamplingOutcome:
    """Sample, judge and journal until every prompt has what the plan wants.

    A failed sample is stored and counted. When the run is resumed it is asked again if the
    completer's rows are independent: a server may be back. A local model would fail once more.

    Args:
        prompts: What is sampled, in the order of asking; ids must differ.
        completer: Who answers.
        verifier: Who judges.
        sampling: How completions are drawn.
        plan: How many samples each prompt gets.
        journal: Where traces are stored; new, or of an earlier try with the same settings.
        stage: Name for progress and errors, such as ``"generate"``.
        max_failed_share: Stop when more than this share of the samples failed.
        on_progress: Called after every answer.

    Raises:
        RunDirError: If the journal was written with other settings.
        DataError: If the journal is broken.
        StageError: If too many samples failed.
        StorageError: If the disk refuses.
    """
    stored = _read_stored(journal, prompts, completer, verifier, sampling)
    run = _Run(prompts, completer, verifier, plan=plan, journal=journal, stored=stored)
    notify = on_progress or (lambda progress: None)
    try:
        for answer in completer.complete(run, sampling):
            run.consume(answer)
            _check_failures(run.tally, max_failed_share, stage, _LEAST_FOR_A_SHARE)
            notify(run.progress(stage))
    finally:  # what is finished is kept, whatever stopped the loop
        journal.commit()
    run.check_finished()
    _check_failures(run.tally, max_failed_share, stage, 1)
    notify(run.progress(stage))
    return run.outcome()


@dataclass(frozen=True, slots=True)
class _Sample:
    """What is remembered of a stored sample."""

    is_accepted: bool
    is_truncated: bool
    is_failed: bool
    output_tokens: int
    fingerprint: int
    """Hash of the completion, good within this process only."""

    @classmethod
    def of(cls, judged: JudgedTrace) -> "_Sample":
        completion = judged.trace.completion
        return cls(
            is_accepted=judged.verdict.is_accepted is True,
            is_truncated=completion.is_truncated,
            is_failed=completion.finish == "error",
            output_tokens=completion.usage.output_tokens,
            fingerprint=hash(completion),
        )


@dataclass(slots=True)
class _Tally:
    """Running totals."""

    samples: int = 0
    accepted: int = 0
    truncated: int = 0
    failed: int = 0
    output_tokens: int = 0
    resumed: int = 0
    new_tokens: int = 0
    mismatched: int = 0
    last_error: str = ""

    def add(self, sample: _Sample, *, is_resumed: bool) -> None:
        self.samples += 1
        self.accepted += sample.is_accepted
        self.truncated += sample.is_truncated
        self.failed += sample.is_failed
        self.output_tokens += sample.output_tokens
        self.resumed += is_resumed
        self.new_tokens += 0 if is_resumed else sample.output_tokens


class _Run:
    """The ``RequestSource`` that a completer pulls from, and the consumer of its answers."""

    def __init__(
        self,
        prompts: Sequence[Prompt],
        completer: Completer,
        verifier: Verifier,
        *,
        plan: SamplingPlan,
        journal: Journal,
        stored: Mapping[SampleKey, _Sample],
    ) -> None:
        self.tally = _Tally()
        self._ranks = prompt_ranks(prompts)
        self._model = completer.model
        self._verifier = verifier
        self._journal = journal
        self._stored = stored
        self._takes_whole_blocks = not completer.has_independent_rows
        self._schedule = Schedule(
            prompts,
            plan,
            {key: sample.is_accepted for key, sample in stored.items()},
            takes_whole_blocks=self._takes_whole_blocks,
            on_stored=lambda key: self.tally.add(stored[key], is_resumed=True),
        )
        self._started = self._committed = time.monotonic()
        self._pending = 0

    def take(self, n: int) -> Sequence[Request]:
        """Commit what has arrived, then say what is wanted next."""
        waited = time.monotonic() - self._committed
        is_group = self._pending >= _GROUP_RECORDS or waited >= _GROUP_SECONDS
        if self._takes_whole_blocks or is_group:
            self._journal.commit()
            self._pending, self._committed = 0, time.monotonic()
        return self._schedule.take(n)

    def consume(self, answer: Answer) -> None:
        """Judge, store and count one answer."""
        request = answer.request
        completion = _without_lone_surrogates(answer.completion)
        key = SampleKey(request.sample_index, self._ranks[request.prompt.id])
        sample = self._stored.get(key)
        is_resumed = sample is not None
        if sample is None:
            sample = self._store(request, completion)
        elif sample.fingerprint != hash(completion):
            self.tally.mismatched += 1
        self._schedule.settle(key, is_accepted=sample.is_accepted)
        self.tally.add(sample, is_resumed=is_resumed)
        if sample.is_failed:
            self.tally.last_error = completion.error or "no reason given"

    def _store(self, request: Request, completion: Completion) -> _Sample:
        verdict = self._verifier.verify(request.prompt, completion)
        trace = Trace(request.prompt.id, request.sample_index, self._model, completion)
        judged = JudgedTrace(trace, verdict)
        self._journal.append(trace_record(judged))
        self._pending += 1
        return _Sample.of(judged)

    def check_finished(self) -> None:
        """Make sure that the completer left nothing undone.

        Raises:
            RuntimeError: If it ended with requests unanswered or not taken.
        """
        if self._schedule.in_flight or self._schedule.total != self.tally.samples:
            raise RuntimeError(
                f"the completer {self._model} ended after {self.tally.samples} of"
                f" {self._schedule.total} samples, {self._schedule.in_flight} unanswered"
            )

    def progress(self, stage: str) -> Progress:
        """Where the run stands."""
        tally, samples = self.tally, max(self.tally.samples, 1)
        figures = {
            "accepted": f"{tally.accepted / samples:.0%}",
            "tokens": f"{tally.output_tokens:,}",
            "tokens/s": f"{self._tokens_per_second():,.0f}",
        }
        if tally.failed:
            figures["failed"] = f"{tally.failed:,}"
        return Progress(stage, tally.samples, self._schedule.total, tally.resumed, figures)

    def outcome(self) -> SamplingOutcome:
        """The totals, at the end."""
        tally = self.tally
        return SamplingOutcome(
            samples=tally.samples,
            accepted=tally.accepted,
            truncated=tally.truncated,
            failed=tally.failed,
            output_tokens=tally.output_tokens,
            resumed=tally.resumed,
            mismatched=tally.mismatched,
            seconds=time.monotonic() - self._started,
            tokens_per_second=self._tokens_per_second(),
        )

    def _tokens_per_second(self) -> float:
        return self.tally.new_tokens / max(time.monotonic() - self._started, 1e-9)


def _read_stored(
    journal: Journal,
    prompts: Sequence[Prompt],
    completer: Completer,
    verifier: Verifier,
    sampling: Sampling,
) -> dict[SampleKey, _Sample]:
    """What earlier tries left; writes the header of a new journal."""
    header = journal_header(prompts, completer, verifier, sampling)
    ranks = prompt_ranks(prompts)
    stored: dict[SampleKey, _Sample] = {}
    for line, record in enumerate(journal.records()):
        if line == 0:
            check_header(record, header, journal.path)
            continue
        place = f"{journal.path}:{line + 1}"
        judged = trace_from(record, place)
        sample = _Sample.of(judged)
        if not (sample.is_failed and completer.has_independent_rows):
            stored[key_of(judged, ranks, place)] = sample
    if journal.safe_records == 0:
        journal.append(header)
        journal.commit()
    return stored


def _check_failures(tally: _Tally, max_share: float, stage: str, least: int) -> None:
    if tally.samples >= least and tally.failed > max_share * tally.samples:
        raise StageError(
            f"{stage}: {tally.failed} of {tally.samples} samples failed, more than {max_share:.0%}"
            f" of them; the last one: {tally.last_error or 'see the journal'}",
            hint="Finished traces are kept: remove the cause and run the same command again.",
        )


def _without_lone_surrogates(completion: Completion) -> Completion:
    """Replace what is no character: some servers send half of a pair, no tokenizer takes it."""
    try:
        completion.text.encode()
        (completion.reasoning or "").encode()
    except UnicodeEncodeError:
        return replace(
            completion,
            text=_replaced(completion.text),
            reasoning=None if completion.reasoning is None else _replaced(completion.reasoning),
        )
    return completion


def _replaced(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
