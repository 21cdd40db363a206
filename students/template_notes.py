"""What is good to know about a chat template, though a student can be trained through it."""

import re
from collections.abc import Iterator

from transformers import GenerationConfig, PreTrainedTokenizerBase

from distill.errors import ModelError
from distill.reasoning import THINK_CLOSE, THINK_OPEN
from distill.types import Message
from engine.chat_format import is_reasoning_opened, render_text
from students.template_probe import (
    QUESTION,
    REPLY,
    SYSTEM,
    Probe,
    is_one_token,
    make_probe,
    probe_turn,
)
from students.template_rules import Finding

# Role markers, such as <|im_start|>, and those of DeepSeek, with their own bar.
_MARKER = re.compile("<[|\uff5c][^<>|\uff5c]+[|\uff5c]>")


def find_notes(
    tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig
) -> list[Finding]:
    """Notes on a template that passes the check.

    Raises:
        ModelError: If there is no template, or it refuses a question and its answer.
    """
    probe = make_probe(tokenizer, generation_config)
    rules = (_pieces, _clock, _no_system, _one_turn, _no_reasoning, _no_pad)
    return [note for rule in rules for note in rule(probe)]


def _pieces(probe: Probe) -> Iterator[Finding]:
    """Special tokens are single tokens, or it is said that they are not."""
    row = probe.first.row
    markers = dict.fromkeys([*_MARKER.findall(row), THINK_OPEN, THINK_CLOSE])
    cut = [mark for mark in markers if mark in row and not is_one_token(probe.tokenizer, mark)]
    if cut:
        yield Finding(
            "special tokens",
            f"{', '.join(cut)}: plain text of several tokens for this tokenizer",
            "nothing need be done: the student learns them as text",
        )


def _clock(probe: Probe) -> Iterator[Finding]:
    if "strftime_now" in str(probe.tokenizer.chat_template):
        yield Finding(
            "clock",
            "the chat template writes today's date: tomorrow's prompts are not those trained on, "
            "and a training that goes on tomorrow has other rows",
            probe.ours,
        )


def _no_system(probe: Probe) -> Iterator[Finding]:
    try:
        is_lost = SYSTEM.content not in render_text(probe.tokenizer, [SYSTEM, QUESTION])
    except ModelError:
        is_lost = True
    if is_lost:
        yield Finding("system", "the chat template knows no system prompt", probe.ours)


def _one_turn(probe: Probe) -> Iterator[Finding]:
    if probe.second is None:
        yield Finding("multi-turn", "the chat template refuses a second turn", probe.ours)


def _no_reasoning(probe: Probe) -> Iterator[Finding]:
    turn = probe_turn(probe.tokenizer, [QUESTION], Message("assistant", REPLY.content))
    is_opened = is_reasoning_opened(probe.tokenizer, turn.prompt_ids)
    if turn.row_ids[: len(turn.prompt_ids)] != turn.prompt_ids and is_opened:
        yield Finding(
            "no reasoning",
            "the prompt opens the reasoning: a reply without any cannot be trained on",
            probe.ours,
        )


def _no_pad(probe: Probe) -> Iterator[Finding]:
    if not probe.pads:
        yield Finding(
            "padding",
            "the tokenizer has no PAD: a tool that pads may take the end token and mask it",
            "set pad_token in tokenizer_config.json",
        )
