"""From a decorated function to a `Handler`: what it wants, told by its annotations."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, Union

import msgspec
import orjson

from wsgroups.connection.connection import Handler
from wsgroups.errors import HandlerSignatureError
from wsgroups.surface.websocket import WebSocket

Kind = Literal["text", "binary", "both", "json"]
KINDS = ("text", "binary", "both", "json")

_SOCKET_NAMES = frozenset({"ws", "socket", "websocket", "sock", "client"})


def message_handler(
    function: Callable[..., Any], kind: Kind | None
) -> tuple[Handler, tuple[Literal["text", "binary"], ...]]:
    """Return the handler for `(message, socket)` and the frame types it takes.

    Raises:
        HandlerSignatureError: when the function cannot be called so, or wants a message of a type
            that is unknown.
    """
    annotations = _positional(function, 2, "(message, ws)")
    wanted, decode = _wanted(function, annotations[0], kind)
    handler = Handler(function, is_async=is_async(function), decode=decode)
    return handler, wanted


def method_decoder(
    method: Callable[..., Any], frame: Literal["text", "binary"]
) -> Callable[[bytes], Any] | None:
    """Return what makes the message of a WebSocketHandler's method; None for as it came.

    Raises:
        HandlerSignatureError: when it cannot be called with a message, or wants another kind.
    """
    annotation = _positional(method, 2, "(self, message)")[1]
    frames, decode = _wanted(method, annotation, None)
    if frame not in frames:
        name = getattr(method, "__qualname__", repr(method))
        raise HandlerSignatureError(f"{name} is given {frame} messages, not {annotation!r}")
    return decode


def event_handler(function: Callable[..., Any]) -> Handler:
    """Return the handler for `(socket,)`: connect and disconnect."""
    _positional(function, 1, "(ws)")
    return Handler(function, is_async=is_async(function), takes_message=False)


def listener_handler(function: Callable[..., Any], signature: str) -> Callable[..., Any]:
    """Return a function that takes one argument.

    Args:
        function: what is registered.
        signature: how it is called, `(event)` for example.

    Raises:
        HandlerSignatureError: when it takes none, or more.
    """
    _positional(function, 1, signature)
    return function


def error_handler(function: Callable[..., Any]) -> Handler:
    """Return the handler for `(error, socket)`.

    The two may stand in either order: the socket is the parameter annotated `WebSocket`, or the one
    with a name like `ws`.
    """
    annotations = _positional(function, 2, "(error, ws)")
    names = list(inspect.signature(function).parameters)
    called: Callable[..., Any] = function
    if annotations[0] is WebSocket or (
        annotations[1] is not WebSocket and names[0] in _SOCKET_NAMES
    ):

        def called(error: BaseException, socket: WebSocket) -> Any:
            return function(socket, error)

    return Handler(called, is_async=is_async(function))


def is_async(function: Callable[..., Any]) -> bool:
    """True for `async def` functions, methods, partials of them, and objects called as such."""
    while hasattr(function, "func"):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )


def _positional(function: Callable[..., Any], count: int, form: str) -> list[Any]:
    """Check that the function takes `count` positional arguments; return their annotations."""
    name = getattr(function, "__qualname__", repr(function))
    try:
        signature = inspect.signature(function)
        signature.bind(*range(count))
    except TypeError as error:
        raise HandlerSignatureError(f"{name} must take {form}: {error}") from None
    except ValueError:  # a built-in without a signature
        return [inspect.Parameter.empty] * count
    hints = _hints(function)
    parameters = [
        p
        for p in signature.parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    annotations = [hints.get(p.name, p.annotation) for p in parameters[:count]]
    return annotations + [inspect.Parameter.empty] * (count - len(annotations))


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return what the annotations mean; those that cannot be told stay as they are written."""
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):
        # A class of the function around it, or a name that exists for type checkers only: one that
        # is not found does not stand in the way of the others.
        function = inspect.unwrap(function)
        written = getattr(function, "__annotations__", {})
        around, inside = getattr(function, "__globals__", {}), _names_around()
        hints: dict[str, Any] = {}
        for name, annotation in written.items():
            one = types.SimpleNamespace(__annotations__={name: annotation})
            with contextlib.suppress(NameError, TypeError):
                hints |= typing.get_type_hints(one, around, inside)
        return hints


def _names_around() -> dict[str, Any]:
    """Return the local variables of whoever registers a handler."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith("wsgroups."):
        frame = frame.f_back
    return {} if frame is None else dict(frame.f_locals)


def _wanted(
    function: Callable[..., Any], annotation: Any, kind: Kind | None
) -> tuple[tuple[Literal["text", "binary"], ...], Callable[[bytes], Any] | None]:
    """The frame types and the decoder that an annotation or a `kind` asks for."""
    if kind is not None and kind not in KINDS:
        raise HandlerSignatureError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if kind is None:
        kind = _kind_of(function, annotation)
    # A function that wants a dict is given one, in whichever frame its JSON comes.
    decode = _json_decoder(annotation) if kind == "json" or _is_json(annotation) else None
    if kind == "binary":
        return ("binary",), decode
    if kind == "both":
        return ("text", "binary"), decode
    return ("text",), decode


def _kind_of(function: Callable[..., Any], annotation: Any) -> Kind:
    if annotation in (inspect.Parameter.empty, Any):
        return "both"
    if annotation is str:
        return "text"
    if annotation is bytes:
        return "binary"
    origin = typing.get_origin(annotation)
    if origin in (Union, types.UnionType) and set(typing.get_args(annotation)) == {str, bytes}:
        return "both"
    if _is_json(annotation):
        return "json"
    name = getattr(function, "__qualname__", repr(function))
    raise HandlerSignatureError(
        f"{name}: a message cannot be given as {annotation!r}"
        f"{', a name that is not found here' if isinstance(annotation, str) else ''}; annotate it "
        "str, bytes, str | bytes, dict, list, or with a dataclass, TypedDict, msgspec or pydantic "
        "model"
    )


def _is_json(annotation: Any) -> bool:
    """True for what a message is decoded for."""
    return (typing.get_origin(annotation) or annotation) in (dict, list) or _is_model(annotation)


def _is_model(annotation: Any) -> bool:
    """True for a class that JSON objects can be made into."""
    return isinstance(annotation, type) and (
        dataclasses.is_dataclass(annotation)
        or typing.is_typeddict(annotation)
        or issubclass(annotation, msgspec.Struct)
        or hasattr(annotation, "model_validate_json")
    )


def _json_decoder(annotation: Any) -> Callable[[bytes], Any]:
    """Return what makes a value of the payload and holds it to the annotation."""
    if hasattr(annotation, "model_validate_json"):  # pydantic, when the application uses it
        validate: Callable[[bytes], Any] = annotation.model_validate_json
        return validate
    if annotation in (dict, list) or typing.get_origin(annotation) or _is_model(annotation):
        return msgspec.json.Decoder(annotation).decode
    return orjson.loads
