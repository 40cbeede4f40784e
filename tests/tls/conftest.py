"""What the tests over TLS share."""

import ssl
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

from tests.certificates import Certificates
from tests.connection.peer import App, echo
from tests.tls.end import TlsEnd
from wsgroups.server.certificates import make_context

Connect: TypeAlias = Callable[..., TlsEnd]


@pytest.fixture(params=["1.2", "1.3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    """Each version of TLS that we speak."""
    return {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[request.param]


@pytest.fixture
def serve(certificates: Certificates) -> Iterator[Callable[..., App]]:
    """Make an application over TLS, an echo; at the end everything open breaks off."""
    apps: list[App] = []

    def make(**options: Any) -> App:
        tls = make_context(certificates.cert, certificates.key)
        apps.append(App(**{"text": echo, "binary": echo, "tls": tls, **options}))
        return apps[-1]

    yield make
    for app in apps:
        app.finish()


@pytest.fixture
def connect(certificates: Certificates, version: ssl.TLSVersion) -> Connect:
    """Connect to an application; its TLS has not begun yet."""
    context = certificates.client()
    context.maximum_version = version

    def dial(app: App) -> TlsEnd:
        return TlsEnd(app, context)

    return dial
