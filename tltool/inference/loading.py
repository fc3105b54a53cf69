"""`tltool.load`: a checkpoint as a `Predictor`."""

from collections.abc import Sequence
from pathlib import Path

from tltool.inference.augmented_views import TestTimeAugmentation
from tltool.inference.checkpoint_trust import Trust
from tltool.inference.predictor import Predictor
from tltool.training.checkpoint_io import read_checkpoint
from tltool.training.image_task import ImageTask
from tltool.training.split_facts import split_facts


def load(
    checkpoint_path: str | Path,
    *,
    value_range: Sequence[float] | None = None,
    tta: TestTimeAugmentation = "none",
) -> Predictor:
    """Load a checkpoint for prediction. It alone is enough: no configuration, no download.

    Args:
        checkpoint_path: The file.
        value_range: The pixel values of black and of white, where the model was trained without
            them, and the images are of more bits than those that it knows.
        tta: Test-time augmentation, see `Predictor`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint of tltool, or its weights are no numbers.

    Example:
        >>> load("no/such.ckpt")
        Traceback (most recent call last):
        ...
        FileNotFoundError: There is no checkpoint 'no/such.ckpt'. ...
    """
    checkpoint = read_checkpoint(checkpoint_path)
    return Predictor(
        ImageTask.of_checkpoint(checkpoint, checkpoint_path),
        value_range=value_range,
        source=checkpoint_path,
        tta=tta,
        trust=Trust.of_checkpoint(checkpoint),
        split_facts=split_facts(checkpoint),
    )
