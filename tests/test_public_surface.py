"""What `import wsgroups` gives: all of it on purpose, all of it explained."""

import enum
import importlib.metadata
import inspect
import re
import types
from collections.abc import Iterator

import pytest

import wsgroups


def test_all_is_exactly_what_is_there() -> None:
    there = {
        name
        for name, value in vars(wsgroups).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert set(wsgroups.__all__) == there


def test_all_is_sorted_and_has_no_name_twice() -> None:
    assert wsgroups.__all__ == sorted(set(wsgroups.__all__))


def test_the_version_is_that_of_the_distribution() -> None:
    assert wsgroups.__version__ == importlib.metadata.version("wsgroups")


def members() -> Iterator[tuple[str, object]]:
    """Yield every public name, and the methods and properties that our classes give theirs."""
    for name in wsgroups.__all__:
        value = getattr(wsgroups, name)
        yield name, value
        if not isinstance(value, type):
            continue
        for parent in value.__mro__:
            if not parent.__module__.startswith("wsgroups"):
                continue
            for member, found in vars(parent).items():
                if not member.startswith("_") and _is_explainable(found):
                    yield f"{name}.{member}", found


def _is_explainable(value: object) -> bool:
    """Tell methods and properties from enum members, fields and slots."""
    if isinstance(value, enum.Enum | types.MemberDescriptorType):
        return False
    if isinstance(value, types.GetSetDescriptorType):
        return True
    return callable(value) or isinstance(value, property | classmethod | staticmethod)


@pytest.mark.parametrize(
    ("name", "value"), list(members()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_everything_public_has_a_docstring(name: str, value: object) -> None:
    owner, _, short = name.rpartition(".")
    lines = [line for line in (inspect.getdoc(value) or "").splitlines() if line]
    # Compiled functions begin with their signature.
    if lines and (f".{short}(" in lines[0] or lines[0].startswith(f"{short}(")):
        lines = lines[1:]
    assert lines or _is_listed(getattr(wsgroups, owner or name), short), f"{name} is not explained"


def _is_listed(owner: type, attribute: str) -> bool:
    """Plain attributes of compiled classes are explained in the docstring of their class."""
    return any(
        re.search(rf"Attributes:.*\n +{attribute}: ", parent.__doc__ or "", re.DOTALL)
        for parent in owner.__mro__
    )


def test_errors_have_one_root_and_say_what_the_peer_is_told() -> None:
    errors = [
        value
        for value in vars(wsgroups).values()
        if isinstance(value, type) and issubclass(value, BaseException)
    ]
    assert errors
    assert all(issubclass(error, wsgroups.WSGroupsError) for error in errors)
    assert wsgroups.UpgradeRequiredError().status == 426
    assert wsgroups.OriginRefusedError("http://x").status == 403
    assert wsgroups.SocketGoneError("gone").close_code == 1006
