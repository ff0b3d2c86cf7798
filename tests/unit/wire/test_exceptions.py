"""What the conductor's exceptions mean here, and what of them is repeated."""

from __future__ import annotations

import pytest

from nova_lite import errors
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


def test_exceptions_of_another_host_name_it():
    """The row is found by the name that nova has for it; what is no row keeps its name."""
    known = exceptions.incoming_from_host(Remote("PortBindingFailed", "no OVS"), "two")
    unknown = exceptions.incoming_from_host(Remote("MigrationPreCheckError", "no"), "two")

    assert isinstance(known, errors.PortBindingFailed)
    assert str(known) == "host two: no OVS"
    assert isinstance(unknown, exceptions.RemoteFailure)
    assert unknown.exc_type == "MigrationPreCheckError"


@pytest.mark.parametrize(
    "name",
    [
        "ServiceUnavailable", "CinderConnectionFailed",  # waited for over there already
        "InvalidVolume",  # several rows have the name
        "GuestAgentNotEnabled", "QemuGuestAgentNotEnabled",  # made of more than a message
    ],
)  # fmt: skip
def test_rows_that_another_hosts_exception_does_not_become(name):
    """It is a failure of that host, which nothing here can wait for."""
    error = exceptions.incoming_from_host(Remote(name, "x"), "two")

    assert type(error) is exceptions.RemoteFailure


def test_the_servers_state_means_the_same_wherever_it_is_found_out():
    """A server that is gone is gone for the host that asks, too."""
    error = exceptions.incoming_from_host(Remote("InstanceNotFound", "gone"), "two")

    assert isinstance(error, ServerNotFound)
