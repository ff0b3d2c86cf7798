"""Servers with a TPM, whose passphrases a real Barbican keeps: on and off, and on another host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cloud.support.api import NAME_PREFIX, Api
from tests.cloud.support.devcloud import DevCloud
from tests.cloud.support.moves import THREE_WAYS

pytestmark = [
    pytest.mark.cloud, pytest.mark.lite_only, pytest.mark.alone, pytest.mark.timeout(900),
]  # fmt: skip

STATE = "/var/lib/libvirt/swtpm/{server}/tpm2/tpm2-00.permall"


@pytest.fixture(scope="module")
def barbican(cloud: DevCloud, api: Api) -> Iterator[None]:
    with cloud.brought_up("barbican"):
        # What nova keeps of an older token does not say where Barbican is.
        api.connection.session.invalidate()
        yield


@pytest.fixture
def hosts_use_it(cloud: DevCloud, barbican: None, node: str, other: str) -> Iterator[None]:
    with contextlib.ExitStack() as undo:
        for host in (node, other):
            undo.enter_context(cloud.options(host, "[key_manager]\nbackend = barbican"))
        yield


@pytest.fixture
def flavor(api: Api, garbage: Any) -> str:
    body = {"name": f"{NAME_PREFIX}.tpm", "ram": 128, "vcpus": 1, "disk": 1}
    flavor = str(api.call("POST", "/flavors", {"flavor": body})["flavor"]["id"])
    garbage.later(lambda: api.call("DELETE", f"/flavors/{flavor}", ok=False))
    specs = {"extra_specs": {"hw:tpm_version": "2.0", "hw:tpm_model": "tpm-crb"}}
    api.call("POST", f"/flavors/{flavor}/os-extra_specs", specs)
    return flavor


@THREE_WAYS
def test_what_a_tpm_knows_travels_with_its_server(
    cloud, api, moves, ends, hosts_use_it, flavor, garbage
):
    """Its state is the same file on the new host, opens there with its passphrase, and is gone from
    the old one."""
    old, new = ends
    server = garbage.server(api.request_boot(old, flavor=flavor)["id"])
    api.wait_status(server, "ACTIVE", 180)
    api.act(server, "os-stop")
    api.wait_status(server, "SHUTOFF", 120)
    content = known(cloud, old, server)
    assert content

    moves.migrate(server, new)
    moves.wait_moved(server)
    moves.revert(server, "SHUTOFF")
    moves.settled(server, old, running=False)
    assert (known(cloud, old, server), known(cloud, new, server)) == (content, "")

    moves.migrate(server, new)
    moves.wait_moved(server)
    moves.confirm(server, "SHUTOFF")
    moves.settled(server, new, running=False)
    assert (known(cloud, old, server), known(cloud, new, server)) == ("", content)
    api.act(server, "os-start")
    api.wait_status(server, "ACTIVE", 120)


def known(cloud: DevCloud, node: str, server: str) -> str:
    """The checksum of what a TPM knows; empty: it is not on this host."""
    path = STATE.format(server=server)
    return (cloud.on(node, "sha256sum", path, check=False).split() or [""])[0]
