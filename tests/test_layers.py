"""What imports what: the layers that the package's docstring names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import wsgroups

PACKAGE = Path(wsgroups.__file__).parent
SOURCES = sorted(
    path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".pyi", ".pyx", ".pxd")
)
_LAYER = re.compile(r"^    (\w+) +(\S.*)$", re.MULTILINE)
_COMPILED_IMPORT = re.compile(r"^\s*(?:from\s+(\S+)\s+c?import|c?import\s+(\S+))", re.MULTILINE)


def layers() -> dict[str, int]:
    """Return how high each package or module stands, as the docstring has it.

    A layer is a package, or the modules that stand before the colon of its description.
    """
    found = _LAYER.findall(wsgroups.__doc__ or "")
    heights = {}
    for height, (name, description) in enumerate(reversed(found)):
        if (PACKAGE / name).is_dir():
            heights[name] = height
        else:
            modules, colon, _ = description.partition(":")
            assert colon, f"{name} is no package and names no modules"
            heights.update(dict.fromkeys(re.findall(r"\w+", modules), height))
    return heights


def imports(path: Path) -> Iterator[str]:
    """Yield the full names of the modules that a source file imports, in C or in Python."""
    text = path.read_text()
    if path.suffix in (".pyx", ".pxd"):
        for first, second in _COMPILED_IMPORT.findall(text):
            yield first or second
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            assert node.module is not None
            yield node.module


def part_of(module: str) -> str:
    """Return the package or module right below `wsgroups` that a module belongs to."""
    return module.split(".")[1]


def test_every_package_and_module_has_a_layer() -> None:
    parts = {path.relative_to(PACKAGE).parts[0].split(".")[0] for path in SOURCES}
    assert parts - {"__init__", "__main__"} == set(layers())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_its_own_layer_and_those_below(path: Path) -> None:
    heights = layers()
    own = path.relative_to(PACKAGE).parts[0].split(".")[0]
    height = heights.get(own, len(heights))  # the package itself and __main__ stand on top
    for module in imports(path):
        if module == "wsgroups":
            assert own in ("__init__", "__main__"), "imports the whole package"
        elif module.startswith("wsgroups."):
            assert heights[part_of(module)] <= height, f"{own} imports {module} from above"


def test_the_lowest_layer_needs_the_standard_library_only() -> None:
    import sys

    heights = layers()
    for path in SOURCES:
        if heights.get(path.stem) == 0 and path.parent == PACKAGE:
            for module in imports(path):
                root = module.split(".")[0]
                assert root in sys.stdlib_module_names | {"wsgroups"}, f"{path.name}: {module}"


def test_the_codec_knows_no_socket_and_no_loop() -> None:
    for path in SOURCES:
        if path.parent.name == "codec":
            assert not {"socket", "asyncio", "selectors", "uvloop"} & set(imports(path))
