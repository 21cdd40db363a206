"""The rules of the template check, each on its own: what is wrong, and what to do.

A rule looks at two short conversations that were rendered once (``Probe``) and yields what it
finds. ``students.template_check`` puts the rules together.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from distill.errors import ModelError
from distill.reasoning import THINK_CLOSE, THINK_OPEN
from distill.types import Message
from engine.chat_format import render_text
from students.template_probe import (
    NEXT_QUESTION,
    NEXT_REPLY,
    QUESTION,
    REPLY,
    SYSTEM,
    Probe,
    is_one_token,
    special_ids,
    token_ids,
)

_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found.

    Attributes:
        rule: Its name.
        problem: What is wrong.
        fix: What to do.
    """

    rule: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.problem} (rule '{self.rule}')"


def _reasoning(probe: Probe) -> Iterator[Finding]:
    """What was thought and answered reaches the row."""
    reasoning, answer = REPLY.reasoning or "", REPLY.content
    lost = [part for part in (reasoning, answer) if part not in probe.first.newest]
    if lost:
        what = "reasoning" if reasoning in lost else "answer"
        yield Finding("reasoning", f"the chat template drops the assistant's {what}", probe.ours)


def _think_tags(probe: Probe) -> Iterator[Finding]:
    """The reasoning stands between tags that open and close once."""
    row, reasoning = probe.first.newest, REPLY.reasoning or ""
    if reasoning not in row:
        return
    counts = row.count(THINK_OPEN), row.count(THINK_CLOSE)
    if counts != (1, 1):
        yield Finding(
            "think tags",
            f"a row with one reasoning has {counts[0]} {THINK_OPEN} and {counts[1]} {THINK_CLOSE}",
            "either the generation prompt opens the reasoning or the reply does, not both; "
            + probe.ours,
        )
    elif not row.index(THINK_OPEN) < row.index(reasoning) < row.index(THINK_CLOSE):
        yield Finding("think tags", "the reasoning stands outside its think tags", probe.ours)


def _prefix(probe: Probe) -> Iterator[Finding]:
    """The prompt of inference is how the training row begins, token for token."""
    turn = probe.first
    if turn.row_ids[: len(turn.prompt_ids)] == turn.prompt_ids:
        return
    if turn.row.startswith(turn.prompt):
        yield Finding(
            "prefix",
            f"the prompt ends with {turn.prompt[-_SHOWN_CHARACTERS:]!r}, inside a token of the row",
            "let the generation prompt end with a special token or a line break",
        )
        return
    place = _common(turn.prompt, turn.row)
    yield Finding(
        "prefix",
        f"the prompt goes on with {_start_of(turn.prompt[place:])} where the training row has "
        f"{_start_of(turn.row[place:])}",
        "let the template write the same before a reply as add_generation_prompt does; "
        + probe.ours,
    )


def _end(probe: Probe) -> Iterator[Finding]:
    """A reply ends with a token at which generation stops."""
    tail = probe.first.after_answer
    if probe.ends.intersection(token_ids(probe.tokenizer, tail)):
        return
    marker = tail.strip()
    if not marker:
        problem = "the chat template writes nothing after an answer: the student never stops"
    elif not is_one_token(probe.tokenizer, marker):
        pieces = len(token_ids(probe.tokenizer, marker))
        yield Finding(
            "special tokens",
            f"{_start_of(marker)} ends a turn but is {pieces} tokens of this tokenizer, not one",
            probe.ours,
        )
        return
    else:
        stops = ", ".join(sorted(map(probe.token, probe.ends))) or "nothing"
        problem = f"a turn ends with {marker!r}, and generation stops at {stops}"
    yield Finding(
        "end",
        problem,
        "the template must close a turn with a special token that is in eos_token_id of "
        "generation_config.json",
    )


def _early_stop(probe: Probe) -> Iterator[Finding]:
    """Generation does not stop inside a reply."""
    turn = probe.first
    answer_end = len(turn.row) - len(turn.after_answer)
    reply_ids = token_ids(probe.tokenizer, turn.row[len(turn.prompt) : answer_end])
    for token_id in probe.ends.intersection(reply_ids):
        yield Finding(
            "early stop",
            f"generation stops at {probe.token(token_id)!r}, which stands inside a reply",
            "take it out of eos_token_id in generation_config.json",
        )


def _after_end(probe: Probe) -> Iterator[Finding]:
    """After the end stands nothing, or white space."""
    tail = probe.first.after_answer
    marks = [mark for mark in map(probe.token, probe.ends) if mark in tail]
    if not marks:
        return
    rest = tail[min(tail.index(mark) + len(mark) for mark in marks) :]
    if rest.strip():
        yield Finding(
            "after end",
            f"the chat template writes {_start_of(rest)} after a finished turn",
            "end the turn with one end token; open the next turn only if add_generation_prompt",
        )


def _padding(probe: Probe) -> Iterator[Finding]:
    """PAD, which is masked, does not end a turn."""
    masked = probe.pads & probe.ends & set(token_ids(probe.tokenizer, probe.first.after_answer))
    for token_id in masked:
        yield Finding(
            "padding",
            f"PAD is the end token {probe.token(token_id)!r}: masked with the padding, it is never "
            "learnt and the student never stops",
            "give the tokenizer a pad_token of its own",
        )


def _bos(probe: Probe) -> Iterator[Finding]:
    """BOS stands once, in front, if the tokenizer puts it before every text."""
    bos = probe.tokenizer.bos_token_id
    if bos is None or bos in probe.ends:
        return
    row_ids = (probe.second or probe.first).row_ids
    places = [at for at, token_id in enumerate(row_ids) if token_id == bos]
    if places not in ([], [0]):
        where = f"{len(places)} times" if len(places) > 1 else "not in front"
        yield Finding(
            "bos",
            f"BOS {probe.token(bos)!r} stands {where} in a conversation",
            "let the template write bos_token once, before the first turn",
        )
    if not places and list(probe.tokenizer("x")["input_ids"])[:1] == [bos]:
        yield Finding(
            "bos",
            f"the chat template leaves out BOS {probe.token(bos)!r}, which the tokenizer puts "
            "before every other text",
            "begin the template with {{ bos_token }}",
        )


def _system(probe: Probe) -> Iterator[Finding]:
    """A given system prompt stands once, and in the place of a default one."""
    try:
        given = render_text(probe.tokenizer, [SYSTEM, QUESTION])
    except ModelError:
        return  # a note
    plain = render_text(probe.tokenizer, [QUESTION])
    count = given.count(SYSTEM.content)
    if count > 1:
        yield Finding("system", f"a system prompt is written {count} times", probe.ours)
    elif count and _has_default(probe, plain) and _marks(probe, given) > _marks(probe, plain):
        yield Finding(
            "system",
            "the template's own system prompt stays when another one is given",
            f"write the default only where messages hold no system turn; {probe.ours}",
        )


def _has_default(probe: Probe, plain: str) -> bool:
    """Whether anything but BOS stands before the header of a first question."""
    if probe.second is None:
        return False
    later = _before(probe.second.prompt, NEXT_QUESTION)
    first = _before(plain, QUESTION).removeprefix(str(probe.tokenizer.bos_token or ""))
    header = _common(first[::-1], later[::-1])
    return bool(first[: len(first) - header].strip())


def _marks(probe: Probe, text: str) -> int:
    """Special tokens before the first question: more of them are more turns."""
    marks = special_ids(probe.tokenizer)
    return sum(one in marks for one in token_ids(probe.tokenizer, _before(text, QUESTION)))


def _before(text: str, question: Message) -> str:
    return text[: max(0, text.find(question.content))]


def _multi_turn(probe: Probe) -> Iterator[Finding]:
    """A second turn is rendered as the first is, and the first one stays well formed."""
    turn = probe.second
    if turn is None:
        return  # a note
    history = _before(turn.prompt, NEXT_QUESTION)
    if NEXT_QUESTION.content not in turn.prompt:
        problem = "the second question does not reach the prompt"
    elif turn.row_ids[: len(turn.prompt_ids)] != turn.prompt_ids and not list(_prefix(probe)):
        problem = "the prompt of a second turn is not how its training row begins"
    elif NEXT_REPLY.content not in turn.newest or (
        str(NEXT_REPLY.reasoning) not in turn.newest and not list(_reasoning(probe))
    ):
        problem = "the second reply does not reach the row whole"
    elif history.count(THINK_OPEN) != history.count(THINK_CLOSE):
        problem = "an earlier reply has its think tags opened and closed unequally often"
    else:
        return
    yield Finding("multi-turn", problem, probe.ours)


def _common(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _start_of(text: str) -> str:
    return repr(text[:_SHOWN_CHARACTERS]) if text else "nothing"


RULES: tuple[Callable[[Probe], Iterator[Finding]], ...] = (
    *(_reasoning, _think_tags, _prefix, _end, _early_stop, _after_end),
    *(_padding, _bos, _system, _multi_turn),
)
