"""The GGUF in llama.cpp itself: its tokens, its prompt, its greedy choices."""

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from distill.types import Message
from engine.chat_format import render_text
from students.export.check_texts import check_texts
from students.export.llama_cpp import LlamaCpp, running
from students.export.probes import Reference, load_student_tokenizer
from students.export.record import DriftCheck, TokenCheck
from students.export.where_from import Student

_ROWS = 2


def check_runtime(
    student: Student, path: Path, reference: Reference
) -> tuple[TokenCheck, DriftCheck]:
    """Ask llama.cpp for tokens of many texts and for its next token at each greedy place.

    Raises:
        ModelError: If it cannot load the file.
    """
    tokenizer = load_student_tokenizer(student)
    longest = max(len(row.token_ids) for row in reference.rows)
    with running(path, context_tokens=max(longest + 8, 256)) as server:
        return _tokens(tokenizer, server), _drift(server, reference)


def _tokens(tokenizer: PreTrainedTokenizerBase, server: LlamaCpp) -> TokenCheck:
    texts = check_texts(tokenizer.all_special_tokens)
    different = [
        text
        for text in texts
        if tokenizer(text, add_special_tokens=False)["input_ids"] != server.tokens(text)
    ]
    prompt_is_equal = None
    if tokenizer.chat_template is not None:
        ours = render_text(tokenizer, [Message("user", "2 + 2?")], add_generation_prompt=True)
        begin = str(tokenizer.bos_token or "")
        theirs = server.prompt("2 + 2?")
        prompt_is_equal = ours.removeprefix(begin) == theirs.removeprefix(begin)
    return TokenCheck(
        by="llama.cpp",
        texts=len(texts),
        equal=len(texts) - len(different),
        first_difference=different[0] if different else "",
        prompt_is_equal=prompt_is_equal,
    )


def _drift(server: LlamaCpp, reference: Reference) -> DriftCheck:
    greedy = [
        (row, expected)
        for row, expected in zip(reference.rows, reference.log_probabilities, strict=True)
        if row.is_greedy
    ][:_ROWS]
    equal = tokens = 0
    largest = 0.0
    for row, expected_T_V in greedy:
        for place, expected_V in enumerate(expected_T_V, start=row.start):
            found = server.next_token(row.token_ids[:place])
            tokens += 1
            equal += found.token_id == row.token_ids[place]
            gaps = [
                abs(value - float(expected_V[token]))
                for token, value in found.log_probabilities.items()
                if value > -10  # noqa: PLR2004 - what is less likely than 1 in 20,000 is noise
            ]
            largest = max([largest, *gaps])
    return DriftCheck("llama.cpp", tokens, equal, largest)
