"""Two short conversations through a chat template: what the rules of the template check look at.

    system?  question  [reasoning, answer]  question  [reasoning, answer]
             <---- prompt --><-- reply --->

Each turn is rendered twice, as inference reads it and as training does. This module knows how to
render and where to look, nothing of what is right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import GenerationConfig, PreTrainedTokenizerBase

from distill.errors import ModelError
from distill.types import Message
from engine.chat_format import render_text

# Which token of a tokenizer tells that one of our templates is made for its family.
_OURS = {
    "r1": "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "chatml": "<|im_end|>",
    "llama3": "<|eot_id|>",
}
SYSTEM = Message("system", "Answer in one line.")
QUESTION = Message("user", "What is 1 + 1?")
REPLY = Message("assistant", "The answer is 2.", reasoning="first thought", is_trained=True)
NEXT_QUESTION = Message("user", "What is 3 + 4?")
NEXT_REPLY = Message("assistant", "The sum is 7.", reasoning="second thought", is_trained=True)


@dataclass(frozen=True, slots=True)
class Turn:
    """One reply: the prompt before it, and the row that is trained on.

    Attributes:
        question: What the user asked last.
        message: The reply itself.
        prompt: As inference reads it, up to where the model goes on.
        row: As training reads it, the reply included.
        prompt_ids: Tokens of ``prompt``.
        row_ids: Tokens of ``row``.
    """

    question: Message
    message: Message
    prompt: str
    row: str
    prompt_ids: list[int]
    row_ids: list[int]

    @property
    def newest(self) -> str:
        """The row from the last question on, the reply included."""
        return self.row[max(0, self.row.rfind(self.question.content)) :]

    @property
    def after_answer(self) -> str:
        """What the template writes after the answer."""
        return self.row[self.row.rfind(self.message.content) + len(self.message.content) :]


@dataclass(frozen=True, slots=True)
class Probe:
    """A tokenizer with its template, rendered once for all rules.

    Attributes:
        tokenizer: With a chat template.
        ends: Tokens at which generation stops.
        pads: Tokens that padding is made of.
        first: A question and its reply.
        second: The same after an earlier turn; ``None`` if the template refuses one.
        ours: The fix that most findings share.
    """

    tokenizer: PreTrainedTokenizerBase
    ends: frozenset[int]
    pads: frozenset[int]
    first: Turn
    second: Turn | None
    ours: str

    def token(self, token_id: int) -> str:
        """How a token is written."""
        return str(self.tokenizer.convert_ids_to_tokens(token_id))


def make_probe(tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig) -> Probe:
    """Render what the rules look at.

    Raises:
        ModelError: If there is no template, or it refuses a question and its answer.
    """
    pads = {tokenizer.pad_token_id, generation_config.pad_token_id}
    try:
        second = probe_turn(tokenizer, [QUESTION, REPLY, NEXT_QUESTION], NEXT_REPLY)
    except ModelError:
        second = None
    return Probe(
        tokenizer,
        ends=end_ids(generation_config),
        pads=frozenset(pad for pad in pads if pad is not None),
        first=probe_turn(tokenizer, [QUESTION], REPLY),
        second=second,
        ours=suggestion(tokenizer),
    )


def suggestion(tokenizer: PreTrainedTokenizerBase) -> str:
    """What to do about a template that cannot be trained on."""
    known = tokenizer.get_vocab()
    for name, token in _OURS.items():
        if token in known:
            return f'set student.template = "{name}", which is made for this family'
    return (
        "leave student.template out to take the model's own, or set it to a Jinja file that keeps "
        "to the rule"
    )


def probe_turn(
    tokenizer: PreTrainedTokenizerBase, before: Sequence[Message], message: Message
) -> Turn:
    """Render a reply and the prompt before it.

    Raises:
        ModelError: If there is no template, or it refuses these messages.
    """
    prompt = render_text(tokenizer, before, add_generation_prompt=True)
    row = render_text(tokenizer, [*before, message])
    return Turn(
        before[-1], message, prompt, row, token_ids(tokenizer, prompt), token_ids(tokenizer, row)
    )


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Tokens of a rendered text: special ones are spelled out in it already."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def is_one_token(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    """Whether a marker is a token of its own."""
    return len(token_ids(tokenizer, text)) == 1


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Special tokens: those with a name, such as EOS, and those that are only marked as special."""
    marked = [at for at, token in tokenizer.added_tokens_decoder.items() if token.special]
    return frozenset([*tokenizer.all_special_ids, *marked])


def end_ids(generation_config: GenerationConfig) -> frozenset[int]:
    """Tokens at which generation stops."""
    ids = generation_config.eos_token_id
    if ids is None:
        return frozenset()
    return frozenset([ids] if isinstance(ids, int) else ids)
