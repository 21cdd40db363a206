"""A large model on this machine as a teacher: any architecture, alone or on several ranks.

Its answers carry what they cost, where the recipe says what an hour of a GPU does.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import torch

from distill.local_section import LocalTeacher as LocalSection
from distill.types import Answer, Completer, Receipt, RequestSource, Sampling
from engine.completer import LocalCompleter
from engine.launched import Launched
from teachers.local_folder import model_name, teacher_fingerprint
from teachers.local_weights import load_weights

_HOUR: Final = 3600.0


def open_local(
    section: LocalSection,
    *,
    batch_size: int,
    on_notice: Callable[[str], None],
    launched: Launched | None = None,
    logs: Path | None = None,
) -> Completer:
    """Make a local teacher ready; one on several ranks is loaded when it is asked.

    Args:
        section: The recipe's choice.
        batch_size: Completions that are decoded at once.
        on_notice: Called with what the user should know.
        launched: Processes that a launcher has started with this one; they share the model.
        logs: Folder that keeps what a process that failed has printed.

    Raises:
        ModelError: If the model is missing, broken, unknown, or does not fit.
        RecipeError: If there are GPUs, but fewer than processes.
    """
    completer: Completer
    if launched is not None or section.processes > 1:
        from teachers.local_ranks import RankedTeacher, team_of

        team = launched or team_of(section.processes)
        completer = RankedTeacher(
            section, team, batch_size=batch_size, on_notice=on_notice, logs=logs
        )
    else:
        loaded = load_weights(section, on_notice)
        completer = LocalCompleter(
            loaded.model,
            loaded.tokenizer,
            name=model_name(section),
            fingerprint=teacher_fingerprint(section, loaded.folder),
            batch_size=batch_size,
        )
    if section.usd_per_gpu_hour is None:
        return completer
    ranks = section.processes if launched is None else launched.meeting.size
    # Without GPUs it is one machine that is paid for, however many processes share it.
    gpus = max(ranks, torch.cuda.device_count()) if torch.cuda.is_available() else 1
    return PricedCompleter(completer, usd_per_second=section.usd_per_gpu_hour * gpus / _HOUR)


class PricedCompleter:
    """A completer by the hour: each answer pays for the machine's time since the last one."""

    is_billed = True

    def __init__(self, completer: Completer, *, usd_per_second: float) -> None:
        """Take who answers, and what the machine costs."""
        self.model = completer.model
        self.fingerprint = completer.fingerprint
        self.samples_at_once = completer.samples_at_once
        self._completer = completer
        self._usd_per_second = usd_per_second

    def progress_figures(self) -> Mapping[str, str]:
        """Those of who answers."""
        return self._completer.progress_figures()

    def complete(self, source: RequestSource, sampling: Sampling) -> Iterator[Answer]:
        """Add a receipt to each answer; its seconds are its share of the machine's time."""
        paid_until = time.monotonic()
        for answer in self._completer.complete(source, sampling):
            now = time.monotonic()
            seconds, paid_until = now - paid_until, now
            at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            yield replace(answer, receipt=Receipt(at, seconds, usd=seconds * self._usd_per_second))
