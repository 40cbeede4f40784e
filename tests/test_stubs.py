"""The stubs of the compiled modules say what is in them, no more and no less."""

import ast
import importlib
import re
import types
from pathlib import Path

import pytest

import wsgroups

PACKAGE = Path(wsgroups.__file__).parent
STUBS = sorted(PACKAGE.rglob("*.pyi"))

# Special methods that callers use; the rest is every object's, or made by the compiler.
SPECIAL = {
    f"__{name}__"
    for name in ("bool", "call", "contains", "eq", "getitem", "hash", "index", "int", "iter", "len")
}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Parameters = list[tuple[str, bool]]
"""Names in order, and whether each may be left out."""


def module_of(stub: Path) -> types.ModuleType:
    name = ".".join(stub.relative_to(PACKAGE.parent).with_suffix("").parts)
    return importlib.import_module(name)


def is_public(name: str) -> bool:
    return not name.startswith("_")


# --- what the stub says ---------------------------------------------------------------------


def stub_names(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """Return what a module or class body of a stub defines."""
    found: dict[str, ast.stmt] = {}
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            annotation = ast.unparse(node.annotation)
            if annotation != "TypeAlias":
                found[node.target.id] = node
    return found


def stub_parameters(function: Function) -> Parameters:
    arguments = function.args
    positional = arguments.posonlyargs + arguments.args
    required = len(positional) - len(arguments.defaults)
    found = [(argument.arg, i >= required) for i, argument in enumerate(positional)]
    defaults = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    found += [(argument.arg, default is not None) for argument, default in defaults]
    return [each for each in found if each[0] not in ("self", "cls")]


# --- what the module says -------------------------------------------------------------------


def module_names(module: types.ModuleType) -> set[str]:
    """Return what a compiled module defines itself, as opposed to what it imports."""
    found = set()
    source = Path(module.__file__ or "").parent / (module.__name__.split(".")[-1] + ".pyx")
    assigned = set(re.findall(r"^(\w+) = ", source.read_text(), re.MULTILINE))
    for name, value in vars(module).items():
        is_own = getattr(value, "__module__", None) == module.__name__
        if is_public(name) and (is_own or name in assigned):
            found.add(name)
    return found


def class_names(cls: type) -> set[str]:
    """Return what a compiled class defines itself; what may be written to as well."""
    found = {name for name in vars(cls) if is_public(name) or name in SPECIAL}
    # Comparing and hashing come together: a class that does neither has no __eq__ of its own.
    return found


def signature(doc: str | None, name: str) -> tuple[Parameters, bool] | None:
    """Return the parameters that the compiler wrote down, and if any is by name only."""
    found = re.match(rf"(?:\w+\.)?{name}\((.*)\)$", (doc or "").split("\n")[0])
    if found is None:
        return None
    parameters: Parameters = []
    by_name = False
    for part in re.split(r",\s*(?![^(]*\))", found[1]):
        if part == "*":
            by_name = True
        elif part and part != "self":
            left, equals, _ = part.partition("=")
            parameters.append((re.findall(r"\w+", left)[-1], bool(equals)))
    return parameters, by_name


# --- do they agree? -------------------------------------------------------------------------


def test_every_module_with_names_for_python_has_a_stub() -> None:
    for source in PACKAGE.rglob("*.pyx"):
        module = module_of(source)
        if module_names(module):
            assert source.with_suffix(".pyi") in STUBS, f"{source.name} has no stub"


def test_every_stub_is_that_of_a_compiled_module() -> None:
    for stub in STUBS:
        assert stub.with_suffix(".pyx").exists(), f"{stub.name} describes nothing"


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: str(stub.relative_to(PACKAGE)))
def test_the_names_of_the_module_are_those_of_the_stub(stub: Path) -> None:
    written = stub_names(ast.parse(stub.read_text()).body)
    assert {name for name in written if is_public(name)} == module_names(module_of(stub))


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: str(stub.relative_to(PACKAGE)))
def test_the_members_of_each_class_are_those_of_the_stub(stub: Path) -> None:
    module = module_of(stub)
    for name, node in stub_names(ast.parse(stub.read_text()).body).items():
        if isinstance(node, ast.ClassDef) and is_public(name):
            members = stub_names(node.body)
            written = {member for member in members if is_public(member) or member in SPECIAL}
            assert written == class_names(getattr(module, name)), name


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: str(stub.relative_to(PACKAGE)))
def test_the_parameters_of_each_function_are_those_of_the_stub(stub: Path) -> None:
    module = module_of(stub)
    for name, node in stub_names(ast.parse(stub.read_text()).body).items():
        value = getattr(module, name, None)
        if isinstance(node, ast.FunctionDef):
            compare(name, node, value)
        elif isinstance(node, ast.ClassDef) and isinstance(value, type):
            for member, inner in stub_names(node.body).items():
                if isinstance(inner, Function) and is_public(member):
                    compare(member, inner, vars(value)[member])
                elif isinstance(inner, Function) and member == "__init__":
                    compare_constructor(name, inner, value)


def compare(name: str, node: Function, value: object) -> None:
    is_property = any(ast.unparse(d).startswith("property") for d in node.decorator_list)
    if is_property:
        assert isinstance(value, types.GetSetDescriptorType), name
        return
    found = signature(getattr(value, "__doc__", None), name)
    assert found is not None, f"{name} has no signature"
    assert found == (stub_parameters(node), bool(node.args.kwonlyargs)), name


def compare_constructor(name: str, node: Function, value: type) -> None:
    # The compiler puts the star of a constructor in the wrong place.
    found = signature(value.__doc__, name)
    assert found is not None, f"{name} has no signature"
    assert found[0] == stub_parameters(node), name
