import torch

from engine.drawing import UniformStream, draw_tokens


def test_draws_follow_the_softmax() -> None:
    logits_B_V = torch.log(torch.tensor([[0.1, 0.6, 0.3]])).expand(10_000, 3)
    uniforms_B = (torch.arange(10_000) + 0.5) / 10_000
    counts = torch.bincount(draw_tokens(logits_B_V, uniforms_B, 1.0, 1.0), minlength=3)
    assert counts.tolist() == [1000, 6000, 3000]


def test_temperature_sharpens() -> None:
    logits_B_V = torch.log(torch.tensor([[0.2, 0.8]])).expand(10_000, 2)
    uniforms_B = (torch.arange(10_000) + 0.5) / 10_000
    counts = torch.bincount(draw_tokens(logits_B_V, uniforms_B, 0.5, 1.0), minlength=2)
    assert counts[0] == round(10_000 * 0.04 / (0.04 + 0.64))


def test_top_p_keeps_the_smallest_set_with_the_mass() -> None:
    logits_B_V = torch.log(torch.tensor([[0.1, 0.6, 0.3]])).expand(1_000, 3)
    uniforms_B = (torch.arange(1_000) + 0.5) / 1_000
    drawn = draw_tokens(logits_B_V, uniforms_B, 1.0, 0.7)
    assert set(drawn.tolist()) == {1, 2}
    assert set(draw_tokens(logits_B_V, uniforms_B, 1.0, 0.5).tolist()) == {1}


def test_a_token_of_no_probability_is_never_drawn() -> None:
    logits_B_V = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).expand(4, 5)
    drawn = draw_tokens(
        logits_B_V, torch.tensor([0.0, 0.49, 0.5, 1.0], dtype=torch.float64), 1.0, 1.0
    )
    assert drawn.tolist() == [1, 1, 3, 3]


def test_the_same_name_gives_the_same_numbers_and_another_name_others() -> None:
    first, same, other = UniformStream("7/p/0"), UniformStream("7/p/0"), UniformStream("7/p/1")
    numbers = [first.next() for _ in range(100)]
    assert numbers == [same.next() for _ in range(100)]
    assert not set(numbers) & {other.next() for _ in range(100)}
    assert all(0 <= number < 1 for number in numbers)


def test_a_wide_nucleus_is_drawn_as_one_that_is_sorted_whole() -> None:
    logits_B_V = torch.randn(50, 300, generator=torch.Generator().manual_seed(0)) / 4
    uniforms_B = (torch.arange(50) + 0.5) / 50
    drawn = draw_tokens(logits_B_V, uniforms_B, 1.0, 0.9)
    for logits_V, uniform, token in zip(logits_B_V, uniforms_B, drawn, strict=True):
        mass, order = logits_V.double().softmax(0).sort(descending=True)
        size = int((mass.cumsum(0) < 0.9).sum()) + 1
        assert size > 64  # more than the candidates that are looked at first
        place = int((mass[:size].cumsum(0) <= uniform * mass[:size].sum()).sum())
        assert token == order[place]


def test_top_k_and_min_p_leave_the_likeliest() -> None:
    logits_B_V = torch.log(torch.tensor([[0.1, 0.5, 0.3, 0.1]])).expand(1_000, 4)
    uniforms_B = (torch.arange(1_000) + 0.5) / 1_000
    assert set(draw_tokens(logits_B_V, uniforms_B, 1.0, 1.0, top_k=2).tolist()) == {1, 2}
    assert set(draw_tokens(logits_B_V, uniforms_B, 1.0, 1.0, min_p=0.5).tolist()) == {1, 2}
    assert set(draw_tokens(logits_B_V, uniforms_B, 1.0, 1.0, min_p=0.7).tolist()) == {1}
