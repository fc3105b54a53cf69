"""Datamodule of images of solar cells, from the package ``elpv-dataset``."""

import logging
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import ClassVar, Literal

from lightning.pytorch.utilities import rank_zero_only

from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.datamodules.records import ImageRecord
from tltool.data.datamodules.shared_options import FileOptions, Unpack

log = logging.getLogger(__name__)

_CLASSES = {"defective": ["intact", "defective"], "probability": ["0", "1/3", "2/3", "1"]}
_LICENSE = (
    "The images of elpv-dataset are licensed CC-BY-NC-SA-4.0: no commercial use, name the source "
    "(Buerhop-Lutz et al., 2018), share under the same terms."
)
_MODULE, _AGAIN = range(1665, 1785), 542
"""Cells, from 0, of a module that was measured again so many cells later: where they show enough to
tell, they match in fine detail, and no other cells do at any distance."""


class ELPVDataModule(ImageDataModule):
    """2,624 electroluminescence images of solar cells, each with the probability of a defect.

    300 x 300 pixels, grayscale, cut from 44 modules (Buerhop-Lutz et al., 2018, "A Benchmark for
    Visual Identification of Defective Solar Cells in Electroluminescence Imagery",
    https://github.com/zae-bayern/elpv-dataset). **License of the images: CC-BY-NC-SA-4.0**, not for
    commercial use. They come with ``pip install 'tltool[quickstart]'``.

    Images with neighboring numbers come from one module and are alike: a random split scores
    too high. So blocks of neighbors are split, never the images in a block. One module was measured
    twice; the blocks of both times stay together.

    Args:
        target: ``defective``: intact (probability 0) or defective (above 0). ``probability``: the
            four probabilities 0, 1/3, 2/3, 1 as classes, or where the objective is ``regression``
            as numbers. ``None`` is what fits the objective, ``defective`` for classes.
        block_size: Number of neighboring images that stay together.
        test_fraction: Share of the images that tests.
    """

    objectives: ClassVar = ("single_label", "regression")
    target_name = "defect probability"

    def __init__(
        self,
        *,
        target: Literal["defective", "probability"] | None = None,
        block_size: int = 64,
        test_fraction: float = 0.15,
        **options: Unpack[FileOptions],
    ) -> None:
        super().__init__(**options)
        fitting = "probability" if self.objective == "regression" else "defective"
        self.target: str = target or fitting
        if self.target == "defective" and self.objective == "regression":
            raise ValueError(
                "`target: defective` has two classes, and the objective is regression. Leave it "
                "out to learn the probability, or set --model.objective single_label."
            )
        self.set_source("elpv", "elpv-dataset", test_fraction=test_fraction)
        self.block_size = block_size

    def find_classes(self) -> list[str]:
        """See `ImageDataModule`."""
        return list(_CLASSES[self.target])

    def find_records(self) -> list[ImageRecord]:
        """See `ImageDataModule`. The group of an image is its block."""
        rank_zero_only(log.info)(_LICENSE)
        # Without importing the package, which would load NumPy.
        try:
            package = distribution("elpv-dataset")
        except PackageNotFoundError as error:
            raise ModuleNotFoundError(
                "The images of solar cells are in a package that is not installed. "
                "Type: pip install 'tltool[quickstart]'"
            ) from error
        folder = Path(str(package.locate_file("elpv_dataset/data")))
        rows = [line.split() for line in (folder / "labels.csv").read_text().splitlines()]
        return [
            ImageRecord(str(folder / name), name, self._label(probability), group=block)
            for (name, probability, *_), block in zip(rows, self._blocks(len(rows)), strict=True)
        ]

    def _blocks(self, number: int) -> list[str]:
        """Return the block of each cell; those with cells that were measured twice are one."""
        twice = {cell // self.block_size for first in _MODULE for cell in (first, first + _AGAIN)}
        blocks = [cell // self.block_size for cell in range(number)]
        return ["twice" if block in twice else str(block) for block in blocks]

    def _label(self, cell: str) -> str:
        if self.objective == "regression":
            return cell
        probability = float(cell)
        label = probability > 0 if self.target == "defective" else round(3 * probability)
        return _CLASSES[self.target][label]
