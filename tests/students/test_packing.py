import random

import pytest

from students.packing import pack, pack_in_order, plan_rows


def log_normal_lengths(n: int, seed: int, capacity: int) -> list[int]:
    rng = random.Random(seed)
    return [min(capacity, max(1, int(rng.lognormvariate(6, 0.9)))) for _ in range(n)]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("capacity", [7, 64, 1000])
def test_each_example_once_and_no_row_over_the_limit(seed: int, capacity: int) -> None:
    rng = random.Random(seed)
    lengths = [rng.randint(1, capacity) for _ in range(rng.randint(0, 300))]
    rows = pack(lengths, capacity, seed=str(seed))
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(0 < sum(lengths[index] for index in row) <= capacity for row in rows)


@pytest.mark.parametrize(("n", "fill"), [(256, 0.97), (2000, 0.985)])
def test_log_normal_lengths_fill_the_rows(n: int, fill: float) -> None:
    lengths = log_normal_lengths(n, seed=1, capacity=4096)
    rows = pack(lengths, 4096)
    assert sum(lengths) / (4096 * len(rows)) >= fill


def test_rows_of_small_examples_are_not_sorted_by_length() -> None:
    rng = random.Random(0)
    lengths = [rng.randint(50, 150) for _ in range(2000)]
    means = [sum(lengths[index] for index in row) / len(row) for row in pack(lengths, 4096)]
    assert max(means[:-1]) - min(means[:-1]) < 30  # longest-first: from 150 down to 50


def test_example_longer_than_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        pack([3, 11], capacity=10)


def test_plan_is_the_same_for_the_same_seed_and_differs_between_epochs_and_seeds() -> None:
    lengths = log_normal_lengths(100, seed=2, capacity=2000)
    plan = plan_rows(lengths, row_tokens=2000, epochs=2, seed=3)
    assert plan == plan_rows(lengths, row_tokens=2000, epochs=2, seed=3)
    assert plan != plan_rows(lengths, row_tokens=2000, epochs=2, seed=4)
    assert sorted(index for row in plan for index in row) == sorted([*range(100)] * 2)
    first_epoch = plan_rows(lengths, row_tokens=2000, epochs=1, seed=3)
    assert plan[: len(first_epoch)] == first_epoch
    assert plan[len(first_epoch) :] != first_epoch


def test_a_kept_order_is_the_order_of_every_epoch() -> None:
    lengths = [5, 900, 3, 700, 400, 1]
    plan = plan_rows(lengths, row_tokens=1000, epochs=2, seed=3, keeps_order=True)
    assert [index for row in plan for index in row] == [0, 1, 2, 3, 4, 5] * 2
    assert all(sum(lengths[index] for index in row) <= 1000 for row in plan)
    assert plan[: len(plan) // 2] == pack_in_order(lengths, 1000)
