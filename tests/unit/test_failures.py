"""What is kept of an error."""

from __future__ import annotations

import json

import pytest

from nova_lite import errors
from nova_lite.errors import ImageNotFound, Verdict
from nova_lite.failures import Failure


def failure_of(error):
    with pytest.raises(type(error)) as caught:
        raise error
    return Failure.of(caught.value)


def test_an_error_of_the_table_keeps_its_row():
    """Name, code and verdict reach the API, the fault and the engine."""
    failure = failure_of(ImageNotFound("Image 42 could not be found."))

    assert (failure.nova_name, failure.code) == ("ImageNotFound", 404)
    assert (failure.verdict, failure.expected) == (Verdict.ABORT, True)
    assert failure.message == "Image 42 could not be found."


def test_a_surprise_tells_only_its_type():
    """Its text could hold a password; where it came from is kept without values."""
    failure = failure_of(RuntimeError("password=hunter2"))

    assert failure.message == "Unexpected RuntimeError in the compute agent; see its log"
    assert "hunter2" not in failure.trace
    assert not failure.expected


def test_a_broken_disk_is_told():
    """A read-only or full file system is the host's fault and no bug; users see no path of it."""
    failure = failure_of(OSError(30, "Read-only file system", "/var/lib/nova/instances/u"))

    assert failure.message == "Read-only file system on the compute host; its log names the file"
    assert (failure.verdict, failure.expected) == (Verdict.RESCHEDULE, True)


def test_what_was_kept_comes_back():
    """The journal holds it as JSON."""
    failure = failure_of(ImageNotFound("gone"))

    kept = json.loads(json.dumps(failure.as_dict()))
    back = Failure(**kept)

    assert (kept["verdict"], back) == ("abort", failure)
    assert back.verdict is Verdict.ABORT


# Errors that are found on a host and say nothing about others.
HOST = (
    errors.VifPlugError, errors.SwitchUnavailable, errors.VifTypeUnsupported,
    errors.PortBindingFailed, errors.VolumeAttachFailed, errors.VolumeDriverMissing,
    errors.HostConnectorFailed, errors.VolumeUnusable, errors.ImageCorrupt, errors.DiskFull,
    errors.DiskError, errors.ConfigDriveError, errors.HypervisorError, errors.HypervisorUnavailable,
    errors.UnsupportedByHost, errors.ResourcesUnavailable, errors.GroupPolicyViolation,
    errors.SerialPortsExhausted, errors.JournalError, errors.InvalidConfiguration,
)  # fmt: skip
# Errors of the request, or of what it names: every host would find the same.
REQUEST = (
    errors.NetworkRequestInvalid, errors.InvalidGuestConfig, errors.InvalidBlockDevice,
    errors.InvalidVolume, errors.BuildAborted, errors.ImageNotFound, errors.ImageNotAuthorized,
    errors.ImageUnacceptable, errors.FlavorDiskTooSmall, errors.FlavorMemoryTooSmall,
    errors.VifPlugTimeout,
)  # fmt: skip


@pytest.mark.parametrize("error", HOST, ids=lambda error: error.__name__)
def test_what_fails_on_a_host_is_tried_on_the_next_one(error):
    """As in stock, which sends everything there that it does not know to be the request's fault."""
    assert error.verdict is Verdict.RESCHEDULE


@pytest.mark.parametrize("error", REQUEST, ids=lambda error: error.__name__)
def test_what_is_wrong_with_the_request_ends_the_build(error):
    """A port that Neutron does not wire up in time, too: as in stock."""
    assert error.verdict is Verdict.ABORT


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("no memory", "no memory (host node1)"),
        ("Migration pre-check failed on host 'node1': no", None),
        ("node1.example.org is away", "node1.example.org is away (host node1)"),
        ("cannot reach node12", "cannot reach node12 (host node1)"),
        ("cannot reach node1.", None),
        ("host node2: no memory", None),
    ],
)
def test_one_of_two_hosts_is_named(message, told):
    """Unless the message does so; what another host has told begins with that one's name."""
    failure = failure_of(ImageNotFound(message))

    assert failure.told_by("node1").message == (told or message)
    assert failure.told_by("node1").trace == failure.trace
