"""One prompt's traces, judged: verdicts, checks, which rule drops each, and which are chosen.

All rules are asked about all traces, so that a trace knows every fault that it has; what compares
traces (duplicates, choice) is asked about those without a fault only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from distill.dedup import Duplicate, duplicate_check, exact_duplicates, near_duplicates
from distill.filter_sections import FilterSection
from distill.filter_setup import FilterSetup
from distill.funnel import Counted
from distill.rules import (
    CORRECT,
    LABELS,
    LIMIT,
    PASS_RATE,
    compared_text,
    dropping_rules,
    trace_rules,
)
from distill.select import Choosable, Shingled, choose, passed_over
from distill.shingles import shingle, similarity
from distill.trace_files import Candidate
from distill.types import Check, Completion, Prompt, Verdict, Verifier

_FEW = 12
"""Up to so many traces of a prompt, comparing all pairs is faster than sketches."""
_BYTES_A_TOKEN = 4


@dataclass(slots=True)
class Judged:
    """A candidate and everything that was found about it.

    Attributes:
        candidate: The trace.
        verdict: Who judged and how.
        is_judged_here: Whether it was judged now and not before.
        pass_rate: Share of its prompt's judged traces that are right; ``None`` if none is judged.
        tokens: Its length, as the teacher counted or as its size suggests.
        checks: What every rule found, in order.
        failed: Names of the rules that drop it, in order; empty for one that is trained on.
        weight: In training.
    """

    candidate: Candidate
    verdict: Verdict
    is_judged_here: bool
    pass_rate: float | None
    tokens: int
    checks: list[Check] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    weight: float = 1.0

    @property
    def is_selected(self) -> bool:
        """Whether it is trained on."""
        return not self.failed

    def counted(self, source: str) -> Counted:
        """As a tally counts it."""
        return Counted(
            self.failed,
            self.tokens,
            self.pass_rate,
            self.candidate.source or source,
            self.verdict.is_accepted,
            self.is_judged_here,
        )


@runtime_checkable
class _GroupVerifier(Protocol):
    def verify_group(self, prompt: Prompt, completions: Sequence[Completion]) -> list[Verdict]: ...


class GroupJudge:
    """Judges the traces of one prompt after the other."""

    def __init__(self, setup: FilterSetup, verifier: Verifier | None = None) -> None:
        """Build the verifier, unless one is given, and the rules.

        Raises:
            DistillError: If the verifier or a file that the rules need is not there.
        """
        self._setup = setup
        self._verifier = verifier or setup.verifier()
        self._name = self._verifier.name
        self._rules = trace_rules(
            setup.rules,
            needs_box=setup.needs_box,
            count_tokens=setup.counter(),
            benchmarks=setup.benchmarks(),
        )
        labels = {rule.name for rule in LABELS}
        self._asked = [rule for rule in self._rules if rule.name not in labels]
        self._labels = [rule for rule in self._rules if rule.name in labels]
        self._drops = dropping_rules(setup.rules, [rule.name for rule in self._rules])

    @property
    def verifier(self) -> Verifier:
        """Who judges."""
        return self._verifier

    def close(self) -> None:
        """End what the verifier has started."""
        close = getattr(self._verifier, "close", None)
        if close is not None:
            close()

    def judge(self, group: Sequence[Candidate]) -> list[Judged]:
        """Judge and choose.

        Args:
            group: All traces of one prompt, in order.

        Raises:
            DataError: If the choice needs what the traces do not have.
        """
        judged = self._verified(group)
        for one in judged:
            for rule in self._asked:
                self._note(one, rule.check(one.candidate))
        self._check_correct(judged)
        self._drop_duplicates(judged)
        self._choose(judged)
        for one in judged:
            one.checks += [rule.check(one.candidate) for rule in self._labels]
            if one.verdict.is_accepted is False:
                one.weight = self._setup.rules.wrong_weight
        return judged

    def _verified(self, group: Sequence[Candidate]) -> list[Judged]:
        verdicts, are_new = self._verdicts(group)
        known = [one.is_accepted for one in verdicts if one.is_accepted is not None]
        rate = sum(known) / len(known) if known else None
        return [
            Judged(candidate, verdict, is_new, rate, token_count(candidate.trace.completion))
            for candidate, verdict, is_new in zip(group, verdicts, are_new, strict=True)
        ]

    def _verdicts(self, group: Sequence[Candidate]) -> tuple[list[Verdict], list[bool]]:
        """A verdict for each trace, and whether it is new.

        An unknown one that was stored is no verdict: a judge may have been asked since, and
        agreement needs all traces of a prompt.
        """
        prompt = group[0].prompt
        if isinstance(self._verifier, _GroupVerifier):
            completions = [one.trace.completion for one in group]
            return self._verifier.verify_group(prompt, completions), [True] * len(group)
        verdicts, is_new = [], []
        for one in group:
            stored = one.verdict
            if stored is None or stored.is_accepted is None or stored.verifier != self._name:
                stored = None
            verdicts.append(stored or self._verifier.verify(prompt, one.trace.completion))
            is_new.append(stored is None)
        return verdicts, is_new

    def _note(self, one: Judged, check: Check) -> None:
        one.checks.append(check)
        if not check.ok and check.name in self._drops:
            one.failed.append(check.name)

    def _check_correct(self, group: Sequence[Judged]) -> None:
        if "correct" in self._setup.rules.off:
            return
        has_right = any(one.verdict.is_accepted and not one.failed for one in group)
        for one in group:
            self._note(one, _correct(one.verdict, self._setup.rules, has_right=has_right))

    def _drop_duplicates(self, group: Sequence[Judged]) -> None:
        """Of two alike the first is kept, a right one before a wrong one."""
        off = self._setup.rules.off
        good = sorted(
            (one for one in group if one.is_selected), key=lambda one: not one.verdict.is_accepted
        )
        if "duplicate" not in off:
            self._note_duplicates(good, exact_duplicates([_text(one) for one in good]))
        good = [one for one in good if one.is_selected]
        if "near_duplicate" not in off and good:
            found = _near(good, self._setup.rules.near_duplicate, self._setup.seed)
            self._note_duplicates(good, found, is_near=True)

    def _note_duplicates(
        self, group: Sequence[Judged], found: Sequence[Duplicate | None], *, is_near: bool = False
    ) -> None:
        for one, duplicate in zip(group, found, strict=True):
            first = group[duplicate.of].candidate.trace.id if duplicate else ""
            self._note(one, duplicate_check(duplicate, first, is_near=is_near))

    def _choose(self, group: Sequence[Judged]) -> None:
        select = self._setup.select
        if (select.min_pass_rate, select.max_pass_rate) != (0.0, 1.0):
            for one in group:
                if one.is_selected:
                    self._note(one, _in_band(one, select.min_pass_rate, select.max_pass_rate))
        good = [one for one in group if one.is_selected]
        if not good:
            return
        options = [
            Choosable(one.candidate.trace.id, one.tokens, _text(one), one.candidate.divergence)
            for one in good
        ]
        chosen = choose(options, select, self._setup.seed, good[0].candidate.prompt.id)
        for place, one in enumerate(good):
            is_chosen = place in chosen
            reason = "" if is_chosen else passed_over(select)
            check = Check(LIMIT.name, LIMIT.version, None, select.per_prompt, is_chosen, reason)
            self._note(one, check)


def token_count(completion: Completion) -> int:
    """Tokens that were written, as the teacher counted; without that, a token is four bytes."""
    if completion.usage.output_tokens:
        return completion.usage.output_tokens
    texts = (completion.reasoning or "", completion.text)
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    return -(-size // _BYTES_A_TOKEN)


def _correct(verdict: Verdict, section: FilterSection, *, has_right: bool) -> Check:
    value = {True: "right", False: "wrong", None: "unknown"}[verdict.is_accepted]
    is_ok = (
        bool(verdict.is_accepted)
        or section.correct == "label"
        or (section.correct == "prefer" and not has_right)
    )
    reason = "" if is_ok else verdict.reason or "not accepted by the verifier"
    return Check(CORRECT.name, CORRECT.version, value, section.correct, is_ok, reason)


def _in_band(one: Judged, least: float, most: float) -> Check:
    rate = one.pass_rate
    is_ok = rate is None or least <= rate <= most
    reason = "" if is_ok else f"{100 * (rate or 0):.0f} % of the prompt's traces are right"
    return Check(PASS_RATE.name, PASS_RATE.version, rate, f"{least:g} to {most:g}", is_ok, reason)


def _text(one: Judged) -> str:
    return compared_text(one.candidate.trace.completion)


def _near(group: Sequence[Judged], threshold: float, seed: int) -> list[Duplicate | None]:
    """For each trace the first earlier kept one that is nearly the same."""
    texts = [_text(one) for one in group]
    if len(texts) > _FEW:
        return near_duplicates(texts, threshold=threshold, seed=seed)
    shingles = shingle(texts)
    sets = [shingles.of(place) for place in range(len(texts))]
    kept: list[int] = []
    found: list[Duplicate | None] = []
    for place, own in enumerate(sets):
        duplicate = next(_alike(sets, own, kept, threshold), None)
        found.append(duplicate)
        if duplicate is None:
            kept.append(place)
    return found


def _alike(
    sets: Sequence[Shingled], own: Shingled, kept: Sequence[int], threshold: float
) -> Iterator[Duplicate]:
    for other in kept:
        if min(own.size, sets[other].size) >= threshold * max(own.size, sets[other].size):
            value = similarity(own, sets[other])
            if value >= threshold:
                yield Duplicate(other, value)
