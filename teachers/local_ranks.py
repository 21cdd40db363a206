"""A local teacher whose model lies on several ranks: tensor and expert parallel.

Rank 0 is the process that was asked: it takes the requests, draws the tokens and verifies. The
others hold their shares of the weights and of the cache, and do what it tells them, step by step
(``engine.ranks_runner``). They are started when there is something to sample and end with it, or
were started by a launcher and are let go.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import distributed

from distill.errors import DistillError, RecipeError, StageError
from distill.local_section import LocalTeacher as LocalSection
from distill.storage import make_folder
from distill.types import Answer, RequestSource, Sampling
from engine.completer import SAMPLES_AT_ONCE, LocalCompleter
from engine.launched import Launched
from engine.meeting import Meeting
from engine.member import Member
from engine.processes import Processes, loopback
from engine.ranks_life import Lookout, showing_life
from engine.ranks_line import Line
from engine.ranks_runner import follow
from engine.runner import make_runner
from teachers.local_folder import model_folder, model_name, teacher_fingerprint
from teachers.local_share import Share, check_share, load_share

ORDER = "teach"
_SLACK_SECONDS = 10.0
"""An exchange fails so much later than rank 0 finds out why."""


class RankedTeacher:
    """A completer over a model on several ranks."""

    samples_at_once = SAMPLES_AT_ONCE
    is_billed = False

    def __init__(
        self,
        section: LocalSection,
        team: Processes | Launched,
        *,
        batch_size: int,
        on_notice: Callable[[str], None] = lambda text: None,
        logs: Path | None = None,
    ) -> None:
        """Take the recipe's choice; nothing is started or loaded yet.

        Args:
            section: The recipe's choice.
            team: Who shares the model.
            batch_size: Completions that are decoded at once.
            on_notice: Called with what the user should know.
            logs: Folder that keeps what a rank that failed has printed.

        Raises:
            ModelError: If files are missing, or the model cannot be shared out so.
        """
        folder = model_folder(section)
        self.model = model_name(section)
        self.fingerprint = teacher_fingerprint(section, folder)
        # Others need no name of the model, but the place where it is on this machine.
        self._section = section.model_copy(update={"model": str(folder.absolute())})
        for note in check_share(self._section, *_sizes(team)):
            on_notice(f"{self.model}: {note}")
        self._team = team
        self._batch_size = batch_size
        self._logs = logs
        self._figures: Mapping[str, str] = {}

    def progress_figures(self) -> Mapping[str, str]:
        """How many processes work on it, once they do."""
        return self._figures

    def complete(self, source: RequestSource, sampling: Sampling) -> Iterator[Answer]:
        """Gather the ranks, load the model, answer all that the source wants, let them go.

        Raises:
            ModelError: If the model cannot be loaded.
            StageError: If a rank dies or stops.
        """
        with _gathered(self._team, self._section, self._logs) as (meeting, members):
            line = Line()
            lookout = Lookout(meeting, line, members, self._section.stall_seconds)
            with lookout.looking(), showing_life(meeting, line):
                yield from self._lead(meeting, line, lookout, source, sampling)

    def _lead(
        self,
        meeting: Meeting,
        line: Line,
        lookout: Lookout,
        source: RequestSource,
        sampling: Sampling,
    ) -> Iterator[Answer]:
        with taking_part(meeting, self._section, lookout.check) as (share, budget_tokens):
            self._figures = {"processes": str(meeting.size)}
            completer = LocalCompleter(
                share.loaded.model,
                share.loaded.tokenizer,
                name=self.model,
                fingerprint=self.fingerprint,
                batch_size=self._batch_size,
                budget_tokens=budget_tokens,
                line=line,
            )
            with line.pulsing(self._section.stall_seconds):
                yield from completer.complete(source, sampling)


def follow_teacher(order: str, meeting: Meeting) -> None:
    """Be one of the other ranks of a teacher, until rank 0 has no more to ask for.

    Raises:
        StageError: If another rank is gone.
        DistillError: If the model cannot be loaded here.
    """
    section = LocalSection.model_validate_json(order)
    line = Line()
    try:
        with (
            showing_life(meeting, line),
            taking_part(meeting, section) as (share, budget_tokens),
        ):
            runner = make_runner(share.loaded.model, budget_tokens)
            follow(runner, line, parameters=share.loaded.model.num_parameters())
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise StageError(
            f"rank {meeting.rank} of {meeting.size} cannot go on after step {line.steps}: "
            f"{str(error).splitlines()[0]}",
            hint="another rank has died, or was silent for longer than teacher.stall_seconds "
            f"({section.stall_seconds:g}); its own output says more",
        ) from error


@contextmanager
def taking_part(
    meeting: Meeting, section: LocalSection, look: Callable[[], None] = lambda: None
) -> Iterator[tuple[Share, int]]:
    """This rank's share of the model while the block runs, and tokens that all have room for.

    Args:
        meeting: Of the ranks, for this alone.
        section: The recipe's choice.
        look: Called while others are waited for; ends the wait by raising.
    """
    meeting.gather("here", look)
    with meeting.group(section.stall_seconds + _SLACK_SECONDS):
        share = load_share(section, meeting)
        meeting.gather("loaded", look)
        budget = torch.tensor(share.budget_tokens())
        distributed.all_reduce(budget, op=distributed.ReduceOp.MIN)
        yield share, int(budget)


@contextmanager
def _gathered(
    team: Processes | Launched, section: LocalSection, logs: Path | None
) -> Iterator[tuple[Meeting, Sequence[Member]]]:
    """The other ranks, on their way to this one; those started here are gone with the block."""
    text = section.model_dump_json()
    if isinstance(team, Launched):
        yield team.order(ORDER, text), ()
        return
    for name, value in loopback().items():
        os.environ.setdefault(name, value)
    meeting = Meeting.host(team.count)
    with _rank_logs(logs) as folder:
        members = []
        try:
            for rank in range(1, team.count):
                member = Member.start(
                    "teachers.local_rank",
                    rank,
                    [text, meeting.port, rank, team.count],
                    log=folder / f"rank-{rank}.log",
                    environment=team.environment(rank),
                )
                members.append(member)
            yield meeting, members
        finally:
            for member in members:
                member.bury()


@contextmanager
def _rank_logs(kept: Path | None) -> Iterator[Path]:
    """Where ranks write what they print; all is gone with the block but a log that its error names.

    Args:
        kept: A folder for them, in which the next try overwrites what a kill has left.
    """
    folder, named = kept or Path(tempfile.mkdtemp(prefix="distill-ranks-")), ""
    make_folder(folder)
    try:
        yield folder
    except DistillError as error:
        named = error.hint
        raise
    finally:
        for log in folder.glob("rank-*.log"):
            if str(log) not in named:
                log.unlink()
        with suppress(OSError):  # it is not empty
            folder.rmdir()


def _sizes(team: Processes | Launched) -> tuple[int, int]:
    """All ranks, and those on this machine."""
    if isinstance(team, Launched):
        return team.meeting.size, team.meeting.neighbours
    return team.count, team.count


def team_of(count: int) -> Processes:
    """So many processes of this machine, each with a GPU of its own if there are any.

    Raises:
        RecipeError: If there are GPUs, but too few.
    """
    if not torch.cuda.is_available():
        return Processes.on_cpu(count)
    found = torch.cuda.device_count()
    if count > found:
        raise RecipeError(
            f"teacher.processes = {count}: this machine has {found} GPUs, and each process needs "
            "one",
            hint=f"use {found} processes at most here, or several machines with torchrun; with "
            'CUDA_VISIBLE_DEVICES="" they share the CPU',
        )
    return Processes.on_gpus(count)
