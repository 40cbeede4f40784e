"""From `module:attribute` to a Handle."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

from wsgroups.errors import TargetError, did_you_mean
from wsgroups.surface.handle import Handle


def load(target: str) -> Handle:
    """Import a Handle.

    Args:
        target: `package.module:attribute`, or a module with one Handle in it. The current directory
            is searched first.

    Raises:
        TargetError: saying what is wrong and what to write instead. An error inside the module
            itself comes through as it is.
    """
    module_name, colon, attribute = target.partition(":")
    if not module_name or (colon and not attribute):
        raise TargetError(f"{target!r} must be 'module:attribute', like 'app:handle'")
    module = _import(module_name)
    if not attribute:
        return _only_handle(module)
    value: object = module
    for name in attribute.split("."):
        if not hasattr(value, name):
            raise TargetError(_no_attribute(module, attribute))
        value = getattr(value, name)
    if not isinstance(value, Handle):
        raise TargetError(f"'{target}' is a {type(value).__name__}, not a wsgroups.Handle")
    return value


def _import(name: str) -> ModuleType:
    if name.endswith(".py") or "/" in name:
        dotted = name.removesuffix(".py").strip("./").replace("/", ".")
        raise TargetError(f"'{name}' is a file; name the module: '{dotted}'")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A module that the application itself misses is its own error, with its own traceback.
        missing = error.name or ""
        if name != missing and not name.startswith(missing + "."):
            raise
        files = [f[:-3] for f in os.listdir() if f.endswith(".py")]
        raise TargetError(
            f"there is no module '{name}' in {os.getcwd()}{did_you_mean(name, files)}"
        ) from None


def _handles(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, Handle)]


def _only_handle(module: ModuleType) -> Handle:
    names = _handles(module)
    different = {id(getattr(module, name)) for name in names}
    if len(different) == 1:
        handle: Handle = getattr(module, names[0])
        return handle
    if not names:
        raise TargetError(f"module '{module.__name__}' has no Handle; add 'handle = Handle()'")
    choices = " or ".join(f"'{module.__name__}:{name}'" for name in names)
    raise TargetError(f"module '{module.__name__}' has several Handles; write {choices}")


def _no_attribute(module: ModuleType, attribute: str) -> str:
    names = _handles(module)
    message = f"module '{module.__name__}' has no attribute '{attribute}'"
    if not names:
        return f"{message}, and no Handle; add 'handle = Handle()'"
    if len(names) == 1:
        return f"{message}; it has '{names[0]}'"
    return message + did_you_mean(attribute, names)
