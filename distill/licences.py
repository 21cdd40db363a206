"""What the terms of a base and a teacher mean for a student: its name, its use, whether it may be.

Facts about known models lie in ``licences.toml``. A model that is not in it is no reason to stop:
it is said that nothing is known. This is no legal advice; the terms themselves decide.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Final, Literal

from distill.errors import LicenceError

ACCEPT_OPTION: Final = "--accept-licence-risk"
EMBEDDED: Final = "distill-embedded-model"
"""What the models that ship with the package are called here."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of some models.

    Attributes:
        match: Patterns of their names, in lower case.
        title: Of the licence or the terms.
        licence: As the Hub names it, such as ``"apache-2.0"``; ``"other"`` for one without a name.
        outputs: Whether another model may learn from outputs.
        source: Where they stand.
        as_of: When they were looked at.
        prefix: What the name of a model that is made with it begins with; empty for anything.
        badge: What such a model shows; empty for nothing.
        use: ``"research"`` where anything else is forbidden; empty for anything.
        clause: What restricts, in our words; empty if nothing does.
    """

    match: Sequence[str]
    title: str
    licence: str
    outputs: Literal["allowed", "forbidden"]
    source: str
    as_of: date
    prefix: str = ""
    badge: str = ""
    use: str = ""
    clause: str = ""


@dataclass(frozen=True, slots=True)
class Concern:
    """Why a student should not go out as it is.

    Attributes:
        model: Whose terms say so.
        problem: What they say.
        fix: What to do.
        source: Where they stand.
    """

    model: str
    problem: str
    fix: str
    source: str


@dataclass(frozen=True, slots=True)
class LicenceView:
    """What a student may be called and used for.

    Attributes:
        licence: Of the student, as the Hub names it.
        title: The same for people.
        use: What it may be used for, in a few words.
        badges: What its page shows.
        concerns: What stops it, unless the user takes the risk.
        unknown: Models whose terms nobody here knows.
    """

    licence: str
    title: str
    use: str
    badges: tuple[str, ...]
    concerns: tuple[Concern, ...]
    unknown: tuple[str, ...]

    def require(self, *, accepted: bool) -> None:
        """Stop unless nothing is in the way, or the user takes the risk.

        Raises:
            LicenceError: With every clause.
        """
        if not self.concerns or accepted:
            return
        lines = [f"\n  {one.model}: {one.problem} ({one.source})" for one in self.concerns]
        fixes = "; ".join(dict.fromkeys(one.fix for one in self.concerns))
        raise LicenceError(
            f"terms stand in the way:{''.join(lines)}",
            hint=f"{fixes}. To go on at your own risk: {ACCEPT_OPTION}",
        )


def terms_of(model: str) -> Terms | None:
    """The terms of a model by its name; ``None`` if it is not known.

    Example:
        >>> terms_of("meta-llama/Llama-3.1-8B").prefix, terms_of("someone/something")
        ('Llama', None)
    """
    name = model.lower()
    return next(
        (one for one in _known() if any(fnmatchcase(name, pattern) for pattern in one.match)), None
    )


def licence_view(name: str, base: str, teachers: Sequence[str]) -> LicenceView:
    """What the terms of a base and its teachers mean for a student.

    Args:
        name: What the student is to be called, without its owner.
        base: Name of the base model; empty if nobody knows.
        teachers: Models whose outputs it learnt from.
    """
    found = {model: terms_of(model) for model in [base, *teachers] if model}
    own = found.get(base)
    concerns = []
    for model, terms in found.items():
        if terms is None:
            continue
        if model != base and terms.outputs == "forbidden":
            concerns.append(Concern(model, terms.clause, "choose another teacher", terms.source))
        if terms.use:
            fix = "keep it to yourself for research, or choose another base"
            concerns.append(Concern(model, terms.clause, fix, terms.source))
        if terms.prefix and not name.startswith(terms.prefix):
            fix = f"call it {terms.prefix}-{name}"
            concerns.append(Concern(model, terms.clause, fix, terms.source))
    uses = {terms.use for terms in found.values() if terms and terms.use}
    badges = {terms.badge: None for terms in found.values() if terms and terms.badge}
    return LicenceView(
        licence=own.licence if own else "other",
        title=own.title if own else "not known: that of the base",
        use=f"{', '.join(sorted(uses))} only" if uses else "as the licence of the base allows",
        badges=tuple(badges),
        concerns=tuple(dict.fromkeys(concerns)),
        unknown=tuple(model for model, terms in found.items() if terms is None),
    )


@cache
def _known() -> tuple[Terms, ...]:
    text = (files("distill") / "licences.toml").read_text(encoding="utf-8")
    return tuple(Terms(**table) for table in tomllib.loads(text)["terms"])
