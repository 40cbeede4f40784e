"""Paths to handlers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from wsgroups.errors import DuplicateHandlerError, HandlerSignatureError
from wsgroups.surface.handlers import is_async

_PARAMETER = re.compile(r"\{([A-Za-z_]\w*)(?::(\w+))?\}")
_CONVERTERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "str": (r"[^/]+", str),
    "int": (r"-?\d{1,40}", int),  # ids have up to 19 digits
}


@dataclass(frozen=True, slots=True)
class Route:
    """One function for one method and path."""

    method: str
    path: str
    function: Callable[..., Any]
    is_async: bool
    pattern: re.Pattern[str] | None
    converters: dict[str, Callable[[str], Any]]


class Router:
    """All routes of a Handle, by port."""

    def __init__(self) -> None:
        self._exact: dict[tuple[int | None, str], dict[str, Route]] = {}
        self._patterns: dict[tuple[int | None, str], dict[str, Route]] = {}

    def add(self, method: str, path: str, function: Callable[..., Any], port: int | None) -> None:
        """Register a route.

        Raises:
            DuplicateHandlerError: when the method and path are taken.
            HandlerSignatureError: when the function does not take the request and the parameters.
            ValueError: for a path that is malformed.
        """
        route = _compile(method, path, function)
        table = self._exact if route.pattern is None else self._patterns
        methods = table.setdefault((port, path), {})
        if method in methods:
            taken = methods[method].function.__qualname__
            raise DuplicateHandlerError(f"{method} {path} is handled by {taken} already")
        methods[method] = route

    def find(
        self, method: str, path: str, port: int | None
    ) -> tuple[Route | None, dict[str, Any], set[str]]:
        """Return the route of a request, its parameters, and which methods its path has else.

        A path without parameters stands before one with, and of each kind that of this port before
        that of all, and the one that was registered first.
        """
        others: set[str] = set()
        for bound in (port, None):
            methods = self._exact.get((bound, path))
            if methods:
                if method in methods:
                    return methods[method], {}, others
                others.update(methods)
        for bound in (port, None):
            for (of, _), methods in self._patterns.items():
                found = _match(methods, path) if of == bound else None
                if found:
                    if method in methods:
                        return methods[method], _parameters(methods[method], found), others
                    others.update(methods)
        return None, {}, others


def _match(methods: dict[str, Route], path: str) -> re.Match[str] | None:
    pattern = next(iter(methods.values())).pattern  # they have one path, and with it one pattern
    return pattern.fullmatch(path) if pattern is not None else None


def _parameters(route: Route, found: re.Match[str]) -> dict[str, Any]:
    return {name: convert(unquote(found[name])) for name, convert in route.converters.items()}


def _compile(method: str, path: str, function: Callable[..., Any]) -> Route:
    if not path.startswith("/"):
        raise ValueError(f"a path begins with '/', not {path!r}")
    converters: dict[str, Callable[[str], Any]] = {}
    expression = ""
    position = 0
    for found in _PARAMETER.finditer(path):
        name, kind = found[1], found[2] or "str"
        if kind not in _CONVERTERS:
            raise ValueError(f"{path!r}: unknown parameter type {kind!r}; use str or int")
        if name in converters:
            raise ValueError(f"{path!r} names {name!r} twice")
        pattern, converters[name] = _CONVERTERS[kind]
        expression += re.escape(path[position : found.start()]) + f"(?P<{name}>{pattern})"
        position = found.end()
    rest = path[position:]
    if "{" in rest or "}" in rest:
        raise ValueError(f"{path!r}: a parameter is written {{name}} or {{name:int}}")
    _check_signature(path, function, converters)
    compiled = re.compile(expression + re.escape(rest)) if converters else None
    return Route(method, path, function, is_async(function), compiled, converters)


def _check_signature(path: str, function: Callable[..., Any], parameters: Any) -> None:
    try:
        inspect.signature(function).bind(None, **dict.fromkeys(parameters))
    except TypeError as error:
        names = ", ".join(["request", *parameters])
        name = getattr(function, "__qualname__", repr(function))
        raise HandlerSignatureError(
            f"{name} handles {path!r} and must take ({names}): {error}"
        ) from None
    except ValueError:
        return  # a built-in without a signature
