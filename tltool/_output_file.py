"""Whether a file can be written where an option says, asked before it takes time."""

from collections.abc import Collection
from pathlib import Path


def check_output_file(
    file: str | Path | None,
    option: str,
    *,
    suffixes: Collection[str] = (),
    example: str = "",
    is_new: bool = False,
) -> None:
    """Raise unless a file can be written; ``None`` is no file.

    Args:
        file: The file.
        option: The option that names it, such as ``--plot``.
        suffixes: What it may end in; empty for anything.
        example: A file that would do.
        is_new: Refuse a file that there is already.

    Raises:
        ValueError: If the suffix is unknown.
        FileExistsError: If there is a file already.
        IsADirectoryError: If there is a directory of that name.
        FileNotFoundError: If the directory does not exist.

    Example:
        >>> check_output_file("plan.txt", "--plot", suffixes={".png"}, example="plan.png")
        Traceback (most recent call last):
        ...
        ValueError: Cannot write 'plan.txt': its name must end in .png. Write --plot plan.png.
    """
    if file is None:
        return
    path = Path(file)
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(
            f"Cannot write {str(file)!r}: its name must end in {' or '.join(suffixes)}."
            + (f" Write {option} {example}." if example else "")
        )
    if is_new and path.exists():
        raise FileExistsError(f"{str(file)!r} exists. Name a new file, or remove it first.")
    if path.is_dir():
        raise IsADirectoryError(f"{str(file)!r} is a folder. Name a file for {option}.")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(path.parent)!r} for {option}. Create it first."
        )
