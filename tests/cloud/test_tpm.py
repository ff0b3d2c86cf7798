"""Servers with a TPM, whose passphrases a real Barbican keeps: on and off, on another host, and on
their way there as they run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cloud.support.api import NAME_PREFIX, Api
from tests.cloud.support.devcloud import DevCloud, wait_for
from tests.cloud.support.guest import boot_with_agent
from tests.cloud.support.live import boot_id, sending, went_live
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
    return of_mode(api, garbage)


def of_mode(api: Api, garbage: Any, mode: str | None = None) -> str:
    """The id of a flavor whose servers have a TPM with such a key."""
    body = {"name": f"{NAME_PREFIX}.tpm", "ram": 128, "vcpus": 1, "disk": 1}
    flavor = str(api.call("POST", "/flavors", {"flavor": body})["flavor"]["id"])
    garbage.later(lambda: api.call("DELETE", f"/flavors/{flavor}", ok=False))
    specs = {"hw:tpm_version": "2.0", "hw:tpm_model": "tpm-crb"}
    if mode is not None:
        specs["hw:tpm_secret_security"] = mode
    api.call("POST", f"/flavors/{flavor}/os-extra_specs", {"extra_specs": specs})
    return flavor


@pytest.fixture
def knows_modes(cloud: DevCloud) -> None:
    if cloud.release < "2026.1":
        pytest.skip(f"nova-api {cloud.release} knows no hw:tpm_secret_security")


@pytest.fixture
def live_ends(
    cloud: DevCloud, hosts_use_it: None, other: str, ends: tuple[str, str]
) -> Iterator[tuple[str, str]]:
    """Both hosts send to each other."""
    with sending(cloud, other):
        yield ends


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


@THREE_WAYS
def test_a_tpm_goes_with_its_server_as_it_runs(
    cloud, api, moves, knows_modes, live_ends, garbage
):
    """There and back: what the host keeps of it goes along, and so does what it knows."""
    old, new = live_ends
    server = boot_with_agent(api, old, garbage, flavor=of_mode(api, garbage, "host"))["id"]
    assert (known(cloud, old, server) != "", kept(cloud, old, server)) == (True, True)
    running = boot_id(cloud, old, server)

    for source, target in ((old, new), (new, old)):
        went_live(cloud, moves, server, target, running)
        wait_for("what the other host forgets", lambda source=source: not (
            known(cloud, source, server) or kept(cloud, source, server)
        ), 30)  # fmt: skip
        assert (known(cloud, target, server) != "", kept(cloud, target, server)) == (True, True)

    api.act(server, "os-stop")
    api.wait_status(server, "SHUTOFF", 120)
    assert kept(cloud, old, server)
    api.act(server, "os-start")
    api.wait_status(server, "ACTIVE", 120)
    api.call("DELETE", f"/servers/{server}")
    wait_for("an end of the secret", lambda: not kept(cloud, old, server), 60)


@THREE_WAYS
def test_a_key_of_the_compute_service_is_the_same_on_all_hosts(
    cloud, api, moves, knows_modes, ends, hosts_use_it, garbage
):
    """nova-compute and this agent start each other's servers; nova-api lets none go as it runs."""
    old, new = ends
    flavor = of_mode(api, garbage, "deployment")
    server = garbage.server(api.request_boot(old, flavor=flavor)["id"])
    api.wait_status(server, "ACTIVE", 180)
    assert not kept(cloud, old, server)
    live = {"os-migrateLive": {"host": new, "block_migration": "auto"}}
    refused = api.call("POST", f"/servers/{server}/action", live, ok=False)
    assert refused.status_code == 400  # by nova-api, of 2026.1 and 2026.2
    assert "not supported for vTPM" in refused.text

    moves.migrate(server, new)
    moves.wait_moved(server)
    moves.confirm(server)
    moves.settled(server, new)
    assert (known(cloud, old, server), known(cloud, new, server) != "") == ("", True)
    assert not (kept(cloud, old, server) or kept(cloud, new, server))
    api.act(server, "reboot", {"type": "HARD"})
    api.wait_status(server, "ACTIVE", 120)


def kept(cloud: DevCloud, node: str, server: str) -> bool:
    """Whether libvirt keeps what opens the TPM."""
    return server in cloud.on(node, "virsh", "secret-list")


def known(cloud: DevCloud, node: str, server: str) -> str:
    """The checksum of what a TPM knows; empty: it is not on this host."""
    path = STATE.format(server=server)
    return (cloud.on(node, "sha256sum", path, check=False).split() or [""])[0]
