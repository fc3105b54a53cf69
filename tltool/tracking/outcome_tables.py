"""How a network does class by class."""

from collections.abc import Sequence

from tltool.diagnosis.confusion import confusion_matrix
from tltool.tracking.val_outcomes import Outcomes

COLUMNS = ("class", "photos", "precision", "recall", "f1", "confidence", "most often taken for")


def class_rows(outcomes: Outcomes, class_names: Sequence[str]) -> list[list[str | int | float]]:
    """Return one row for each class, see ``COLUMNS``.

    Example:
        >>> import torch
        >>> rows = torch.tensor([[1, 0, 0, 0.9, 0.9], [1, 1, 0, 0.6, 0.4], [1, 1, 1, 0.8, 0.8]])
        >>> class_rows(Outcomes.from_rows(rows), ["ants", "bees"])[1]
        ['bees', 2, 1.0, 0.5, 0.667, 0.7, 'ants']
    """
    counts = confusion_matrix(outcomes.labels, outcomes.predicted, len(class_names))
    rows: list[list[str | int | float]] = []
    for index, name in enumerate(class_names):
        right, photos = int(counts[index, index]), int(counts[index].sum())
        said = int(counts[:, index].sum())
        errors = counts[index].clone()
        errors[index] = 0
        taken_for = class_names[int(errors.argmax())] if errors.any() else ""
        confidence = outcomes.confidence[outcomes.labels == index]
        numbers = (
            right / max(said, 1),
            right / max(photos, 1),
            2 * right / max(said + photos, 1),
            float(confidence.mean()) if photos else 0.0,
        )
        rows.append([name, photos, *(round(number, 3) for number in numbers), taken_for])
    return rows
