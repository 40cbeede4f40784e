"""What the sources alone do not tell the reference.

A `.pyx` module is documented from its stub, which has the signatures and the types, and no
docstrings. These are taken from the module itself. An option of `policy.py` has its explanation as
an argument.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from typing import Any

import griffe


class CompiledDocstrings(griffe.Extension):
    """Gives the objects of stubs the docstrings of what was compiled."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Go through the whole package once it is loaded."""
        for module in _modules(pkg):
            if isinstance(module.filepath, list) or module.filepath.suffix != ".pyi":
                continue
            compiled = importlib.import_module(module.path)
            _describe(module, compiled)


class Options(griffe.Extension):
    """Takes `option(default, "explanation")` apart."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        """Called for each attribute, before dataclasses get their signature."""
        call = attr.value
        if isinstance(call, griffe.ExprCall) and str(call.function) == "option":
            attr.value, explanation, *_ = call.arguments
            text = ast.literal_eval(str(explanation))
            attr.docstring = griffe.Docstring(
                text[0].upper() + text[1:] + ".", parent=attr, parser="google"
            )


def _modules(module: griffe.Module) -> list[griffe.Module]:
    found = [module]
    for member in module.modules.values():
        if not member.is_alias:
            found += _modules(member)
    return found


def _describe(stub: griffe.Module | griffe.Class, compiled: object) -> None:
    for name, member in stub.members.items():
        if isinstance(member, griffe.Alias):
            continue
        found = inspect.getattr_static(compiled, name, None)
        text = getattr(found, "__doc__", None)
        if member.docstring is None and isinstance(text, str) and _is_own(name, member, text):
            text = _without_signature(name, inspect.cleandoc(text))
            member.docstring = griffe.Docstring(text, lineno=1, parent=member, parser="google")
        if isinstance(member, griffe.Class) and found is not None:
            _describe(member, found)


def _is_own(name: str, member: griffe.Object, text: str) -> bool:
    """False for what is told of every object, and of the values of constants."""
    if isinstance(member, griffe.Attribute) and member.parent and not member.parent.is_class:
        return False
    return text not in (getattr(object, name, None).__doc__, getattr(int, name, None).__doc__)


def _without_signature(name: str, text: str) -> str:
    """The compiler writes the call in front of what it was given."""
    first, _, rest = text.partition("\n")
    is_signature = first.startswith(f"{name}(") or f".{name}(" in first.split(" ")[0]
    return rest.strip() if is_signature else text
