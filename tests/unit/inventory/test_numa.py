"""Fitting guest NUMA topologies onto the host."""

import copy
import json

import pytest

from nova_lite import errors
from nova_lite.inventory import numa
from nova_lite.inventory.numa_guest import parse
from nova_lite.inventory.numa_host import HostPages, charge
from nova_lite.model.host import HostFacts, NumaCell

GIB_KIB = 1024**2
# As stock nova-compute 34 reported its host (recorded in ComputeNode.save, changes left out).
STOCK = (
    '{"nova_object.name": "NUMATopology", "nova_object.namespace": "nova", '
    '"nova_object.version": "1.2", "nova_object.data": {"cells": [{"nova_object.name": "NUMACell", '
    '"nova_object.namespace": "nova", "nova_object.version": "1.5", "nova_object.data": {"id": 0, '
    '"cpuset": [0, 1], "pcpuset": [0, 1], "memory": 14170, "cpu_usage": 0, "memory_usage": 0, '
    '"pinned_cpus": [], "siblings": [[0], [1]], "mempages": [{"nova_object.name": '
    '"NUMAPagesTopology", "nova_object.namespace": "nova", "nova_object.version": "1.1", '
    '"nova_object.data": {"size_kb": 4, "total": 3627573, "used": 0, "reserved": 0}}], '
    '"network_metadata": {"nova_object.name": "NetworkMetadata", "nova_object.namespace": "nova", '
    '"nova_object.version": "1.0", "nova_object.data": {"physnets": [], "tunneled": false}}, '
    '"socket": 0}}]}}'
)


def facts(*cells):
    online = frozenset().union(*(cell.cpus for cell in cells))
    return HostFacts("h", "u", "x86_64", "QEMU", 7002000, 9000000, online, 1, {}, cells)


def a_node(number, cores, threads=1, *, gib=4, huge=0):
    """A host node with ``cores`` of ``threads`` CPUs each and ``huge`` pages of 2 MiB."""
    first = number * cores * threads
    siblings = tuple(
        frozenset(range(first + core * threads, first + (core + 1) * threads))
        for core in range(cores)
    )
    pages = {4: gib * GIB_KIB // 4 - huge * 512, 2048: huge}
    return NumaCell(number, gib * GIB_KIB, frozenset().union(*siblings), siblings, pages, number)


def a_host(*nodes, **sets):
    return numa.host_cells(facts(*nodes), **sets)


def obj(name, version, data):
    return {
        "nova_object.name": name,
        "nova_object.namespace": "nova",
        "nova_object.version": version,
        "nova_object.data": data,
    }


def wanted(*cells, emulator=None):
    """An InstanceNUMATopology as nova-api sends it."""
    base = {
        "cpuset": [],
        "pcpuset": [],
        "cpuset_reserved": None,
        "memory": 512,
        "pagesize": None,
        "cpu_pinning_raw": None,
        "cpu_policy": None,
        "cpu_thread_policy": None,
    }
    members = [
        obj("InstanceNUMACell", "1.6", {**base, "id": number, **cell})
        for number, cell in enumerate(cells)
    ]
    return obj(
        "InstanceNUMATopology", "1.3", {"cells": members, "emulator_threads_policy": emulator}
    )


def pinned(vcpus, policy=None, **more):
    return {"pcpuset": vcpus, "cpu_policy": "dedicated", "cpu_thread_policy": policy, **more}


# --- the host ---------------------------------------------------------------------------------
def test_json_is_that_of_stock():
    """The record says the same of the same host, byte for byte."""
    host = numa.host_cells(
        facts(
            NumaCell(
                0,
                14170 * 1024,
                frozenset({0, 1}),
                (frozenset({0}), frozenset({1})),
                {4: 3627573},
                0,
            )
        )
    )

    assert numa.to_json(host) == STOCK


def test_json_round_trip_with_usage():
    """Nothing is lost between the host, its record and back."""
    host = a_host(a_node(0, 2, 2, huge=8), a_node(1, 2, 2), reserved={0: {2048: 2}})
    host = numa.use(host, numa.fit(host, wanted(pinned([0, 1]), {"cpuset": [2]})))

    assert numa.from_json(numa.to_json(host)) == host
    assert numa.from_json(None) == ()
    assert numa.to_json(()) is None


def test_cpu_sets():
    """With one of the sets, CPUs are for what it says; without, for both."""
    node = a_node(0, 4)

    def cpus(**sets):
        (cell,) = a_host(node, **sets)
        return cell.cpus, cell.pcpus

    assert cpus() == ({0, 1, 2, 3}, {0, 1, 2, 3})
    assert cpus(shared=frozenset({0, 9})) == ({0}, set())
    assert cpus(dedicated=frozenset({2, 3})) == (set(), {2, 3})
    assert cpus(shared=frozenset({0}), dedicated=frozenset({2})) == ({0}, {2})


def test_overlapping_cpu_sets():
    """A CPU cannot be shared and pinned."""
    with pytest.raises(errors.InvalidConfiguration, match=r"\[1\]"):
        a_host(a_node(0, 4), shared=frozenset({0, 1}), dedicated=frozenset({1}))


def test_reserved_pages():
    """reserved_huge_pages knows KiB and units."""
    entries = [
        {"node": "0", "size": "2048", "count": "64"},
        {"node": "1", "size": "1GB", "count": "1"},
        {"node": "1", "size": "2MB", "count": "3"},
    ]

    assert numa.reserved_pages(entries) == {0: {2048: 64}, 1: {GIB_KIB: 1, 2048: 3}}


@pytest.mark.parametrize("entry", [{"node": "0"}, {"node": "x", "size": "4", "count": "1"},
                                   {"node": "0", "size": "big", "count": "1"}])  # fmt: skip
def test_invalid_reserved_pages(entry):
    """The message shows the form."""
    with pytest.raises(errors.InvalidConfiguration, match="node:NODE,size:SIZE,count:COUNT"):
        numa.reserved_pages([entry])


def test_reserved_pages_are_not_for_guests():
    """Only whole free pages count."""
    pages = HostPages(2048, total=4, used=1, reserved=1)

    assert pages.fits(2 * 2048)
    assert not pages.fits(3 * 2048)
    assert pages.fits(4 * 2048, overcommit=True)
    assert not pages.fits(2047)


def test_charge_counts_memory_in_the_smallest_pages_by_default():
    """A guest without a page size uses ordinary pages."""
    (cell,) = a_host(a_node(0, 1, huge=4))
    cell = charge(cell, 8, None)

    assert [(p.size_kib, p.used) for p in cell.pages] == [(4, 2048), (2048, 0)]


# --- fitting ----------------------------------------------------------------------------------
def placed(host, topology, **more):
    """The cells of the fitted topology."""
    return parse(numa.fit(host, topology, **more)).cells


def test_the_wish_is_not_changed():
    """The wanted primitive may be used for another try."""
    wish = wanted(pinned([0]))
    before = copy.deepcopy(wish)
    result = numa.fit(a_host(a_node(0, 2)), wish)

    assert wish == before
    assert result["nova_object.data"]["cells"][0]["nova_object.data"]["cpu_pinning_raw"] == {"0": 0}
    assert result["nova_object.changes"] == ["cells"]
    json.dumps(result)


def test_each_guest_node_on_a_host_node_of_its_own():
    """Two guest nodes need two host nodes."""
    host = a_host(a_node(0, 2), a_node(1, 2))
    wish = wanted({"cpuset": [0]}, {"cpuset": [1]})

    assert {cell.id for cell in placed(host, wish)} == {0, 1}
    with pytest.raises(errors.ResourcesUnavailable, match="2 NUMA nodes"):
        placed(a_host(a_node(0, 4)), wish)


@pytest.mark.parametrize(("pack", "expected"), [(False, 1), (True, 0)])
def test_spreading_and_packing(pack, expected):
    """A second guest goes to the emptier node, or to the fuller one when packing."""
    host = a_host(a_node(0, 4), a_node(1, 4))
    host = numa.use(host, wanted(pinned([0], cpu_pinning_raw={"0": 0}, id=0)))

    assert placed(host, wanted(pinned([0])), pack=pack)[0].id == expected


@pytest.mark.parametrize(
    ("policy", "vcpus", "expected"),
    [
        (None, 4, [0, 1, 2, 3]),
        ("prefer", 3, [0, 1, 2]),
        ("require", 2, [0, 1]),
        ("isolate", 3, [0, 2, 4]),
    ],
)
def test_thread_policies(policy, vcpus, expected):
    """Siblings are shared, must be shared or are left empty, as the policy says."""
    (cell,) = placed(a_host(a_node(0, 4, 2)), wanted(pinned(list(range(vcpus)), policy)))

    assert cell.pins == dict(enumerate(expected))


def test_isolated_cores_are_spoilt_for_others():
    """The sibling of an isolated vCPU stays free but cannot be pinned."""
    host = a_host(a_node(0, 2, 2))
    host = numa.use(host, numa.fit(host, wanted(pinned([0], "isolate"))))

    assert host[0].pinned == {0, 1}
    (cell,) = placed(host, wanted(pinned([0, 1])))
    assert cell.pins == {0: 2, 1: 3}


@pytest.mark.parametrize(
    ("node", "policy", "vcpus"),
    [
        (a_node(0, 4, 1), "require", 2),
        (a_node(0, 2, 2), "isolate", 3),
        (a_node(0, 2, 2), None, 5),
    ],
)
def test_policies_that_cannot_be_met(node, policy, vcpus):
    """No threads, too few cores, too few CPUs."""
    with pytest.raises(errors.ResourcesUnavailable):
        numa.fit(a_host(node), wanted(pinned(list(range(vcpus)), policy)))


def test_prefer_takes_scattered_cpus_when_it_must():
    """Without free siblings left the preference gives way."""
    host = a_host(a_node(0, 3, 2))
    taken = wanted(pinned([0, 1, 2], cpu_pinning_raw={"0": 0, "1": 2, "2": 4}))
    host = numa.use(host, taken)

    (cell,) = placed(host, wanted(pinned([0, 1, 2], "prefer")))
    assert sorted(cell.pins.values()) == [1, 3, 5]


def test_isolate_on_split_hosts_with_threads():
    """Placement does not know of spoilt siblings, so a host with a dedicated set refuses."""
    host = a_host(a_node(0, 4, 2), dedicated=frozenset({0, 1, 2, 3}))

    with pytest.raises(errors.ResourcesUnavailable):
        numa.fit(host, wanted(pinned([0], "isolate")))


def test_isolated_emulator_threads_get_a_cpu_beside_the_first_node():
    """One more CPU is taken, and counted as taken."""
    host = a_host(a_node(0, 2), a_node(1, 2))
    wish = wanted(pinned([0]), pinned([1]), emulator="isolate")
    result = numa.fit(host, wish)
    first, second = parse(result).cells

    assert (len(first.reserved), len(second.reserved)) == (1, 0)
    assert sum(len(cell.pinned) for cell in numa.use(host, result)) == 3
    with pytest.raises(errors.ResourcesUnavailable):
        numa.fit(a_host(a_node(0, 1), a_node(1, 1)), wish)


def test_mixed_policy():
    """Some vCPUs are pinned, the others share."""
    host = a_host(a_node(0, 4), shared=frozenset({0, 1}), dedicated=frozenset({2, 3}))
    result = numa.fit(host, wanted({"cpuset": [0], "pcpuset": [1], "cpu_policy": "mixed"}))

    assert parse(result).cells[0].pins == {1: 2}
    (used,) = numa.use(host, result)
    assert (used.cpu_usage, used.pinned) == (1, {2})


@pytest.mark.parametrize(
    ("pagesize", "memory", "expected"),
    [(-1, 512, 4), (-2, 512, 2048), (-3, 512, 2048), (2048, 512, 2048), (None, 512, None),
     (-3, 1023, 4), (-3, 1024, 4), (4, 512, 4)],
)  # fmt: skip
def test_page_sizes(pagesize, memory, expected):
    """Small, large, any (the largest that suffices) or just that size."""
    host = a_host(a_node(0, 2, huge=256))
    (cell,) = placed(host, wanted({"cpuset": [0], "memory": memory, "pagesize": pagesize}))

    assert cell.page_size == expected


@pytest.mark.parametrize("pagesize", [-2, 2048, GIB_KIB])
def test_missing_pages(pagesize):
    """Neither too few nor unknown pages will do."""
    host = a_host(a_node(0, 2, huge=255))
    with pytest.raises(errors.ResourcesUnavailable):
        numa.fit(host, wanted({"cpuset": [0], "memory": 512, "pagesize": pagesize}))


def test_huge_pages_are_used_up():
    """A second guest finds what the first one left."""
    host = a_host(a_node(0, 4, huge=300))
    wish = wanted({"cpuset": [0], "memory": 512, "pagesize": -2})
    host = numa.use(host, numa.fit(host, wish))

    assert [(p.size_kib, p.used) for p in host[0].pages] == [(4, 0), (2048, 256)]
    with pytest.raises(errors.ResourcesUnavailable):
        numa.fit(host, wish)


def test_page_size_is_chosen_for_each_host_node():
    """'any' on a node without huge pages does not forbid them on the next one.

    Stock Nova writes its first choice into the wish, so it misses such placements.
    """
    host = a_host(a_node(0, 1), a_node(1, 4, huge=256))
    first = numa.use(host, wanted(pinned([0], cpu_pinning_raw={"0": 0})))

    (cell,) = placed(first, wanted(pinned([0], pagesize=-3)))
    assert (cell.id, cell.page_size) == (1, 2048)


@pytest.mark.parametrize(
    ("cell", "fits"),
    [
        ({"cpuset": [0], "memory": 3000}, True),
        ({"cpuset": [0], "memory": 5000}, False),
        (pinned([0], memory=3000), False),
    ],
)
def test_only_shared_guests_overcommit_memory(cell, fits):
    """Pinned guests need memory that is free, others memory that exists."""
    host = a_host(a_node(0, 4, gib=4))
    host = numa.use(host, wanted({"cpuset": [0], "memory": 2000}))

    if fits:
        assert placed(host, wanted(cell))
    else:
        with pytest.raises(errors.ResourcesUnavailable):
            numa.fit(host, wanted(cell))


def limits(**changes):
    data = {"cpu_allocation_ratio": 1.0, "ram_allocation_ratio": 1.0}
    network = changes.pop("network", None)
    if network:
        data["network_metadata"] = obj("NetworkMetadata", "1.0", network)
    return numa.Limits.parse(obj("NUMATopologyLimits", "1.1", {**data, **changes}))


def test_limits_of_the_scheduler():
    """Ratios bound what shared guests take of a node."""
    host = a_host(a_node(0, 2))
    host = numa.use(host, wanted({"cpuset": [0, 1], "memory": 2048}))
    wish = wanted({"cpuset": [0], "memory": 1024})

    assert placed(host, wish)
    assert placed(host, wish, limits=limits(cpu_allocation_ratio=2.0))
    with pytest.raises(errors.ResourcesUnavailable):
        numa.fit(host, wish, limits())
    with pytest.raises(errors.ResourcesUnavailable):
        numa.fit(host, wanted({"cpuset": [0], "memory": 2560}), limits(cpu_allocation_ratio=2.0))


def test_networks_bound_to_nodes():
    """A guest on a physical network goes to a node with its card; others go anywhere."""
    cells = json.loads(numa.to_json(a_host(a_node(0, 2), a_node(1, 2))))
    for cell in cells["nova_object.data"]["cells"]:
        data = cell["nova_object.data"]
        data["network_metadata"]["nova_object.data"]["physnets"] = [f"net{data['id']}"]
    host = numa.from_json(json.dumps(cells))
    wish = wanted({"cpuset": [0]})

    for name, node in (("net0", 0), ("net1", 1)):
        bound = limits(network={"physnets": [name], "tunneled": False})
        assert placed(host, wish, limits=bound)[0].id == node
    assert placed(host, wish, limits=limits(network={"physnets": ["else"], "tunneled": True}))


# --- the guest --------------------------------------------------------------------------------
def test_guest_view():
    """Guest nodes are numbered from 0 and know their host node, pins and pages."""
    host_facts = facts(a_node(0, 2), a_node(1, 2, huge=256))
    wish = wanted(
        {"cpuset": [0], "pcpuset": [1], "cpu_policy": "mixed", "pagesize": -2}, emulator="isolate"
    )
    host = numa.host_cells(host_facts, shared=frozenset({0, 2}), dedicated=frozenset({1, 3}))
    with pytest.raises(errors.ResourcesUnavailable):
        numa.fit(host, wish)  # one dedicated CPU is not enough for vCPU 1 and the emulator
    wish["nova_object.data"]["emulator_threads_policy"] = "share"

    guest = numa.guest_numa(numa.fit(host, wish), host_facts)

    (cell,) = guest.cells
    assert (cell.id, cell.host_node, cell.cpus) == (0, 1, {0, 1})
    assert (cell.memory_kib, cell.page_kib, cell.shared_memory) == (512 * 1024, 2048, True)
    assert guest.pins == {0: {2, 3}, 1: {3}}
    assert guest.floating == {0}
    assert (guest.emulator_policy, guest.smallest_page_kib) == ("share", 4)


def test_guest_view_of_another_hosts_placement():
    """A topology placed elsewhere is noticed."""
    with pytest.raises(errors.ResourcesUnavailable, match=r"\[3\]"):
        numa.guest_numa(wanted({"cpuset": [0], "id": 3}), facts(a_node(0, 2)))
