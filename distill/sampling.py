"""The one sampling loop, for generation and for evaluation.

It asks a completer for samples, has each answer judged as it arrives, and writes both to a journal
before they count: a sample is counted, and decides what is asked next, once it is on the disk. A
run that was killed goes on from the journal: the same command gives the same traces, and nothing
that was stored is asked again.

This module knows no models; what is asked next is ``distill.schedule``'s to say, and what may be
spent its ``Allowance``'s.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from distill.allowance import Allowance, Stop, Wait
from distill.asked import AskedLog
from distill.characters import without_lone_surrogates
from distill.commits import GroupCommits
from distill.errors import BudgetError, StageError
from distill.journal import Journal
from distill.schedule import SampleKey, SamplingPlan, Schedule
from distill.tally import FaultFinder, Sample, SamplingOutcome, Tally, figures_by_kind
from distill.traces import (
    check_header,
    journal_header,
    key_of,
    prompt_ranks,
    trace_from,
    trace_line,
)
from distill.types import (
    Answer,
    Completer,
    JudgedTrace,
    Progress,
    Prompt,
    Request,
    Sampling,
    Trace,
    Usage,
    Verifier,
)

ProgressListener = Callable[[Progress], None]

LEAST_FOR_A_SHARE = 20
"""Samples before a share of failures says anything."""
_PROGRESS_SECONDS = 0.05


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
    asked_path: Path | None = None,
    allowance: Allowance | None = None,
    first: int | None = None,
    find_fault: FaultFinder = lambda completion: "",
    on_progress: ProgressListener | None = None,
    tally: Tally | None = None,
) -> SamplingOutcome:
    """Sample, judge and journal until every prompt has what the plan wants.

    A failed sample is stored and counted, and asked again when the run is resumed: a server may be
    back.

    Args:
        prompts: What is sampled, in the order of asking; ids must differ.
        completer: Who answers.
        verifier: Who judges.
        sampling: How completions are drawn.
        plan: How many samples each prompt gets.
        journal: Where traces are stored; new, or of an earlier try with the same settings.
        stage: Name for progress and errors, such as ``"generate"``.
        max_failed_share: Stop when more than this share of the samples failed.
        asked_path: Where requests of a billed completer are noted before they are sent.
        allowance: What may be spent, what earlier tries spent included; ``None`` for no limit.
        first: Sample so many prompts only, such as for a pilot; the journal is that of all.
        find_fault: What is wrong with the form of a finished completion, ``""`` if nothing is.
        on_progress: Called as samples are stored.
        tally: An empty one to count in, for who wants to look at it meanwhile.

    Raises:
        RunDirError: If the journal was written with other settings.
        DataError: If the journal is broken.
        StageError: If too many samples failed.
        BudgetError: If a limit was reached; what was answered until then is stored.
        StorageError: If the disk refuses.
    """
    header = journal_header(prompts, completer, verifier, sampling)
    stored, answered = _read_stored(
        journal, prompts, completer, header=header, find_fault=find_fault
    )
    run = _Run(
        prompts if first is None else prompts[:first],
        completer,
        verifier,
        plan=plan,
        journal=journal,
        stored=stored,
        find_fault=find_fault,
        allowance=allowance,
        tally=Tally() if tally is None else tally,
    )
    if asked_path is not None and completer.is_billed:
        run.note_requests(AskedLog.open(asked_path, answered=answered))
    notify = on_progress or (lambda progress: None)
    notified = 0.0
    try:
        for answer in completer.complete(run, sampling):
            run.consume(answer)
            check_failures(run.tally, max_failed_share, stage, LEAST_FOR_A_SHARE)
            if time.monotonic() - notified > _PROGRESS_SECONDS:
                notify(run.progress(stage))
                notified = time.monotonic()
        run.settle_all()
    except BaseException as error:
        run.close(error)
        raise
    run.close(None)
    notify(run.progress(stage))
    run.refuse_stopped(stage)
    run.check_finished()
    check_failures(run.tally, max_failed_share, stage, 1)
    return run.outcome()


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
        stored: Mapping[SampleKey, Sample],
        find_fault: FaultFinder,
        allowance: Allowance | None,
        tally: Tally,
    ) -> None:
        self.tally = tally
        self._prompts = prompts
        self._plan = plan
        self._completer = completer
        self._verifier = verifier
        self._journal = journal
        self._stored = stored
        self._find_fault = find_fault
        self._allowance = allowance
        self._refusal: Stop | Wait | None = None
        self._asked: AskedLog | None = None
        self._keys: dict[tuple[str, int], SampleKey] = {}  # of what is in flight
        self._commits = GroupCommits[tuple[SampleKey, Sample]](journal)
        self._schedule = Schedule(
            prompts,
            plan,
            {key: sample.is_accepted for key, sample in stored.items()},
            samples_at_once=completer.samples_at_once,
            on_stored=lambda key: self._count(key, stored[key], is_resumed=True),
        )
        self._started = time.monotonic()
        if allowance is not None:  # what earlier tries spent is spent before anything is asked
            for sample in stored.values():
                allowance.add(sample.usage, sample.usd, unanswered=sample.unanswered)

    def note_requests(self, asked: AskedLog) -> None:
        """Note from now on what is asked, before it is sent."""
        self._asked = asked
        if self._allowance is not None:  # it may have been billed for nothing
            self._allowance.add(Usage(), 0.0, unanswered=asked.unanswered)

    def take(self, n: int) -> Sequence[Request]:
        """Count what has become safe, then say what is wanted next."""
        self._settle(self._commits.safe())
        n = min(n, self._allowed())
        if not n:
            return ()
        requests = self._take(n)
        if len(requests) < n and self._commits.is_waiting:
            # What is asked next may depend on verdicts that are about to be safe.
            self._settle(self._commits.wait())
            requests += self._take(n - len(requests))
        if requests and self._asked is not None:
            self._asked.note(requests)
        return requests

    def _take(self, n: int) -> list[Request]:
        requests = list(self._schedule.take(n))
        for request, key in zip(requests, self._schedule.last_taken, strict=True):
            self._keys[request.prompt.id, request.sample_index] = key
        return requests

    def seconds_to_wait(self) -> float | None:
        """Until the budget allows more; ``None`` when the work is done."""
        return self._refusal.seconds if isinstance(self._refusal, Wait) else None

    def consume(self, answer: Answer) -> None:
        """Judge and store one answer."""
        request = answer.request
        completion = without_lone_surrogates(answer.completion)
        key = self._keys.pop((request.prompt.id, request.sample_index))
        verdict = self._verifier.verify(request.prompt, completion)
        judged = JudgedTrace(
            Trace(
                request.prompt.id,
                request.sample_index,
                self._completer.model,
                completion,
                answer.receipt,
            ),
            verdict,
        )
        sample = Sample.of(judged, self._find_fault)
        self._commits.append(trace_line(judged), (key, sample))

    def settle_all(self) -> None:
        """Wait until every answer is safe, and count it."""
        self._settle(self._commits.wait())

    def close(self, error: BaseException | None) -> None:
        """Keep what is finished, whatever stopped the loop."""
        self._commits.close()
        if self._asked is not None:
            self._asked.close(error)
        self._journal.commit()

    def refuse_stopped(self, stage: str) -> None:
        """Say that a limit ended the run before its work was done.

        Raises:
            BudgetError: If one did.
        """
        if isinstance(self._refusal, Stop):
            stored = max(self.tally.samples, len(self._stored))
            raise budget_error(stage, self._refusal.why, stored, self._schedule.total)

    def check_finished(self) -> None:
        """Make sure that the completer left nothing undone.

        Raises:
            RuntimeError: If it ended with requests unanswered or not taken.
        """
        if self._schedule.in_flight or self._schedule.total != self.tally.samples:
            raise RuntimeError(
                f"the completer {self._completer.model} ended after {self.tally.samples} of"
                f" {self._schedule.total} samples, {self._schedule.in_flight} unanswered"
            )

    def progress(self, stage: str) -> Progress:
        """Where the run stands."""
        tally, total = self.tally, self._expected_total()
        figures = tally.figures(
            seconds=time.monotonic() - self._started,
            total=total,
            is_billed=self._completer.is_billed,
        )
        if isinstance(self._refusal, Wait):
            figures["waiting"] = self._refusal.why
        figures |= self._completer.progress_figures()
        return Progress(stage, tally.samples, total, tally.resumed, figures)

    def _expected_total(self) -> int:
        """Samples in all: known when all are drawn, else expected from the first of each prompt."""
        most, in_flight = self._schedule.total, self._schedule.in_flight
        expected = self.tally.expected_samples(len(self._prompts), self._plan)
        if expected is None or not in_flight:
            return most
        return max(min(most, expected), self.tally.samples + in_flight)

    def outcome(self) -> SamplingOutcome:
        """The totals, at the end."""
        schedule = self._schedule
        return SamplingOutcome.of(
            self.tally,
            figures_by_kind(
                self._prompts, schedule.samples_per_prompt, schedule.accepted_per_prompt
            ),
            unanswered=self._asked.unanswered if self._asked else 0,
            seconds=time.monotonic() - self._started,
            is_billed=self._completer.is_billed,
        )

    def _allowed(self) -> int:
        """Requests that the allowance leaves room for."""
        if self._allowance is None:
            return sys.maxsize
        in_flight = self._schedule.in_flight
        self._refusal = self._allowance.refusal(in_flight=in_flight)
        room = self._allowance.room(in_flight=in_flight)
        if self._refusal is not None:
            return 0
        return sys.maxsize if room is None else room

    def _settle(self, finished: Sequence[tuple[SampleKey, Sample]]) -> None:
        for key, sample in finished:
            self._schedule.settle(key, is_accepted=sample.is_accepted)
            self._count(key, sample, is_resumed=False)

    def _count(self, key: SampleKey, sample: Sample, *, is_resumed: bool) -> None:
        self.tally.add(sample, is_first=key.sample_index == 0, is_resumed=is_resumed)
        if self._allowance is not None and not is_resumed:
            self._allowance.add(sample.usage, sample.usd, unanswered=sample.unanswered)


def _read_stored(
    journal: Journal,
    prompts: Sequence[Prompt],
    completer: Completer,
    *,
    header: Mapping[str, object],
    find_fault: FaultFinder,
) -> tuple[dict[SampleKey, Sample], int]:
    """Samples that earlier tries left, and how many records of such there are.

    A sample that failed and was asked again has two. Writes the header of a new journal.
    """
    stored: dict[SampleKey, Sample] = {}
    if journal.safe_records == 0:
        journal.append(header)
        journal.commit()
        return stored, 0
    ranks = prompt_ranks(prompts)
    for line, record in enumerate(journal.records()):
        if line == 0:
            check_header(record, header, journal.path)
            continue
        place = f"{journal.path}:{line + 1}"
        judged = trace_from(record, place)
        sample = Sample.of(judged, find_fault)
        if not sample.is_failed:
            stored[key_of(judged, ranks, place)] = sample
    return stored, journal.safe_records - 1


def budget_error(stage: str, why: str, stored: int, most: int) -> BudgetError:
    """What to say when a limit ended a stage before its work was done."""
    return BudgetError(
        f"{stage} stopped: {why}; {stored:,} samples are stored, of {most:,} at most",
        hint="Raise the limit and run the same command again: it goes on from here.",
    )


def check_failures(tally: Tally, max_share: float, stage: str, least: int) -> None:
    """Stop a stage when too many of its samples failed.

    Args:
        tally: What is stored so far.
        max_share: Of failed samples.
        stage: Name for the error.
        least: Samples before a share says anything.

    Raises:
        StageError: If more failed than that.
    """
    if tally.samples >= least and tally.failed > max_share * tally.samples:
        raise StageError(
            f"{stage}: {tally.failed} of {tally.samples} samples failed, more than {max_share:.0%}"
            f" of them; the last one: {tally.last_error or 'see the journal'}",
            hint="Finished traces are kept: remove the cause and run the same command again.",
        )
