"""Draw the rooms of the package, from top to bottom, and the imports between them.

Run: python scripts/rooms.py
"""

import sys
import tomllib
from collections import Counter
from pathlib import Path

import grimp

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def room_of(module: str) -> str:
    """Return the room that a module lies in: the first name below the package."""
    return module.split(".")[1] if "." in module else module


def layers() -> list[list[str]]:
    """Return the rooms of each layer of the import contract, from the top."""
    contracts = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
    lines = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[room.strip() for room in line.split(":")] for line in lines]


def main() -> int:
    """Print each layer with what it imports; return 1 if an import goes up or there is a circle."""
    graph = grimp.build_graph("tltool", exclude_type_checking_imports=True)
    arrows: Counter[tuple[str, str]] = Counter()
    for importer in graph.modules - {"tltool"}:
        for imported in graph.find_modules_directly_imported_by(importer):
            arrows[room_of(importer), room_of(imported)] += 1
    depth = {room: number for number, line in enumerate(layers()) for room in line}
    wrong = []
    for line in layers():
        for room in line:
            targets = sorted(
                (target for source, target in arrows if source == room and target in depth),
                key=lambda target: (depth[target], target),
            )
            shown = [f"{target} {arrows[room, target]}" for target in targets if target != room]
            files = sum(room_of(module) == room for module in graph.modules)
            print(f"{room:<14} {files:>3} files -> {', '.join(shown) or '-'}")
            wrong += [(room, target) for target in targets if depth[target] < depth[room]]
        print("  |")
    wrong += [pair for pair in arrows if pair[0] < pair[1] and pair[::-1] in arrows]
    print(f"{len(wrong)} arrows up or in circles", *wrong)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
