"""``RowLoss``: what one packed row adds to the loss of its step, as one module.

A module of its own because weights that are sharded over several processes are whole only while
the forward of the module that holds them runs.
"""

from typing import Any

import torch
from transformers import PreTrainedModel

from students.loss import Predictions, judge_predictions, supervised_loss


class RowLoss(torch.nn.Module):
    """Runs the layers on a row, and the head where there is something to predict."""

    def __init__(self, causal_lm: PreTrainedModel) -> None:
        """Take the language model itself; adapters have been put into it."""
        super().__init__()
        self.causal_lm = causal_lm

    @property
    def layers(self) -> torch.nn.ModuleList:
        """The model's decoder layers."""
        layers = self.causal_lm.get_decoder().layers
        assert isinstance(layers, torch.nn.ModuleList)
        return layers

    @property
    def head(self) -> torch.nn.Linear:
        """The output layer."""
        head = self.causal_lm.get_output_embeddings()
        assert isinstance(head, torch.nn.Linear)
        return head

    def forward(self, inputs: dict[str, Any], weights_S: torch.Tensor) -> torch.Tensor:
        """Weighted sum of the row's cross entropies.

        Args:
            inputs: Of ``PackedRows``.
            weights_S: Of each supervised position.
        """
        return row_loss(self.causal_lm.get_decoder(), self.head, inputs, weights_S)

    def judge(self, inputs: dict[str, Any]) -> Predictions:
        """How well the row is predicted."""
        hidden_S_D = supervised_states(self.causal_lm.get_decoder(), inputs)
        return judge_predictions(hidden_S_D, self.head.weight, inputs["targets"], inputs["weights"])


def row_loss(
    decoder: torch.nn.Module,
    head: torch.nn.Linear,
    inputs: dict[str, Any],
    weights_S: torch.Tensor,
) -> torch.Tensor:
    """Weighted sum of the cross entropies of one packed row.

    Args:
        decoder: The language model's layers.
        head: Its output layer.
        inputs: Of ``PackedRows``, without ``row``.
        weights_S: Of each supervised position.
    """
    hidden_S_D = supervised_states(decoder, inputs)
    return supervised_loss(hidden_S_D, head.weight, inputs["targets"], weights_S)


def supervised_states(decoder: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
    """Final hidden states ``[S, D]`` at the positions that are predicted from."""
    others = ("loss_positions", "targets", "weights", "row")
    model_inputs = {key: value for key, value in inputs.items() if key not in others}
    hidden_1_T_D = decoder(**model_inputs, use_cache=False).last_hidden_state
    hidden_S_D: torch.Tensor = hidden_1_T_D[0].index_select(0, inputs["loss_positions"])
    return hidden_S_D
