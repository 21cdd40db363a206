"""What a chat template puts around each turn, found by rendering it.

Ollama writes prompts with a template language of its own. The texts around a system, a user and an
assistant turn are read off the model's template with marked contents; then conversations put
together from them are compared with what the template renders.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from distill.errors import ModelError

_SYSTEM, _USER, _ASSISTANT, _NEXT = "[[SYSTEM]]", "[[USER]]", "[[ASSISTANT]]", "[[NEXT]]"
Turn = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Around:
    """The text before and after the content of a turn."""

    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Turns:
    """A chat template taken apart.

    Attributes:
        begin: At the very beginning, such as the token that opens a text.
        default_system: What stands where no system turn is given.
        system: Around a system turn; ``None`` if the template has none.
        user: Around a user turn.
        assistant: Around an assistant turn of an earlier round.
        reply: What stands before the reply that is to be written.
        forgets: Whether earlier rounds are left out of the prompt.
        is_exact: Whether these parts give the template's own text in conversations of two rounds.
    """

    begin: str
    default_system: str
    system: Around | None
    user: Around
    assistant: Around
    reply: str
    forgets: bool
    is_exact: bool

    def render(self, turns: Sequence[Turn]) -> str:
        """A prompt, put together from the parts."""
        shown = turns[-1:] if self.forgets else turns
        has_system = any(role == "system" for role, _ in shown)
        text = self.begin + ("" if has_system else self.default_system)
        around = {"system": self.system, "user": self.user, "assistant": self.assistant}
        for role, content in shown:
            part = around[role]
            text += f"{part.before}{content}{part.after}" if part else ""
        return text + self.reply


class ChatTemplate:
    """A chat template with the special tokens that it may name."""

    def __init__(self, source: str, *, bos_token: str = "", eos_token: str = "") -> None:
        """Compile it.

        Raises:
            ModelError: If it is not a template.
        """
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda _format: ""
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ModelError(f"the chat template cannot be read: {error}") from error
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        self.bos_token = bos_token

    def render(self, turns: Sequence[Turn], *, reply: bool = True) -> str:
        """What the model reads.

        Raises:
            TemplateError: If the template refuses such a conversation.
        """
        messages: list[dict[str, Any]] = [
            {"role": role, "content": content} for role, content in turns
        ]
        return self._template.render(
            messages=messages, add_generation_prompt=reply, tools=None, **self._tokens
        )


def take_apart(template: ChatTemplate) -> Turns | None:
    """Find what stands around the turns; ``None`` if the template works otherwise."""
    user: Turn = ("user", _USER)
    alone, with_reply = template.render([user], reply=False), template.render([user])
    if alone.count(_USER) != 1 or not with_reply.startswith(alone):
        return None
    head, after = alone.split(_USER)
    begin = template.bos_token if head.startswith(template.bos_token) else ""
    head = head.removeprefix(begin)
    two_rounds = [user, ("assistant", _ASSISTANT), ("user", _NEXT)]
    later = template.render(two_rounds, reply=False)
    forgets = _USER not in later or _ASSISTANT not in later
    assistant, before = Around("", ""), head
    if not forgets:
        opening = later[later.index(_USER) + len(_USER) + len(after) : later.index(_ASSISTANT)]
        between = later[later.index(_ASSISTANT) + len(_ASSISTANT) : later.index(_NEXT)]
        before = _common_end(head, between)
        assistant = Around(opening, between.removesuffix(before))
    turns = Turns(
        begin=begin,
        default_system=head.removesuffix(before),
        system=_system(template, begin, before),
        user=Around(before, after),
        assistant=assistant,
        reply=with_reply.removeprefix(alone),
        forgets=forgets,
        is_exact=False,
    )
    conversations: list[list[Turn]] = [[user], two_rounds]
    if turns.system is not None:
        conversations.append([("system", _SYSTEM), *two_rounds])
    is_exact = all(turns.render(each) == template.render(each) for each in conversations)
    return Turns(**{name: getattr(turns, name) for name in _KEPT}, is_exact=is_exact)


_KEPT = [name for name in Turns.__slots__ if name != "is_exact"]


def _system(template: ChatTemplate, begin: str, before_user: str) -> Around | None:
    try:
        text = template.render([("system", _SYSTEM), ("user", _USER)], reply=False)
    except TemplateError:
        return None
    if _SYSTEM not in text:
        return None
    before, rest = text.removeprefix(begin).split(_SYSTEM, 1)
    return Around(before, rest.partition(_USER)[0].removesuffix(before_user))


def _common_end(first: str, second: str) -> str:
    length = 0
    while length < min(len(first), len(second)) and first[-1 - length] == second[-1 - length]:
        length += 1
    return first[len(first) - length :]


def _refuse(message: str) -> None:
    raise TemplateError(message)
