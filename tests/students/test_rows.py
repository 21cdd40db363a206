import torch

from students.rows import PackedRows
from students.template import TokenizedExample


def example(ids: list[int], trained: list[int], weight: float) -> TokenizedExample:
    return TokenizedExample(
        "e", torch.tensor(ids, dtype=torch.int32), torch.tensor(trained).bool(), weight
    )


def test_each_trained_token_is_predicted_from_the_position_before_it() -> None:
    examples = [example([5, 6, 7, 8], [0, 0, 1, 1], 1.0), example([1, 2, 3], [0, 1, 1], 0.5)]
    row = PackedRows(examples, [[0], [1, 0]])[1]
    assert row["input_ids"].tolist() == [[1, 2, 3, 5, 6, 7, 8]]
    assert row["position_ids"].tolist() == [[0, 1, 2, 0, 1, 2, 3]]
    assert row["cu_seq_lens_q"].tolist() == [0, 3, 7]
    assert row["loss_positions"].tolist() == [0, 1, 4, 5]
    assert row["targets"].tolist() == [2, 3, 7, 8]
    assert row["weights"].tolist() == [0.5, 0.5, 1.0, 1.0]
