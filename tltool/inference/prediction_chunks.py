"""Chunks of a prediction: finished parts in files of their own, from which a killed run resumes."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import torch

from tltool._atomic_write import whole_file
from tltool.inference.prediction_table import RankedImages

MOST_IMAGES = 1024
"""Number of images in a chunk, where there are very many: about what a kill may lose per rank."""

FURTHER = "further"  # The name of the cells of further columns, as JSON.
_CHUNKS = 64  # So that few images are shared by many ranks, too.


def chunks_folder(output: Path) -> Path:
    """Return where the chunks of an output lie while it is not finished."""
    return output.with_name(f"{output.name}.chunks")


class PredictionChunks:
    """The chunks of a prediction, whose borders follow from the images and the batch size alone.

    A batch lies in one chunk, so its numbers are the same whichever rank predicts it, and when.

    Args:
        folder: The chunks of this prediction, and of no other one.
        paths: The images.
        batch_size: Number of images that pass through the network at once.

    Example:
        >>> chunks = PredictionChunks(Path("x"), [f"{n}.png" for n in range(300)], batch_size=2)
        >>> len(chunks), chunks.batches(0), chunks.batches(74)
        (75, [[0, 1], [2, 3]], [[296, 297], [298, 299]])
    """

    def __init__(self, folder: Path, paths: list[str], batch_size: int) -> None:
        self.folder = folder
        self.paths = paths
        self.batch_size = batch_size
        num_batches = math.ceil(len(paths) / batch_size)
        most = max(1, MOST_IMAGES // batch_size)
        self.size = batch_size * min(most, max(1, num_batches // _CHUNKS))

    def __len__(self) -> int:
        return math.ceil(len(self.paths) / self.size)

    def images(self, number: int) -> range:
        """Return the positions of the images of a chunk."""
        return range(len(self.paths))[number * self.size : (number + 1) * self.size]

    def batches(self, number: int) -> list[list[int]]:
        """Return the positions of the images in each batch of a chunk."""
        images = self.images(number)
        starts = range(0, len(images), self.batch_size)
        return [list(images[start : start + self.batch_size]) for start in starts]

    def finished(self) -> set[int]:
        """Return the numbers of the chunks that are there."""
        return {int(file.stem) for file in self.folder.glob("[0-9]*.npz")}

    def num_finished_images(self) -> int:
        """Return how many images are in the chunks that are there."""
        return sum(len(self.images(number)) for number in self.finished())

    def write(self, number: int, batches: list[RankedImages]) -> None:
        """Write a chunk, whole or not at all.

        Raises:
            OSError: If the disk is full, or nothing can be written there.
        """
        columns = {
            "probabilities": torch.cat([batch.probabilities for batch in batches]).numpy(),
            "labels": torch.cat([batch.labels for batch in batches]).to(torch.int32).numpy(),
        }
        predicted = [each for batch in batches if (each := batch.predicted) is not None]
        if predicted:
            columns["predicted"] = torch.cat(predicted).numpy()
        further: dict[str, list[str | float]] = {name: [] for name in batches[0].further}
        for batch in batches:
            for name, cells in batch.further.items():
                further[name] += cells
        if further:
            columns[FURTHER] = np.array(json.dumps(further))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Open, for numpy adds a suffix to names.
            with whole_file(self._file(number), sync=True) as partial, partial.open("wb") as file:
                np.savez(file, allow_pickle=False, **columns)
        except OSError as error:
            raise OSError(
                f"Cannot write finished predictions to {str(self.folder.parent)!r}: "
                f"{error.strerror or error}. Make room there, or set --output to another place. "
                "The same command goes on from what is finished."
            ) from error

    def read(self, number: int) -> RankedImages:
        """Return a chunk that is there."""
        with np.load(self._file(number)) as columns:
            tensors = {
                name: torch.from_numpy(columns[name]) for name in columns.files if name != FURTHER
            }
            further = json.loads(str(columns[FURTHER])) if FURTHER in columns else {}
            paths = [self.paths[at] for at in self.images(number)]
            return RankedImages(paths, **tensors, further=further)

    def remove(self) -> None:
        """Remove all chunks of the output, also those of other predictions."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06}.npz"
