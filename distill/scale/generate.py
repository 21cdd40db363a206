"""Stage ``generate`` over workers: blocks of prompts, each sampled into a journal of its own.

A block is sampled by the loop that samples a run on one machine, with all that this means: what is
in its journal is never asked again, whoever goes on with it. What comes out of all blocks is the
journal that one machine would have written, in the order of the prompts.
"""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from distill.budget import Budget
from distill.errors import BudgetError, ClusterError, DistillError, StageError
from distill.generate import GenerateReport, refuse_without_gold, report_of
from distill.layout import RunLayout
from distill.prompt_file import PromptFile
from distill.sampling import LEAST_FOR_A_SHARE, ProgressListener, budget_error, check_failures
from distill.scale.blocks import Block, Stored, begin, cut, gather, spread
from distill.scale.cluster import Cluster, Size, ask
from distill.scale.desk import Desk, View
from distill.scale.probe import Probe
from distill.scale.sampler import BlockResult, BlockSampler, Notify, Sampler
from distill.scale.workers import Workers
from distill.tally import KindFigures, SamplingOutcome, Tally
from distill.traces import journal_header
from distill.types import Completer, Progress, Verifier


def generate_on(
    cluster: Cluster,
    sampler: Sampler,
    completer: Completer,
    verifier: Verifier,
    paths: RunLayout,
    *,
    size: Size,
    budget: Budget | None = None,
    on_progress: ProgressListener = lambda progress: None,
    on_notice: Notify = lambda text: None,
) -> GenerateReport:
    """Sample all prompts of a run over workers, or go on where an earlier try stopped.

    Args:
        cluster: Where the workers are.
        sampler: What they are told.
        completer: The teacher, as this machine knows it.
        verifier: Who judges.
        paths: Of the run, on a disk that all machines share, with its prompts.
        size: How many workers, and what each gets.
        budget: What may be spent by all of them; ``None`` for no limit.
        on_progress: Called as traces are stored.
        on_notice: Called with what the user should know.

    Raises:
        ClusterError: If workers do not start, or do not share the folder.
        StageError: If too many samples failed, or one part of the work kills its workers.
        DistillError: What ``generate`` raises.
    """
    paths = RunLayout(paths.root.resolve())
    sampling = sampler.section.sampling(sampler.seed)
    with PromptFile(paths.train_prompts) as prompts:
        refuse_without_gold(sampler.section, prompts)
        gather(paths, prompts)
        begin(paths.traces, journal_header(prompts, completer, verifier, sampling))
        blocks = cut(len(prompts), size.workers)

        def header_of(block: Block) -> Mapping[str, object]:
            part = prompts[block.begin : block.end]
            return journal_header(part, completer, verifier, sampling)

        stored = spread(paths, prompts, blocks, header_of)
        desk = cluster.start(Desk, budget, size.workers, size=Size(1, cpus=0))
        last = len(prompts) if sampler.first is None else min(sampler.first, len(prompts))
        make = partial(BlockSampler, sampler, paths, blocks, desk)
        with Probe(paths.scale) as probe:
            driver = _Driver(
                sampler,
                desk,
                prompts=last,
                stored=stored,
                is_billed=completer.is_billed,
                on_progress=on_progress,
                on_notice=on_notice,
            )
            workers = Workers[BlockResult](
                cluster,
                make,
                [block.number for block in blocks if block.begin < last],
                size=size,
                probe=probe,
                on_tick=driver.tick,
                on_death=driver.bury,
            )
            try:
                with workers:
                    outcome = driver.finish(workers)
            except (
                DistillError,
                KeyboardInterrupt,
            ):  # what is stored shall be found where it belongs
                if not driver.is_abandoned:
                    gather(paths, prompts)
                raise
        gather(paths, prompts)
    return report_of(outcome, completer, sampler.section)


class _Driver:
    """What the one who waits for the workers knows and says."""

    def __init__(
        self,
        sampler: Sampler,
        desk: Any,  # noqa: ANN401 - a handle of Ray
        *,
        prompts: int,
        stored: Stored,
        is_billed: bool,
        on_progress: ProgressListener,
        on_notice: Notify,
    ) -> None:
        self.is_abandoned = False
        self._sampler, self._desk, self._prompts, self._stored = sampler, desk, prompts, stored
        self._is_billed = is_billed
        self._on_progress, self._on_notice = on_progress, on_notice
        self._started = time.monotonic()
        self._workers: Workers[BlockResult] | None = None
        self._results: dict[int, BlockResult] = {}
        self._failure: BaseException | None = None
        self._is_interrupted = False

    def finish(self, workers: Workers[BlockResult]) -> SamplingOutcome:
        """Wait for all blocks; on Ctrl-C and at a limit, for what is under way."""
        self._workers = workers
        while True:
            try:
                for block, result in workers.results():
                    self._results[block] = result
                    ask(self._desk.release, block, is_finished=True)
                break
            except (ClusterError, StageError):
                raise
            except DistillError as failure:
                self._stop(failure)
            except KeyboardInterrupt as failure:
                if self._is_interrupted:
                    self.is_abandoned = True
                    raise
                self._is_interrupted = True
                self._on_notice(
                    "waiting for answers that are under way and will be billed; Ctrl-C again"
                    " leaves them"
                )
                self._stop(failure)
        view = self._look()
        if isinstance(self._failure, BudgetError):
            raise budget_error("generate", view.stopped, view.tally.samples, self._most)
        if self._failure is not None:
            raise self._failure
        return self._outcome()

    def tick(self) -> None:
        """Show where the run stands; stop it if too much fails."""
        view = self._look()
        for text in view.notices:
            self._on_notice(text)
        tally = view.tally
        share = self._sampler.section.max_failed_share
        check_failures(tally, share, "generate", LEAST_FOR_A_SHARE)
        expected = tally.expected_samples(self._prompts, self._sampler.plan)
        total = max(min(expected or self._most, self._most), tally.samples)
        seconds = time.monotonic() - self._started
        figures = tally.figures(seconds=seconds, total=total, is_billed=self._is_billed)
        if self._workers is not None:
            figures["workers"] = f"{self._workers.ready:,}"
        if view.waiting:
            figures["waiting"] = view.waiting
        self._on_progress(Progress("generate", tally.samples, total, tally.resumed, figures))

    def bury(self, block: int | None, why: str) -> None:
        """A worker died: what it had leased is free, and another goes on."""
        if block is not None:
            ask(self._desk.release, block, is_finished=False)
            self._on_notice(f"a worker ended ({why}); its block goes on with another")

    @property
    def _most(self) -> int:
        return self._prompts * self._sampler.plan.samples

    def _stop(self, failure: BaseException) -> None:
        self._failure = self._failure or failure
        ask(self._desk.stop, str(failure) or "interrupted")
        if self._workers is not None:
            self._workers.stop_handing_out()

    def _look(self) -> View:
        view: View = ask(self._desk.look)
        self._correct(view.tally)
        return view

    def _correct(self, tally: Tally) -> None:
        """What a worker took over from one that died is no work of an earlier try."""
        tally.resumed = min(tally.resumed, self._stored.samples)
        written = tally.usage.output_tokens - self._stored.output_tokens
        tally.new_tokens = max(tally.new_tokens, written)

    def _outcome(self) -> SamplingOutcome:
        tally, kinds, unanswered = Tally(), dict[str, KindFigures](), 0
        for _, result in sorted(self._results.items()):
            tally.merge(result.tally)
            unanswered += result.outcome.unanswered - result.tally.unanswered
            for kind in result.outcome.kinds:
                known = kinds.get(kind.kind)
                kinds[kind.kind] = kind if known is None else known + kind
        self._correct(tally)
        check_failures(tally, self._sampler.section.max_failed_share, "generate", 1)
        total = Progress("generate", tally.samples, tally.samples, tally.resumed)
        self._on_progress(total)
        return SamplingOutcome.of(
            tally,
            tuple(kinds.values()),
            unanswered=unanswered,
            seconds=time.monotonic() - self._started,
            is_billed=self._is_billed,
        )
