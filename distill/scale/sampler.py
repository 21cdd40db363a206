"""What a worker does with a block of prompts: the loop of one machine, into a journal of its own.

This module knows the teacher by who makes it, and the desk by its handle.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from distill.journal import Journal, wait_for_writer
from distill.layout import RunLayout
from distill.prompt_file import PromptFile
from distill.recipe import GenerateSection
from distill.sampling import sample_prompts
from distill.scale.blocks import PATIENCE_SECONDS, Block, requests_of, traces_of
from distill.scale.cluster import ask
from distill.scale.lease import LeasedAllowance
from distill.schedule import SamplingPlan
from distill.tally import FaultFinder, SamplingOutcome, Tally
from distill.types import Completer, Verifier

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sampler:
    """What every worker is told.

    Attributes:
        make_teacher: Makes the teacher, given ``on_notice``, with one worker's share of what the
            endpoint allows.
        make_verifier: Makes whoever judges.
        section: How many traces, and how they are drawn.
        seed: Of the draws.
        find_fault: What is wrong with the form of a finished completion.
        first: Sample so many prompts only; ``None`` for all.
        environment: Variables that the teacher reads, such as its key; never shown or stored.
    """

    make_teacher: Callable[..., Completer]
    make_verifier: Callable[[], Verifier]
    section: GenerateSection
    seed: int
    find_fault: FaultFinder
    first: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def plan(self) -> SamplingPlan:
        """How many samples each prompt gets."""
        return SamplingPlan(self.section.samples, self.section.until_correct)


@dataclass(frozen=True, slots=True)
class BlockResult:
    """What a block came to."""

    tally: Tally
    outcome: SamplingOutcome


class BlockSampler:
    """In a worker: samples blocks, one after the other."""

    def __init__(
        self,
        sampler: Sampler,
        paths: RunLayout,
        blocks: Sequence[Block],
        desk: Any,  # noqa: ANN401 - a handle of Ray
    ) -> None:
        """Make the teacher and open the prompts.

        Raises:
            DistillError: If a part of them is not there.
        """
        for name, value in sampler.environment.items():
            os.environ.setdefault(name, value)
        self._sampler, self._folder, self._blocks, self._desk = sampler, paths.blocks, blocks, desk
        self._notices: list[str] = []
        self._teacher = sampler.make_teacher(on_notice=self._notices.append)
        self._verifier = sampler.make_verifier()
        self._prompts = PromptFile(paths.train_prompts)

    def __call__(self, unit: int) -> BlockResult:
        """Sample one block, or what is left of it."""
        block, sampler, tally = self._blocks[unit], self._sampler, Tally()
        report = partial(ask, self._desk.report)
        allowance = LeasedAllowance(unit, tally, report, notices=self._notices)
        path = traces_of(self._folder, unit)
        wait_for_writer(path, PATIENCE_SECONDS)
        with Journal.open(path) as journal:
            try:
                outcome = sample_prompts(
                    self._prompts[block.begin : block.end],
                    self._teacher,
                    self._verifier,
                    sampling=sampler.section.sampling(sampler.seed),
                    plan=sampler.plan,
                    journal=journal,
                    stage="generate",
                    max_failed_share=1.0,  # the share of all blocks is what counts
                    asked_path=requests_of(self._folder, unit),
                    allowance=allowance,
                    first=None if sampler.first is None else max(sampler.first - block.begin, 0),
                    find_fault=sampler.find_fault,
                    tally=tally,
                )
            finally:
                allowance.close()
        return BlockResult(tally, outcome)
