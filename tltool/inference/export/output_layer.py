"""Output layer of an exported graph: from logits to calibrated probabilities, or to numbers."""

import torch
from torch import Tensor, nn

from tltool.inference.predictor import Predictor
from tltool.models.label_loss import label_predictions


class OutputLayer(nn.Module):
    """From the logits of a checkpoint to what it predicts.

    Args:
        predictor: The checkpoint.

    Attributes:
        name: What its output is: ``probabilities``, or ``values`` of a regression.

    Shape:
        - Input: ``(B, num_outputs)``
        - Output: probabilities ``(B, num_classes)``, or ``(B, 1)`` in the units of the target
    """

    temperature: Tensor
    target_mean: Tensor
    target_std: Tensor

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        task = predictor.task
        self.objective = task.objective
        self.name = "values" if task.objective == "regression" else "probabilities"
        self.register_buffer("temperature", torch.tensor(predictor.temperature))
        self.register_buffer("target_mean", task.target_mean.detach().clone().cpu())
        self.register_buffer("target_std", task.target_std.detach().clone().cpu())

    def forward(self, logits: Tensor) -> Tensor:
        """Return probabilities, or numbers."""
        if self.objective == "regression":
            return logits * self.target_std + self.target_mean
        return label_predictions(logits / self.temperature, self.objective)
