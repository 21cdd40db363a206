"""The engine's tokens are those of ``generate``, whatever runs beside a row."""

from collections.abc import Sequence

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from engine.row import Decoding, Row
from engine.runner import has_row_attention
from engine.session import Engine

SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "num_experts": 4,
    "n_routed_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "q_lora_rank": None,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "first_k_dense_replace": 1,
    "sliding_window": None,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
LATENT = {"deepseek_v2", "deepseek_v3"}
KNOWN = [
    "deepseek_v2",
    "deepseek_v3",
    "llama",
    "mistral",
    "mixtral",
    "olmoe",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
]
OTHERS = ["gemma3_text", "gpt_oss", "phi3"]
PROMPTS = [
    torch.randint(2, 60, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    for length in (5, 1, 17, 9, 126, 2, 30, 3)
]
DRAWN = Decoding(temperature=1.0, top_p=1.0, max_tokens=12)
_MADE: dict[str, PreTrainedModel] = {}


def tiny(kind: str) -> PreTrainedModel:
    if kind not in _MADE:
        torch.manual_seed(0)
        sizes = dict(SIZES)
        if kind in LATENT:
            sizes |= {"num_key_value_heads": 4, "head_dim": 4}
        else:
            del sizes["kv_lora_rank"], sizes["qk_nope_head_dim"], sizes["qk_rope_head_dim"]
        if kind in ("gemma3_text", "gpt_oss"):
            sizes["sliding_window"] = 8
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes))
        # Random weights of the usual size give nearly equal logits: any two sums disagree.
        with torch.no_grad():
            for param in model.parameters():
                if param.ndim > 1:
                    param.mul_(6)
        model.generation_config.eos_token_id = 1
        _MADE[kind] = model.eval()
    return _MADE[kind]


def run(engine: Engine) -> None:
    while engine.has_work:
        engine.step()


def sample(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]] = PROMPTS,
    *,
    most_rows: int = 3,
    samples: int = 1,
    end_ids: Sequence[int] = (1,),
    decoding: Decoding = DRAWN,
) -> list[Row]:
    engine = Engine(model, end_ids=end_ids, most_rows=most_rows)
    rows = [
        engine.add(prompt, decoding, name=f"{place}/{index}")
        for place, prompt in enumerate(prompts)
        for index in range(samples)
    ]
    run(engine)
    return rows


def tokens(rows: Sequence[Row]) -> list[list[int]]:
    return [row.token_ids for row in rows]


@pytest.mark.parametrize("kind", [*KNOWN, *OTHERS])
def test_greedy_tokens_are_those_of_generate(kind: str) -> None:
    model = tiny(kind)
    assert has_row_attention(model) == (kind in KNOWN)
    expected = []
    for prompt in PROMPTS:
        whole = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=12,
            do_sample=False,
        )
        expected.append(whole[0, len(prompt) :].tolist())
    rows = sample(model, samples=2, decoding=Decoding(temperature=0, max_tokens=12))
    assert tokens(rows[::2]) == expected
    assert tokens(rows[1::2]) == expected
    for row in rows:
        assert row.finish == ("stop" if row.token_ids[-1] == 1 else "length")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("mistral", {"sliding_window": 8}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0}),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}),
    ],
)
def test_rows_that_would_not_be_independent_run_in_padded_batches(
    kind: str, changes: dict[str, object]
) -> None:
    sizes = {name: SIZES[name] for name in ("hidden_size", "num_hidden_layers", "vocab_size")}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = AutoConfig.for_model(kind, **sizes, **heads, **changes)
    model = AutoModelForCausalLM.from_config(config)
    assert not has_row_attention(model)
    rows = sample(model, PROMPTS[:2], decoding=Decoding(temperature=0, max_tokens=2), end_ids=())
    assert [len(row.token_ids) for row in rows] == [2, 2]


@pytest.mark.parametrize("kind", ["qwen2", "deepseek_v3", "qwen3_moe"])
def test_a_row_does_not_depend_on_the_rows_beside_it(kind: str) -> None:
    alone = sample(tiny(kind), most_rows=1, samples=2)
    for most_rows in (2, 5, 16):
        assert tokens(sample(tiny(kind), most_rows=most_rows, samples=2)) == tokens(alone)
    assert len(set(map(tuple, tokens(alone)))) > len(PROMPTS)


@pytest.mark.parametrize("kind", ["llama", "deepseek_v3"])
def test_rows_that_outgrow_the_budget_wait_and_come_out_the_same(kind: str) -> None:
    decoding = Decoding(temperature=1.0, top_p=0.9, max_tokens=135)
    model, prompts = tiny(kind), PROMPTS[:5]
    roomy = sample(model, prompts, most_rows=5, end_ids=(), decoding=decoding)
    engine = Engine(model, end_ids=(), most_rows=4, budget_tokens=640)
    rows = [engine.add(prompt, decoding, name=f"{place}/0") for place, prompt in enumerate(prompts)]
    was_set_back = False
    while engine.has_work:
        running = set(engine._running)
        engine.step()
        was_set_back |= any(row.finish is None for row in running - engine._running)
        assert engine.occupied_tokens <= 640
    assert was_set_back
    assert tokens(rows) == tokens(roomy)


def test_rows_have_settings_and_ends_of_their_own() -> None:
    model = tiny("qwen3")
    engine = Engine(model, end_ids=(), most_rows=4)
    greedy = engine.add(PROMPTS[0], Decoding(temperature=0, max_tokens=6), name="a")
    likeliest = engine.add(PROMPTS[0], Decoding(temperature=2.0, top_k=1, max_tokens=9), name="b")
    near = engine.add(PROMPTS[0], Decoding(temperature=2.0, min_p=1.0, max_tokens=3), name="c")
    run(engine)
    assert [len(row.token_ids) for row in (greedy, likeliest, near)] == [6, 9, 3]
    assert likeliest.token_ids[:6] == greedy.token_ids
    assert near.token_ids == greedy.token_ids[:3]


def test_logprobs_are_those_of_the_model_read_as_a_whole() -> None:
    model = tiny("llama")
    decoding = Decoding(temperature=1.5, top_p=0.9, max_tokens=8, keeps_logprobs=True)
    for row in sample(model, decoding=decoding):
        ids = [*row.prompt_ids, *row.token_ids]
        logits = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        places = range(len(row.prompt_ids) - 1, len(ids) - 1)
        expected = [logits[place, ids[place + 1]].item() for place in places]
        assert row.logprobs == pytest.approx(expected, abs=1e-4)  # float32 sums in another order


def test_a_repeated_token_becomes_unlikely() -> None:
    model = tiny("qwen2")
    plain, kept_down = (
        sample(
            model,
            decoding=Decoding(temperature=0, max_tokens=40, repetition_penalty=penalty),
        )
        for penalty in (1.0, 50.0)
    )
    assert sum(map(_repeats, kept_down)) < sum(map(_repeats, plain))


def _repeats(row: Row) -> int:
    return len(row.token_ids) - len(set(row.token_ids))


@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_a_cancelled_row_gives_its_place_to_one_that_waits(kind: str) -> None:
    engine = Engine(tiny(kind), end_ids=(), most_rows=2)
    decoding = Decoding(temperature=0, max_tokens=20)
    first, second, third = (
        engine.add(prompt, decoding, name=str(place)) for place, prompt in enumerate(PROMPTS[:3])
    )
    engine.step()
    assert (first.finish, len(third.token_ids)) == (None, 0)
    engine.cancel(first)
    written = len(first.token_ids)
    assert third in engine.step()
    run(engine)
    assert (first.finish, len(first.token_ids)) == ("cancelled", written)
    assert [row.finish for row in (second, third)] == ["length", "length"]
    alone = sample(tiny(kind), PROMPTS[:3], most_rows=1, decoding=Decoding(0, max_tokens=20))
    assert third.token_ids[0] == alone[2].token_ids[0]
    engine.cancel(second)
    assert second.finish == "length"


def test_a_row_that_waits_can_be_cancelled() -> None:
    engine = Engine(tiny("llama"), end_ids=(), most_rows=1)
    rows = [engine.add(PROMPTS[0], Decoding(max_tokens=2), name=str(n)) for n in range(2)]
    engine.step()
    engine.cancel(rows[1])
    run(engine)
    assert [len(row.token_ids) for row in rows] == [2, 0]


def test_a_prompt_that_leaves_no_place_is_refused() -> None:
    engine = Engine(tiny("llama"), end_ids=(), budget_tokens=32)
    with pytest.raises(ValueError, match=r"a prompt of 32 tokens, allowed: 1\.\.31"):
        engine.add([5] * 32, Decoding(), name="long")
    with pytest.raises(ValueError, match="a prompt of 0 tokens"):
        engine.add([], Decoding(), name="empty")
    row = engine.add([5] * 30, Decoding(temperature=0), name="short")
    run(engine)
    assert (row.finish, len(row.token_ids)) == ("length", 2)


def test_settings_that_draw_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"top_p must be in \(0, 1\]; min_p must be in"):
        Decoding(top_p=0, min_p=2)
