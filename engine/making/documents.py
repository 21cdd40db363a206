"""What the embedded models read in pre-training: worked problems and drills.

A document is token ids with a mask of the tokens that carry loss. Problem texts are random, so
only what follows from them is supervised. Drills teach what very small models lack: ``facts``
(single sums, over all pairs), ``copy`` (a random sequence, then the same again), ``recall`` (pairs,
then the second of a pair when the first comes up), ``reading`` (what a problem states, line by
line, with nothing worked out), ``notes`` (the same as a reply in a conversation) and
``single_steps`` (steps that have nothing to do with each other).
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast

from distill.problems import KINDS, LARGEST, Kind, Problem, make_problem
from engine.making.tokenizer import answer_text

# The label of a token that carries no loss; PyTorch's own default.
IGNORED = -100

_WORDING = re.compile(r"^(What is|Work out|Find) |[.?]$")


@dataclass(frozen=True, slots=True)
class Document:
    """Token ids and, for each, whether predicting it carries loss."""

    token_ids: list[int]
    is_supervised: list[bool]

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents of similar length side by side, padded on the right.

    Causal attention never looks right, so the padding needs no mask:

        input_ids_B_T   [[a a a a], [b b b pad]]
        labels_B_T      [[-100 -100 a a], [-100 b b -100]]
    """

    input_ids_B_T: torch.Tensor
    labels_B_T: torch.Tensor


def pretrain_problem(rng: random.Random, kind: Kind, level: int) -> Problem:
    """A problem whose numbers lie outside the splits that are distilled from and evaluated on."""
    while True:
        problem = make_problem(kind, level, rng)
        if problem.split == "pretrain":
            return problem


class DocumentMaker:
    """Makes documents of each kind with one tokenizer and one random generator."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        """Fix the tokenizer and the seed."""
        self._tokenizer = tokenizer
        self._rng = random.Random(seed)
        self._words = [
            token_id
            for token, token_id in tokenizer.get_vocab().items()
            if token_id >= len(tokenizer) - _learned_words(tokenizer)
        ]
        self._numbers = [self._encode(str(number))[0] for number in range(LARGEST + 1)]

    def problem(self, problem: Problem) -> Document:
        """A whole conversation: the problem, its work between think tags, the boxed answer."""
        messages = [
            {"role": "user", "content": problem.text},
            {
                "role": "assistant",
                "content": answer_text(problem.answer),
                "reasoning_content": "\n".join(problem.work),
            },
        ]
        prompt = self._render(messages[:1], reply=True)
        whole = self._render(messages, reply=False)
        return Document(whole, [False] * len(prompt) + [True] * (len(whole) - len(prompt)))

    def text(self, problem: Problem) -> Document:
        """Only what is asked, every token supervised: the wording and nothing of the work."""
        token_ids = self._render([{"role": "user", "content": problem.text}], reply=False)
        return Document(token_ids, [True] * len(token_ids))

    def facts(self) -> Document:
        """Lines of single sums in random order; the results and line ends are supervised."""
        token_ids: list[int] = []
        mask: list[bool] = []
        for _ in range(self._rng.randint(6, 22)):
            question, result = self._fact()
            for text, is_supervised in ((question, False), (f"{result}", True), ("\n", True)):
                ids = self._encode(text)
                token_ids += ids
                mask += [is_supervised] * len(ids)
        return Document(token_ids, mask)

    def copy(self) -> Document:
        """A random sequence of words and numbers, a line end, and the sequence again."""
        sequence = self._rng.choices(self._words, k=self._rng.randint(6, 32))
        newline = self._encode("\n")
        token_ids = sequence + newline + sequence + newline
        first = len(sequence) + len(newline)
        return Document(token_ids, [False] * first + [True] * (len(token_ids) - first))

    def recall(self) -> Document:
        """Lines of a word and a number, then some of the lines again in another order."""
        keys = self._rng.sample(self._words, self._rng.randint(3, 9))
        pairs = {key: self._rng.choice(self._numbers) for key in keys}
        newline = self._encode("\n")[0]
        token_ids = [token for key in keys for token in (key, pairs[key], newline)]
        mask = [False] * len(token_ids)
        for key in self._rng.choices(keys, k=8):
            token_ids += [key, pairs[key], newline]
            mask += [False, True, True]
        return Document(token_ids, mask)

    def reading(self, problem: Problem) -> Document:
        """A problem as plain text, then what it states, line by line, with no sum and no answer."""
        question = self._encode(problem.text + "\n")
        stated = self._encode("\n".join(_stated(problem)) + "\n")
        return Document(question + stated, [False] * len(question) + [True] * len(stated))

    def notes(self, problem: Problem) -> Document:
        """The reading as a reply: between the think tags stands what is stated; no answer."""
        prompt = self._render([{"role": "user", "content": problem.text}], reply=True)
        stated = self._encode("<think>\n" + "\n".join(_stated(problem)) + "\n</think>")
        return Document(prompt + stated, [False] * len(prompt) + [True] * len(stated))

    def single_steps(self) -> Document:
        """Steps of work, each from numbers of its own; what follows the given is supervised."""
        token_ids: list[int] = []
        mask: list[bool] = []
        for _ in range(self._rng.randint(3, 8)):
            given, step = self._single_step()
            ids, is_step = self._encode_split(given, step + "\n")
            token_ids += ids
            mask += is_step
        return Document(token_ids, mask)

    def _single_step(self) -> tuple[str, str]:
        r"""What is given, and one step from it: ``start 36\npicks 24: `` and ``36 + 24 = 60``."""
        kind = self._rng.choice(KINDS)
        if kind == "expression":
            problem = pretrain_problem(self._rng, kind, self._rng.randint(2, 5))
            lines = (_WORDING.sub("", problem.text), *problem.work)
            # The sum in the innermost bracket, and the expression with its result in place.
            rest = lines[2] if problem.level > 2 else lines[2].partition(" =")[0]  # noqa: PLR2004
            return lines[0] + "\n", f"{lines[1]}\n{rest}"
        problem = pretrain_problem(self._rng, kind, 1)
        given, _, step = "\n".join(problem.work).rpartition(": ")
        return given + ": ", step

    def _encode_split(self, given: str, step: str) -> tuple[list[int], list[bool]]:
        """Token ids of both texts together, and which belong to the second."""
        encoded = self._tokenizer(
            given + step, add_special_tokens=False, return_offsets_mapping=True
        )
        ends = [end for _, end in encoded["offset_mapping"]]
        return list(encoded["input_ids"]), [end > len(given) for end in ends]

    def _fact(self) -> tuple[str, int]:
        operation = self._rng.choice("++--*")
        if operation == "*":
            left = self._rng.randint(1, LARGEST // 2)
            right = self._rng.randint(2, min(30, LARGEST // left))
            return f"{left} * {right} = ", left * right
        left = self._rng.randint(1, LARGEST - 1)
        if operation == "+":
            right = self._rng.randint(1, LARGEST - left)
            return f"{left} + {right} = ", left + right
        right = self._rng.randint(1, left)
        return f"{left} - {right} = ", left - right

    def _encode(self, text: str) -> list[int]:
        # A space before a number belongs to the word before it, so pieces are encoded with one.
        if text.endswith("= "):
            ids = self._tokenizer(text + "0", add_special_tokens=False)["input_ids"][:-1]
        else:
            ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return list(ids)

    def _render(self, messages: list[dict[str, str]], *, reply: bool) -> list[int]:
        text = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=reply
        )
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])


def _stated(problem: Problem) -> list[str]:
    """What a problem states, in the words of its work but with nothing worked out."""
    if problem.kind == "expression":
        return [_WORDING.sub("", problem.text)]
    return [line.partition(":")[0] for line in problem.work]


def _learned_words(tokenizer: PreTrainedTokenizerFast) -> int:
    """How many tokens at the end of the vocabulary are words, numbers and signs."""
    return len(tokenizer) - len(tokenizer.all_special_tokens) - 2 - 256


def batches(
    make: Callable[[], Document], *, batch_tokens: int, pad_id: int, seed: int, pool: int = 1024
) -> Iterator[Batch]:
    """Endless batches of about ``batch_tokens`` tokens, documents of similar length together."""
    rng = random.Random(seed)
    while True:
        documents = sorted((make() for _ in range(pool)), key=len)
        groups: list[list[Document]] = [[]]
        for document in documents:
            if groups[-1] and (len(groups[-1]) + 1) * len(document) > batch_tokens:
                groups.append([])
            groups[-1].append(document)
        rng.shuffle(groups)
        yield from (_pad(group, pad_id) for group in groups)


def _pad(documents: Sequence[Document], pad_id: int) -> Batch:
    length = max(len(document) for document in documents)
    input_ids_B_T = torch.full((len(documents), length), pad_id)
    labels_B_T = torch.full((len(documents), length), IGNORED)
    for row, document in enumerate(documents):
        ids = torch.tensor(document.token_ids)
        input_ids_B_T[row, : len(document)] = ids
        mask = torch.tensor(document.is_supervised)
        labels_B_T[row, : len(document)][mask] = ids[mask]
    return Batch(input_ids_B_T, labels_B_T)
