"""What the embedded models read in pre-training, and above all what the base does not."""

import random
import re
from itertools import islice

import pytest
from transformers import PreTrainedTokenizerFast

from distill.problems import KINDS, make_problem
from engine.making.documents import IGNORED, DocumentMaker, batches, pretrain_problem
from students.embedded.pretrain import PHASES, Phase, document_source

EQUATION = re.compile(r"(\d+) [-+*] (\d+) = (\d+)")


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: f"seed {phase.seed}")
def test_the_base_never_reads_two_connected_steps(
    phase: Phase, embedded_tokenizer: PreTrainedTokenizerFast
) -> None:
    make = document_source(embedded_tokenizer, phase)
    for _ in range(400):
        text = embedded_tokenizer.decode(make().token_ids)
        if "<think>" in text:  # a conversation: one step of work at most
            assert len(EQUATION.findall(text)) <= 1, text


def test_notes_and_reading_work_nothing_out(embedded_tokenizer: PreTrainedTokenizerFast) -> None:
    maker, rng = DocumentMaker(embedded_tokenizer, 1), random.Random(1)
    for kind in KINDS:
        problem = pretrain_problem(rng, kind, 3)
        for document in (maker.notes(problem), maker.reading(problem)):
            text = embedded_tokenizer.decode(document.token_ids)
            assert "=" not in text
            assert "boxed" not in text


def test_only_what_follows_from_the_question_is_supervised(
    embedded_tokenizer: PreTrainedTokenizerFast,
) -> None:
    maker, rng = DocumentMaker(embedded_tokenizer, 1), random.Random(1)
    problem = make_problem("story", 3, rng)
    document = maker.problem(problem)
    supervised = embedded_tokenizer.decode(
        [
            token
            for token, is_supervised in zip(document.token_ids, document.is_supervised, strict=True)
            if is_supervised
        ]
    )
    work = "\n".join(problem.work)
    assert supervised == (
        f"<think>\n{work}\n</think>\n\nThe answer is \\boxed{{{problem.answer}}}.<|end|>"
    )


def test_sums_and_steps_are_right(embedded_tokenizer: PreTrainedTokenizerFast) -> None:
    maker = DocumentMaker(embedded_tokenizer, 1)
    sums = 0
    for _ in range(30):
        for document in (maker.facts(), maker.single_steps()):
            text = embedded_tokenizer.decode(document.token_ids)
            for match in EQUATION.finditer(text):
                left, result = match[0].split(" = ")
                assert eval(left) == int(result)
                sums += 1
    assert sums > 300


def test_batches_pad_on_the_right_and_supervise_what_documents_say(
    embedded_tokenizer: PreTrainedTokenizerFast,
) -> None:
    maker = DocumentMaker(embedded_tokenizer, 1)
    stream = batches(maker.copy, batch_tokens=512, pad_id=0, seed=1, pool=32)
    for batch in islice(stream, 5):
        assert batch.input_ids_B_T.numel() <= 512
        is_supervised = batch.labels_B_T != IGNORED
        assert (batch.labels_B_T == batch.input_ids_B_T)[is_supervised].all()
        assert not is_supervised[batch.input_ids_B_T == 0].any()
        assert is_supervised.any(dim=1).all()
