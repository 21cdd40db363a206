import pytest
import torch

from engine.threads import fitting_threads


@pytest.mark.parametrize(("parameters", "expected"), [(1_000_000, 1), (1_000_000_000, 2)])
def test_small_model_gets_one_thread_and_a_larger_one_what_is_set(
    parameters: int, expected: int
) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with fitting_threads(parameters):
            assert torch.get_num_threads() == expected
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
