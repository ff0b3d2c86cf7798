"""Claims: what servers use of this host."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from nova_lite import errors
from nova_lite.inventory.claims import Claims, Role, Sizes
from nova_lite.inventory.numa import host_cells
from nova_lite.model.host import HostFacts, NumaCell
from nova_lite.model.server import Flavor

CPUS = frozenset(range(4))
NODE = NumaCell(0, 4 * 1024**2, CPUS, tuple(frozenset({c}) for c in CPUS), {4: 1024**2}, 0)
HOST = host_cells(HostFacts("h", "u", "x86_64", "QEMU", 1, 1, CPUS, 4096, {}, (NODE,)))
FLAVOR = Flavor("m1", "1", vcpus=2, memory_mb=128, root_gb=3, ephemeral_gb=1, swap_mb=1536)


def obj(name, data):
    return {"nova_object.name": name, "nova_object.version": "1.0", "nova_object.data": data}


def pinned(*vcpus, **more):
    """An InstanceNUMATopology with pinned vCPUs."""
    cell = {"id": 0, "cpuset": [], "pcpuset": list(vcpus), "memory": 128,
            "cpu_policy": "dedicated", **more}  # fmt: skip
    return obj("InstanceNUMATopology", {"cells": [obj("InstanceNUMACell", cell)]})


def pins(topology):
    return topology["nova_object.data"]["cells"][0]["nova_object.data"]["cpu_pinning_raw"]


def an_instance(uuid, **changes):
    """An Instance as InstanceList.get_by_host returns it."""
    flavor = {"vcpus": 1, "memory_mb": 64, "root_gb": 2, "ephemeral_gb": 0, "swap": 0}
    data = {
        "uuid": uuid,
        "flavor": obj("Flavor", flavor),
        "image_ref": "some-image",
        "numa_topology": None,
        "vm_state": "active",
        "task_state": None,
        "os_type": None,
        "project_id": "p1",
        **changes,
    }
    return obj("Instance", data)


def used(claims):
    total = claims.usage().used
    return total.vcpus, total.memory_mb, total.disk_gb


def test_totals():
    """CPUs, memory and disks add up; swap counts as disk, in whole GiB at the end."""
    claims = Claims()
    claims.claim("a", FLAVOR)
    claims.claim("b", FLAVOR)

    assert used(claims) == (4, 256, 2 * 4 + 3)
    assert claims.usage().running_vms == 2


def test_volume_backed_servers_use_no_root_disk():
    """Their root disk is the volume's matter."""
    claims = Claims()
    claims.claim("a", Sizes.of(FLAVOR, volume_backed=True))

    assert used(claims) == (2, 128, 2)


def test_a_second_claim_is_the_first_one():
    """A repeated step neither counts twice nor moves the server."""
    claims = Claims(HOST)
    first = claims.claim("a", FLAVOR, pinned(0, 1))
    claims.claim("b", FLAVOR, pinned(0))

    assert claims.claim("a", FLAVOR, pinned(0, 1)) == first
    assert used(claims)[0] == 4


def test_release_gives_back_and_may_be_repeated():
    """CPUs of a released server can be pinned again."""
    claims = Claims(HOST)
    claims.claim("a", FLAVOR, pinned(0, 1, 2, 3))
    with pytest.raises(errors.ResourcesUnavailable):
        claims.claim("b", FLAVOR, pinned(0))

    claims.release("a")
    claims.release("a")

    assert pins(claims.claim("b", FLAVOR, pinned(0))) == {"0": 0}


def test_a_refused_claim_leaves_nothing_behind():
    """A server that does not fit is not counted."""
    claims = Claims(HOST)
    with pytest.raises(errors.ResourcesUnavailable):
        claims.claim("a", FLAVOR, pinned(*range(5)))

    assert used(claims) == (0, 0, 0)
    assert claims.servers() == frozenset()


def test_numa_needs_a_host_with_nodes():
    """A host that tells no nodes refuses topologies and takes the rest."""
    claims = Claims()
    with pytest.raises(errors.ResourcesUnavailable, match="NUMA topology"):
        claims.claim("a", FLAVOR, pinned(0))

    assert claims.claim("a", FLAVOR) is None
    assert claims.numa_json() is None


def test_a_topology_placed_before_stays_where_it_is():
    """An interrupted boot goes on with the pins that were saved."""
    claims = Claims(HOST)
    saved = pinned(0, cpu_pinning_raw={"0": 3})

    assert pins(claims.claim("a", FLAVOR, saved, placed=True)) == {"0": 3}
    assert pins(claims.claim("b", FLAVOR, pinned(0, 1, 2))) == {"0": 0, "1": 1, "2": 2}


def test_limits_bound_a_claim():
    """The scheduler's ratios are honoured."""
    claims = Claims(HOST)
    bounds = obj("NUMATopologyLimits", {"cpu_allocation_ratio": 0.5, "ram_allocation_ratio": 1.0})
    wish = pinned(cpuset=[0, 1, 2], cpu_policy=None)

    with pytest.raises(errors.ResourcesUnavailable):
        claims.claim("a", FLAVOR, wish, limits=bounds)
    assert claims.claim("a", FLAVOR, wish)


def test_restore():
    """Servers found at start-up count as before, and their CPUs stay theirs."""
    claims = Claims()
    claims.restore(
        [
            an_instance("a", numa_topology=pinned(0, cpu_pinning_raw={"0": 0})),
            an_instance("b", image_ref="", task_state="rebooting"),
            an_instance("gone", vm_state="shelved_offloaded"),
        ]
    )
    claims.set_host(HOST)

    assert used(claims) == (2, 128, 2)
    assert pins(claims.claim("c", FLAVOR, pinned(0))) == {"0": 1}
    states = {(server.vm_state, server.task_state) for server in claims.usage().servers}
    assert states == {("active", None), ("active", "rebooting"), ("building", None)}


def test_restore_takes_wrapped_objects():
    """Objects that keep their primitive in an attribute are as good as primitives."""

    @dataclass
    class Wrapped:
        primitive: dict[str, Any]

    claims = Claims(HOST)
    claims.restore([Wrapped(an_instance("a"))])

    assert claims.servers() == {"a"}
    assert claims.claim("b", FLAVOR, Wrapped(pinned(0)))


def test_a_broken_record_does_not_keep_the_host_down(caplog):
    """It is logged, and the others are counted."""
    broken = an_instance("broken")
    del broken["nova_object.data"]["flavor"]
    claims = Claims()

    claims.restore([broken, an_instance("a")])

    assert claims.servers() == {"a"}
    assert "broken" in caplog.text


def test_pins_that_this_host_no_longer_offers_stay_taken():
    """After a change of cpu_dedicated_set old guests run on, and nobody joins them."""
    claims = Claims(HOST)
    claims.restore([an_instance("a", numa_topology=pinned(0, cpu_pinning_raw={"0": 9}))])

    (cell,) = json.loads(claims.numa_json())["nova_object.data"]["cells"]
    assert cell["nova_object.data"]["pinned_cpus"] == [9]


def test_numa_json_shows_usage():
    """The scheduler sees pinned CPUs, memory and pages in use."""
    claims = Claims(HOST)
    claims.claim("a", FLAVOR, pinned(0, 1))

    (cell,) = json.loads(claims.numa_json())["nova_object.data"]["cells"]
    data = cell["nova_object.data"]
    assert (data["pinned_cpus"], data["memory_usage"], data["cpu_usage"]) == ([0, 1], 128, 0)
    assert data["mempages"][0]["nova_object.data"]["used"] == 128 * 256


def test_states_for_the_statistics():
    """A new claim is a server being built until somebody says otherwise."""
    claims = Claims()
    claims.claim("a", FLAVOR, project_id="p", os_type="linux")
    (server,) = claims.usage().servers
    assert (server.vm_state, server.project_id, server.os_type) == ("building", "p", "linux")

    claims.note("a", vm_state="active")
    claims.note("unknown", vm_state="active")

    assert [server.vm_state for server in claims.usage().servers] == ["active"]


def test_failed_builds_in_a_row():
    """A build that succeeds starts the count anew."""
    claims = Claims()
    claims.build_ended(failed=True)
    claims.build_ended(failed=True)
    assert claims.usage().failed_builds == 2

    claims.build_ended(failed=False)
    assert claims.usage().failed_builds == 0


def test_claims_from_many_threads_share_no_cpu():
    """Four CPUs go to four of eight servers that come at once."""
    claims = Claims(HOST)

    def try_claim(number):
        try:
            return pins(claims.claim(str(number), FLAVOR, pinned(0)))["0"]
        except errors.ResourcesUnavailable:
            return None

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(try_claim, range(8)))

    assert sorted(cpu for cpu in results if cpu is not None) == [0, 1, 2, 3]
    assert results.count(None) == 4


def test_a_server_claims_for_each_of_its_roles():
    """Old and new flavor of a resize on this host do not share CPUs; each is given back alone."""
    claims = Claims(HOST)
    claims.claim("a", FLAVOR, pinned(0, 1))
    new = claims.claim("a", FLAVOR, pinned(0), role=Role.INCOMING)

    assert pins(new) == {"0": 2}
    assert claims.topology("a", Role.INCOMING) == new
    assert used(claims) == (4, 256, 11)
    assert claims.usage().running_vms == 1

    claims.release("a", Role.INCOMING)
    assert claims.topology("a", Role.INCOMING) is None
    assert used(claims) == (2, 128, 5)

    claims.release("a")
    assert claims.servers() == frozenset()


def test_what_is_coming_counts_among_the_neighbours():
    """A server group's policy looks at it, too."""
    claims = Claims()
    claims.claim("coming", FLAVOR, role=Role.INCOMING)
    claims.claim("a", FLAVOR)
    claims.claim("a", FLAVOR, role=Role.OUTGOING)

    assert claims.before("a") == {"coming"}
    assert claims.before("new") == {"coming", "a"}


def test_what_left_is_kept_for_its_way_back():
    """Once: asking again changes nothing."""
    claims = Claims(HOST)
    claims.claim("a", Sizes(2, 64))

    for _ in range(2):
        claims.turn("a", Role.CURRENT, Role.OUTGOING)

    assert claims.here() == frozenset()
    assert claims.usage().used.vcpus == 2


@pytest.mark.parametrize("stayed", [True, False])
def test_what_was_to_come_is_here(stayed):
    """Of a server that got another flavor here, what it had is kept, too; once."""
    claims = Claims(HOST)
    claims.claim("a", Sizes(1, 64))
    claims.claim("a", Sizes(2, 64), role=Role.INCOMING)

    for _ in range(2):
        claims.arrive("a", stayed=stayed)

    assert claims.here() == {"a"}
    assert claims.usage().used.vcpus == (3 if stayed else 2)
