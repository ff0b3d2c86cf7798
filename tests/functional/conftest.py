"""A real libvirtd for the functional tests, in namespaces of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.private_libvirtd import PrivateLibvirtd, link, missing
from tests.functional.lab import Lab, usable

pytest_plugins = ["tests.rotation"]


@pytest.fixture(scope="session")
def private_libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateLibvirtd]:
    """The daemon itself, for tests that kill it."""
    if reason := missing():
        pytest.skip(f"private libvirtd: {reason}")
    # The path of a Unix socket may be 107 bytes long: stay near the top.
    daemon = PrivateLibvirtd(Path(tmp_path_factory.mktemp("lv")))
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture(scope="session")
def libvirt_uri(private_libvirtd: PrivateLibvirtd) -> str:
    """What to put into [libvirt]connection_uri."""
    return private_libvirtd.uri


@pytest.fixture(scope="session")
def second_libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateLibvirtd]:
    """The daemon of another machine."""
    if reason := missing():
        pytest.skip(f"private libvirtd: {reason}")
    daemon = PrivateLibvirtd(Path(tmp_path_factory.mktemp("lw")), "second")
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture(scope="session")
def linked_libvirtds(
    private_libvirtd: PrivateLibvirtd, second_libvirtd: PrivateLibvirtd
) -> tuple[tuple[PrivateLibvirtd, str], tuple[PrivateLibvirtd, str]]:
    """Both with their addresses on the cable between them."""
    one, two = link(private_libvirtd, second_libvirtd)
    return (private_libvirtd, one), (second_libvirtd, two)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A host whose agent may be killed."""
    if reason := missing() or usable():
        pytest.skip(f"private libvirtd: {reason}")
    made = Lab()
    try:
        yield made
    finally:
        made.stop()
