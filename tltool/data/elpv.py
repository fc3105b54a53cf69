"""Photos of solar cells from the package ``elpv-dataset``: real photos, no download at run time."""

import logging
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

from tltool.data.augmentation import Augmentation
from tltool.data.classes import check_class_names
from tltool.data.datamodule import ImageDataModule
from tltool.data.layout import WHOLE
from tltool.data.preprocessing import Preprocessing
from tltool.data.samples import Samples, Splits, relabel
from tltool.data.split import check_fractions, split_by_group

log = logging.getLogger(__name__)

_CLASSES = {"defective": ["intact", "defective"], "probability": ["0", "1/3", "2/3", "1"]}
_LICENSE = (
    "The photos of elpv-dataset are licensed CC-BY-NC-SA-4.0: no commercial use, name the source "
    "(Buerhop-Lutz et al., 2018), share under the same terms."
)
_MODULE, _AGAIN = range(1665, 1785), 542
"""Cells, from 0, of a module that was measured again so many cells later: where they show enough to
tell, they match in fine detail, and no other cells do at any distance."""


class ELPVDataModule(ImageDataModule):
    """2,624 electroluminescence photos of solar cells, each with the probability of a defect.

    300 x 300 pixels, grayscale, cut from 44 modules (Buerhop-Lutz et al., 2018, "A Benchmark for
    Visual Identification of Defective Solar Cells in Electroluminescence Imagery",
    https://github.com/zae-bayern/elpv-dataset). **License of the photos: CC-BY-NC-SA-4.0**, not for
    commercial use. They come with ``pip install 'tltool[quickstart]'``.

    Photos with neighboring numbers come from one module and are alike: a random split scores 10 to
    20 points too high. So blocks of neighbors are split, never the photos in a block. One module
    was measured twice; the blocks of both times stay together.

    Args:
        target: ``defective``: intact (probability 0) or defective (above 0). ``probability``: the
            four probabilities 0, 1/3, 2/3, 1 as classes.
        block_size: Number of neighboring photos that stay together.
        val_fraction: Share of the photos that validates.
        test_fraction: Share of the photos that tests.
    """

    def __init__(
        self,
        *,
        target: Literal["defective", "probability"] = "defective",
        block_size: int = 64,
        val_fraction: float = 0.2,
        test_fraction: float = 0.15,
        batch_size: int = 32,
        num_workers: int | None = None,
        preprocessing: Preprocessing = "backbone",
        augmentation: Augmentation = "none",
        random_erasing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        broken_files: Literal["stop", "skip"] = "stop",
        seed: int = 0,
        data_config: dict[str, Any] | None = None,
        class_names: list[str] | None = None,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            num_workers=num_workers,
            preprocessing=preprocessing,
            augmentation=augmentation,
            random_erasing=random_erasing,
            mixup=mixup,
            cutmix=cutmix,
            broken_files=broken_files,
            seed=seed,
            val_fraction=val_fraction,
            data_config=data_config,
            class_names=class_names,
        )
        self.target: Literal["defective", "probability"] = target
        check_fractions({"val": val_fraction, "test": test_fraction})
        self.name = "elpv"
        self.block_size = block_size
        self.test_fraction = test_fraction

    @property
    def place(self) -> str:
        """The package, for messages."""
        return "elpv-dataset"

    def find_classes(self) -> list[str]:
        """See `ImageDataModule`."""
        return list(_CLASSES[self.target])

    def find_splits(self) -> Splits:
        """See `ImageDataModule`."""
        if self._is_rank_zero:
            log.info(_LICENSE)
        folder = _find_package()
        rows = [line.split() for line in (folder / "labels.csv").read_text().splitlines()]
        paths = [str(folder / row[0]) for row in rows]
        block_of = dict(zip(paths, self._blocks(len(rows)), strict=True))
        label_of = {path: self._label(float(row[1])) for path, row in zip(paths, rows, strict=True)}
        check_class_names(self.find_classes(), self.class_names, place=self.place, part=WHOLE)
        kept = self.without_broken(list(label_of))
        blocks = [block_of[path] for path in kept]
        labels = relabel([label_of[path] for path in kept], self.class_names)
        samples = Samples(kept, labels, blocks)
        fractions = {"val": self.val_fraction, "test": self.test_fraction}
        parts = split_by_group(blocks, samples.labels or [], fractions, seed=self.seed)
        return Splits(**{part: samples.subset(indices) for part, indices in parts.items()})

    def _blocks(self, number: int) -> list[str]:
        """Return the block of each cell; those with cells that were measured twice are one."""
        twice = {cell // self.block_size for first in _MODULE for cell in (first, first + _AGAIN)}
        blocks = [cell // self.block_size for cell in range(number)]
        return ["twice" if block in twice else str(block) for block in blocks]

    def _label(self, probability: float) -> str:
        if self.target == "defective":
            return "defective" if probability > 0 else "intact"
        return _CLASSES["probability"][round(3 * probability)]


def _find_package() -> Path:
    """Return the folder of the data, without importing the package, which would load NumPy."""
    try:
        package = distribution("elpv-dataset")
    except PackageNotFoundError as error:
        raise ModuleNotFoundError(
            "The photos of solar cells are in a package that is not installed. "
            "Type: pip install 'tltool[quickstart]'"
        ) from error
    return Path(str(package.locate_file("elpv_dataset/data")))
