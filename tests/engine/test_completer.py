from dataclasses import replace

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from distill.problems import embedded_prompts
from distill.types import Answer, Prompt, Request, Sampling
from engine.completer import LocalCompleter

PROMPTS = embedded_prompts("dev", count=12, seed=3)


class Queue:
    """A request source with nothing to decide."""

    def __init__(self, requests: list[Request]) -> None:
        self.requests = requests

    def take(self, n: int) -> list[Request]:
        taken, self.requests = self.requests[:n], self.requests[n:]
        return taken


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: list[Prompt],
    sampling: Sampling,
    *,
    batch_size: int = 8,
    samples: int = 1,
) -> dict[tuple[str, int], Answer]:
    completer = LocalCompleter(
        model, tokenizer, name="random", fingerprint="f", batch_size=batch_size
    )
    requests = [Request(prompt, index) for index in range(samples) for prompt in prompts]
    answers = completer.complete(Queue(requests), sampling)
    return {(answer.request.prompt.id, answer.request.sample_index): answer for answer in answers}


def test_greedy_tokens_equal_generate_for_every_row(
    random_model: PreTrainedModel, embedded_tokenizer: PreTrainedTokenizerFast
) -> None:
    answers = sample(
        random_model, embedded_tokenizer, PROMPTS, Sampling(temperature=0, max_tokens=24)
    )
    for prompt in PROMPTS:
        text = embedded_tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt.text}], tokenize=False, add_generation_prompt=True
        )
        ids = embedded_tokenizer(text, return_tensors="pt")["input_ids"]
        expected = random_model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False
        )[0, ids.shape[1] :]
        completion = answers[prompt.id, 0].completion
        expected_text = embedded_tokenizer.decode(expected, skip_special_tokens=True).strip()
        assert (completion.reasoning or "") in expected_text
        assert completion.text == expected_text or completion.reasoning is not None
        assert completion.usage.output_tokens == len(expected)


def test_samples_do_not_depend_on_batch_size_or_order(
    random_model: PreTrainedModel, embedded_tokenizer: PreTrainedTokenizerFast
) -> None:
    sampling = Sampling(temperature=1.0, top_p=0.9, max_tokens=16, seed=5)
    first = sample(random_model, embedded_tokenizer, PROMPTS, sampling)
    second = sample(random_model, embedded_tokenizer, PROMPTS[::-1], sampling, batch_size=5)
    assert first == second


def test_samples_of_one_prompt_and_other_seeds_differ(
    random_model: PreTrainedModel, embedded_tokenizer: PreTrainedTokenizerFast
) -> None:
    sampling = Sampling(temperature=1.0, top_p=1.0, max_tokens=16, seed=5)
    answers = sample(random_model, embedded_tokenizer, PROMPTS[:1], sampling, samples=4)
    assert len({answer.completion.text for answer in answers.values()}) == 4
    other = sample(
        random_model,
        embedded_tokenizer,
        PROMPTS[:1],
        Sampling(temperature=1.0, top_p=1.0, max_tokens=16, seed=6),
    )
    key = (PROMPTS[0].id, 0)
    assert other[key].completion.text != answers[key].completion.text


def test_a_row_at_the_limit_is_truncated_and_counted(
    random_model: PreTrainedModel, embedded_tokenizer: PreTrainedTokenizerFast
) -> None:
    answers = sample(
        random_model, embedded_tokenizer, PROMPTS[:3], Sampling(temperature=0, max_tokens=2)
    )
    assert all(answer.completion.is_truncated for answer in answers.values())
    assert {answer.completion.usage.output_tokens for answer in answers.values()} == {2}


def test_a_prompt_longer_than_the_context_fails_alone(
    random_model: PreTrainedModel, embedded_tokenizer: PreTrainedTokenizerFast
) -> None:
    long = Prompt(id="long", text="apples " * 2000)
    answers = sample(
        random_model,
        embedded_tokenizer,
        [long, PROMPTS[0]],
        Sampling(temperature=0, max_tokens=4),
    )
    assert answers["long", 0].completion.finish == "error"
    assert "the model reads 1024" in str(answers["long", 0].completion.error)
    assert answers[PROMPTS[0].id, 0].completion.finish != "error"


def test_logprobs_are_kept_when_asked_and_change_nothing(
    random_model: PreTrainedModel, embedded_tokenizer: PreTrainedTokenizerFast
) -> None:
    plain, kept = (
        sample(
            random_model,
            embedded_tokenizer,
            PROMPTS[:3],
            Sampling(temperature=1.0, max_tokens=8, seed=1, keeps_logprobs=is_kept),
        )
        for is_kept in (False, True)
    )
    for key, answer in kept.items():
        completion = answer.completion
        assert completion.logprobs is not None
        assert len(completion.logprobs) == completion.usage.output_tokens
        assert all(logprob <= 0 for logprob in completion.logprobs)
        assert replace(completion, logprobs=None) == plain[key].completion
