"""Score of unknown inputs in an exported graph."""

from torch import Tensor, nn

from tltool.evaluation.unknown_inputs import FeatureDistance, UnknownScore


class UnknownLayer(nn.Module):
    """The score of unknown inputs of a checkpoint, see `UnknownScore`.

    Args:
        score: What the checkpoint knows.

    Shape:
        - Input: features ``(B, D)``, and probabilities ``(B, num_classes)``
        - Output: ``(B,)``
    """

    means: Tensor
    directions: Tensor
    variances: Tensor
    centers: Tensor
    scales: Tensor

    def __init__(self, score: UnknownScore) -> None:
        super().__init__()
        distance = score.distance
        self.rest = distance.rest
        self.register_buffer("means", distance.means)
        self.register_buffer("directions", distance.directions)
        self.register_buffer("variances", distance.variances)
        self.register_buffer("centers", score.centers)
        self.register_buffer("scales", score.scales)

    def forward(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """Return the scores of a batch."""
        distance = FeatureDistance(self.means, self.directions, self.variances, self.rest)
        score = UnknownScore(distance, self.centers, self.scales)
        return score.score_batch(features, probabilities)
