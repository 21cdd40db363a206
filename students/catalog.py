"""The students that are known: built how, spoken to how, licensed how, trained how by others.

The facts lie in ``catalog.toml``; here they get types. This module loads neither torch nor
transformers, so that a listing or a memory plan answers at once.
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from distill.errors import ModelError

Form = Literal["base", "chat"]
ModelType = Literal["qwen2", "qwen3", "llama"]
_FORMS: tuple[Form, ...] = ("base", "chat")


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a dense decoder is built like: all that its size in memory follows from.

    Attributes:
        model_type: As its config says it.
        layers: Decoder layers.
        hidden: Width of the residual stream.
        heads: Query heads of a layer.
        kv_heads: Key and value heads of a layer.
        head_dim: Width of a head.
        intermediate: Width of the MLP.
        vocabulary: Rows of the embedding, unused ones included.
        is_tied: Whether input and output embedding are one matrix.
        context_tokens: Positions that it was made for.
    """

    model_type: ModelType
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    is_tied: bool
    context_tokens: int

    @property
    def parameters(self) -> int:
        """Weights in all, exactly."""
        embeddings = self.vocabulary * self.hidden * (1 if self.is_tied else 2)
        return embeddings + self.layers * self.layer_parameters + self.hidden

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer: attention, MLP, norms."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = self.hidden * (2 * queries + 2 * keys)
        if self.model_type == "qwen2":
            attention += queries + 2 * keys  # biases
        if self.model_type == "qwen3":
            attention += 2 * self.head_dim  # norms of queries and keys
        return attention + 3 * self.hidden * self.intermediate + 2 * self.hidden


@dataclass(frozen=True, slots=True)
class PublishedSettings:
    """How others trained a student of this size; what they did not say is ``None`` or empty.

    Attributes:
        run: What came of it.
        method: ``"full"`` or ``"lora"``.
        learning_rate: At its peak.
        source: Where this is from, and whether it was read there.
        epochs: Passes, such as ``"2-3"``.
        steps: Optimizer steps.
        batch_examples: Examples of a step.
        length_tokens: Longest example.
        warmup_share: Of the steps.
        final_lr_share: Of the peak.
        lora_r: Rank of the adapter.
    """

    run: str
    method: Literal["full", "lora"]
    learning_rate: float
    source: str
    epochs: str = ""
    steps: int | None = None
    batch_examples: int | None = None
    length_tokens: int | None = None
    warmup_share: float | None = None
    final_lr_share: float | None = None
    lora_r: int | None = None


@dataclass(frozen=True, slots=True)
class KnownStudent:
    """One published model that a student may start from.

    Attributes:
        name: On the Hub, such as ``"Qwen/Qwen2.5-7B"``.
        family: Such as ``"Qwen2.5"``.
        size: Such as ``"7B"``.
        form: ``"base"``, or ``"chat"`` after post-training.
        architecture: What it is built like.
        template: Our chat template for its family, in ``students/templates``.
        has_template: Whether it is published with one of its own.
        turn_end: Token that ends a turn.
        text_end: Token that ends a text.
        pad: Token that padding is made of; empty if it has none.
        think_tokens: Whether a think tag is one token.
        licence: Name of the licence.
        licence_note: What it asks, in a few words; empty if nothing much.
        is_gated: Whether its terms must be agreed to before it can be fetched.
        note: A trap.
        settings: Published ones, of this size.
        as_of: When the facts were looked at.
    """

    name: str
    family: str
    size: str
    form: Form
    architecture: Architecture
    template: str
    has_template: bool
    turn_end: str
    text_end: str
    pad: str
    think_tokens: bool
    licence: str
    licence_note: str
    is_gated: bool
    note: str
    settings: tuple[PublishedSettings, ...]
    as_of: date

    @property
    def short_name(self) -> str:
        """The name without its owner."""
        return self.name.rpartition("/")[2]


@cache
def catalog() -> Mapping[str, KnownStudent]:
    """All students by name, smallest first in each family, a base before its chat form."""
    text = (files("students") / "catalog.toml").read_text(encoding="utf-8")
    families = tomllib.loads(text).items()
    students = [student for name, table in families for student in _students(name, table)]
    return {student.name: student for student in students}


def known_student(name: str) -> KnownStudent | None:
    """The student of a name, its owner given or not; ``None`` if it is not in the catalogue."""
    wanted = name.lower()
    named = (one for one in catalog().values() if wanted in (one.name.lower(), _short(one)))
    return next(named, None)


def find_student(name: str) -> KnownStudent:
    """The same, where nothing else will do.

    Raises:
        ModelError: If it is unknown; names the likeliest.
    """
    if found := known_student(name):
        return found
    close = close_names(name)
    meant = f"; did you mean {' or '.join(close)}?" if close else ""
    raise ModelError(
        f"'{name}' is not in the catalogue{meant}",
        hint="`distill students` lists it. Any other causal language model with a chat template "
        'works as student.kind = "hub" or "local".',
    )


def close_names(name: str) -> list[str]:
    """Names of the catalogue that look like this one, the likeliest first."""
    by_short = {_short(one): one.name for one in catalog().values()}
    close = difflib.get_close_matches(name.lower().rpartition("/")[2], by_short, n=3)
    return [by_short[one] for one in close]


def _short(student: KnownStudent) -> str:
    return student.short_name.lower()


def _students(family: str, table: Mapping[str, Any]) -> list[KnownStudent]:
    shared = dict(table)
    sizes, settings = shared.pop("sizes"), shared.pop("settings", [])
    return [
        _student(family, form, {**shared, **size}, settings)
        for size in sizes
        for form in _FORMS
        if form in size
    ]


def _student(
    family: str, form: Form, facts: Mapping[str, Any], settings: list[dict[str, Any]]
) -> KnownStudent:
    size = facts["size"]
    names = ("layers", "hidden", "heads", "kv_heads", "head_dim", "intermediate", "vocabulary")
    return KnownStudent(
        name=facts[form],
        family=family,
        size=size,
        form=form,
        architecture=Architecture(
            model_type=facts["model_type"],
            is_tied=facts["is_tied"],
            context_tokens=facts["context_tokens"][form],
            **{name: facts[name] for name in names},
        ),
        template=facts["template"],
        has_template=facts["has_template"][form],
        turn_end=facts["turn_end"],
        text_end=facts["text_end"],
        pad=facts.get("pad", ""),
        think_tokens=facts["think_tokens"],
        licence=facts["licence"],
        licence_note=facts.get("licence_note", ""),
        is_gated=facts.get("is_gated", False),
        note=facts.get("note", ""),
        settings=tuple(_published(one) for one in settings if size in one["sizes"]),
        as_of=facts["as_of"],
    )


def _published(table: Mapping[str, Any]) -> PublishedSettings:
    return PublishedSettings(**{name: value for name, value in table.items() if name != "sizes"})
