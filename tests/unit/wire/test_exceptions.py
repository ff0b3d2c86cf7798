"""What the conductor's exceptions mean here, and what of them is repeated."""

from __future__ import annotations

import pytest

from nova_lite.errors import ControlPlaneUnavailable, ServerNotFound
from nova_lite.wire import exceptions


class Remote(Exception):
    """As oslo.messaging's RemoteError."""

    def __init__(self, exc_type, value):
        self.exc_type, self.value = exc_type, value


def test_known_exceptions_become_rows_of_the_table():
    """The name decides."""
    assert isinstance(exceptions.incoming(Remote("InstanceNotFound", "gone")), ServerNotFound)


@pytest.mark.parametrize("name", ["DBConnectionError", "CantStartEngineError", "MessagingTimeout"])
def test_what_the_conductor_misses_is_waited_for(name):
    """A database that restarts must not cost a server."""
    error = exceptions.incoming(Remote(name, "(2003, secret)"))

    assert isinstance(error, ControlPlaneUnavailable)
    assert "secret" not in str(error)


def test_statements_of_the_database_are_not_repeated():
    """They carry the values: user data, passwords, tokens."""
    remote = Remote("DBDataError", "Data too long\n[SQL: UPDATE x SET y=%s]\n[parameters: hush]")

    error = exceptions.incoming(remote)

    assert str(error) == "nova-conductor: DBDataError: Data too long"
