"""`tltool export`: a checkpoint as a file that needs no tltool."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from tltool._plain_text import one_line
from tltool.cli.build import make_section
from tltool.cli.export_card import write_card
from tltool.cli.process import set_up_process
from tltool.cli.short_forms import import_own_modules
from tltool.cli.signature_options import run_function
from tltool.data.files.directory_listing import list_images
from tltool.inference.export.exporting import FORMATS, FormatName
from tltool.inference.export.exporting import export as export_checkpoint
from tltool.training.checkpoint_io import CONFIG, TASK, read_checkpoint


def main(argv: Sequence[str]) -> int:
    """Run ``tltool export``."""
    set_up_process()
    return run_function("export", export, argv[1:])


def export(
    checkpoint: Path,
    *,
    to: FormatName = "onnx",
    output: Path | None = None,
    images: list[Path] | None = None,
    max_images: int = 64,
    modules: list[str] | None = None,
    tolerance: float | None = None,
    resize: Literal["graph", "runner"] | None = None,
    fold_norms: bool = False,
    no_measure: bool = False,
) -> None:
    """Write a checkpoint in another format, compare both, and write a model card beside it.

    Args:
        checkpoint: The checkpoint, such as best.ckpt.
        to: The format.
        output: What to write; else a file or folder beside the checkpoint.
        images: Images and folders of images to compare on; else the validation images of the run,
            or generated ones where these are not there.
        max_images: Compare on so many of them at most, taken evenly.
        modules: Your own modules whose classes the checkpoint needs, such as my_heads.
        tolerance: The largest difference of a probability that is no error, for onnx; else 0.001.
        resize: Who resizes and crops images, for onnx: the graph, or the runner beside it. Both
            give the pixels of training; the runner is quicker where images are large.
        fold_norms: Fold batch norms into the layers in front, for onnx and torch-export.
        no_measure: Write the card without predicting the test or validation images of the run.

    Example:
        tltool export best.ckpt --to onnx --images new_images
    """
    import_own_modules(modules=modules)
    if max_images < 1:
        raise ValueError(
            f"--max_images must be at least 1, got {max_images}. Set 64, or leave it out."
        )
    options: dict[str, Any] = {"tolerance": tolerance, "resize": resize}
    options["fold_norms"] = fold_norms or None
    if images or "images" in FORMATS[to].options:
        paths = _listed(images) if images else _validation_images(checkpoint)
        options["images"] = paths[:: max(1, -(-len(paths) // max_images))]
    given = {name: value for name, value in options.items() if value is not None}
    exported = export_checkpoint(checkpoint, to=to, output=output, **given)
    for line in exported.lines:
        print(one_line(line))
    card = write_card(checkpoint, exported, to, measures=not no_measure)
    print(f"wrote    {one_line(exported.path)}")
    print(f"card     {one_line(card)}")


def _listed(given: Sequence[Path]) -> list[Path]:
    """Return files, and the images in folders."""
    found = [path for each in given for path in (list_images(each) if each.is_dir() else [each])]
    for path in found:
        if not path.is_file():
            raise FileNotFoundError(f"There is no image {str(path)!r}. Name files or folders.")
    if not found:
        raise ValueError(f"There is no image in {', '.join(map(str, given))}.")
    return found


def _validation_images(checkpoint: Path) -> list[Path]:
    """Return the validation images of the run that are files, or none where they have moved."""
    content = read_checkpoint(checkpoint, map_location="meta")
    section = content.get(CONFIG, {}).get("data")
    if section is None:
        return []
    task = content[TASK]
    known = {"data_config": task["data_config"], "class_names": None}
    try:
        data = make_section("data", {**section, "init_args": {**section["init_args"], **known}})
        data.given_class_names = task["class_names"]
        paths = data.samples("val").paths
    except (OSError, ValueError) as error:  # They have moved, or their folder has changed.
        print(f"The run's images cannot be read: {one_line(error)} Generated ones are compared.")
        return []
    return [path for path in map(Path, paths) if path.is_file()]
