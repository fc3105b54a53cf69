"""The loss of a batch is the mean of those of its images, however the batch is shared out."""

import pytest
import torch

from tltool.models.label_loss import label_loss


@pytest.mark.parametrize("labels", [[0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 0, 2]])
def test_shares_of_a_batch_have_its_loss_with_class_weights_too(labels):
    logits, labels = torch.randn(4, 3), torch.tensor(labels)
    options = {"class_weights": torch.tensor([0.5, 3.0, 9.0]), "label_smoothing": 0.1}
    whole = label_loss(logits, labels, **options)
    for size in (1, 2):
        shares = zip(logits.split(size), labels.split(size), strict=True)
        torch.testing.assert_close(
            torch.stack([label_loss(*share, **options) for share in shares]).mean(), whole
        )


def test_labels_and_their_probabilities_have_one_loss_with_class_weights():
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 0, 2])
    weights = torch.tensor([0.5, 3.0, 9.0])
    probabilities = torch.nn.functional.one_hot(labels, 3).float()
    options = {"class_weights": weights, "label_smoothing": 0.1}
    torch.testing.assert_close(
        label_loss(logits, labels, **options), label_loss(logits, probabilities, **options)
    )


def test_weights_with_a_mean_of_one_keep_the_scale_of_the_loss():
    labels, weights = torch.tensor([0] * 9 + [1]), torch.tensor([5 / 9, 5.0])
    loss = label_loss(torch.zeros(10, 2), labels, class_weights=weights, label_smoothing=0.1)
    assert float(loss) == pytest.approx(0.6931, abs=1e-4)
