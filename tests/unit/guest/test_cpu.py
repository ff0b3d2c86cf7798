"""CPU model, topology, placement and memory of guests."""

from dataclasses import replace

import pytest

from nova_lite import errors
from nova_lite.guest import cpu
from nova_lite.guest.properties import Properties
from nova_lite.guest.topology import plan_topology
from nova_lite.model.domain import GuestNumaCell
from nova_lite.model.numa import GuestNuma
from tests.fakes.servers import CAPABILITIES, FACTS, KVM, QEMU, a_guest, a_server


def topology(vcpus, image=None, specs=None):
    shape = plan_topology(Properties(a_server(image, specs)), vcpus)
    return shape.sockets, shape.cores, shape.threads


@pytest.mark.parametrize(
    ("vcpus", "image", "specs", "expected"),
    [
        (4, {}, {}, (4, 1, 1)),
        (8, {}, {"hw:cpu_sockets": "2", "hw:cpu_threads": "2"}, (2, 2, 2)),
        (8, {"hw_cpu_cores": "4"}, {"hw:cpu_sockets": "8"}, (2, 4, 1)),
        (8, {"hw_cpu_max_sockets": "1"}, {}, (1, 8, 1)),
        (8, {"hw_cpu_max_sockets": "1"}, {"hw:cpu_sockets": "8"}, (1, 8, 1)),
        (6, {}, {"hw:cpu_max_sockets": "2", "hw:cpu_max_cores": "3"}, (2, 3, 1)),
    ],
)
def test_topology(vcpus, image, specs, expected):
    """As near to the wish as the limits allow, few threads and many sockets otherwise."""
    assert topology(vcpus, image, specs) == expected


@pytest.mark.parametrize(
    ("image", "specs", "words"),
    [
        ({"hw_cpu_max_cores": 4}, {"hw:cpu_max_cores": "2"}, "only lower"),
        ({"hw_cpu_sockets": 4}, {"hw:cpu_max_sockets": "2"}, "exceed the limits"),
        ({}, {"hw:cpu_max_sockets": "1", "hw:cpu_max_cores": "1", "hw:cpu_max_threads": "1"},
         "do not fit"),
        ({}, {"hw:cpu_sockets": "many"}, "hw:cpu_sockets.*'many'.*whole number"),
    ],
)  # fmt: skip
def test_impossible_topologies(image, specs, words):
    """The message names the limits or the property."""
    with pytest.raises(errors.InvalidGuestConfig, match=words):
        topology(8, image, specs)


@pytest.mark.parametrize(
    ("policy", "mode", "model"),
    [
        ({}, "host-model", None),
        ({"cpu_mode": "none"}, None, None),
        ({"cpu_mode": "host-passthrough"}, "host-passthrough", None),
        ({"cpu_mode": "custom", "cpu_models": ("Haswell", "Broadwell")}, "custom", "Haswell"),
    ],
)
def test_cpu_mode(policy, mode, model):
    """[libvirt] cpu_mode and cpu_models decide."""
    spec = a_guest(a_server(), policy=replace(QEMU, **policy)).cpu

    assert (spec.mode, spec.model) == (mode, model)


def test_extra_flags_and_required_traits():
    """Flags are added or removed; a named model gets the flags that the flavor requires."""
    specs = {"trait:HW_CPU_X86_SSE42": "required", "trait:HW_CPU_X86_AVX2": "forbidden"}
    policy = replace(
        KVM, cpu_mode="custom", cpu_models=("Haswell",), cpu_flags=("-pdpe1gb", "pcid")
    )

    features = a_guest(a_server(specs=specs), policy=policy).cpu.features

    assert features == (("disable", "pdpe1gb"), ("require", "pcid"), ("require", "sse4.2"))


def test_cpu_quotas():
    """quota:cpu_* become shares, quota and period."""
    specs = {"quota:cpu_shares": "512", "quota:cpu_quota": "-1", "quota:cpu_period": "20000"}
    tune = a_guest(a_server(specs=specs)).cpu_tune

    assert (tune.shares, tune.quota_us, tune.period_us) == (512, -1, 20000)


def test_cpu_quotas_need_a_cgroup():
    """A host without CPU control passes the server on."""
    with pytest.raises(errors.UnsupportedByHost, match="cgroup"):
        a_guest(
            a_server(specs={"quota:cpu_shares": "5"}),
            capabilities=replace(CAPABILITIES, cgroup_cpu=False),
        )


NUMA = GuestNuma(
    cells=(
        GuestNumaCell(0, frozenset({0, 1}), 65536, host_node=1, shared_memory=True, page_kib=2048),
    ),
    pins={1: frozenset({4}), 0: frozenset({2, 3, 4})},
    floating=frozenset({0}),
    smallest_page_kib=4,
)


def test_pins_and_huge_pages():
    """Pins, emulator threads and pages follow the placed topology."""
    spec = a_guest(a_server(flavor={"vcpus": 2}), numa=NUMA)

    assert spec.cpu_tune.pins == {0: {2, 3, 4}, 1: {4}}
    assert spec.cpu_tune.emulator_pin == {2, 3, 4}
    assert spec.memory_backing.pages == ((2048, (0,)),)
    assert spec.cpu.numa_cells == NUMA.cells
    assert spec.cpuset == frozenset()


def test_floating_vcpus_stay_on_shared_cpus():
    """With a shared set, unpinned vCPUs keep off the dedicated CPUs of their node."""
    policy = replace(QEMU, cpu_shared_set=frozenset({2, 9}), cpu_dedicated_set=frozenset({3, 4}))
    spec = a_guest(a_server(flavor={"vcpus": 2}), policy=policy, numa=NUMA)

    assert spec.cpu_tune.pins == {0: {2}, 1: {4}}


def test_a_node_without_shared_cpus_cannot_float():
    """Better no guest than one on CPUs that belong to others."""
    policy = replace(QEMU, cpu_dedicated_set=frozenset({4}))
    with pytest.raises(errors.UnsupportedByHost, match="cpu_shared_set"):
        a_guest(a_server(flavor={"vcpus": 2}), policy=policy, numa=NUMA)


def test_ordinary_pages_need_no_backing():
    """libvirt has no backing by the smallest page size."""
    cell = replace(NUMA.cells[0], page_kib=4)
    spec = a_guest(a_server(flavor={"vcpus": 2}), numa=replace(NUMA, cells=(cell,)))

    assert spec.memory_backing.pages == ()


@pytest.mark.parametrize(
    ("emulator", "shared", "expected"),
    [
        ("isolate", None, {7}),
        ("share", frozenset({0, 2}), {0, 2}),
        ("share", None, {2, 3, 4}),
        (None, None, {2, 3, 4}),
    ],
)
def test_emulator_threads(emulator, shared, expected):
    """They run on a reserved CPU, the shared set or the guest's own CPUs."""
    numa = replace(NUMA, emulator_policy=emulator, emulator_reserved=frozenset({7}))
    spec = a_guest(
        a_server(flavor={"vcpus": 2}),
        policy=replace(QEMU, cpu_shared_set=shared),
        numa=numa,
        facts=replace(FACTS, online_cpus=frozenset(range(8))),
    )

    assert spec.cpu_tune.emulator_pin == expected


def test_realtime():
    """Real-time vCPUs get the FIFO scheduler and locked memory; emulator threads avoid them."""
    specs = {"hw:cpu_realtime": "yes", "hw:cpu_realtime_mask": "^0"}
    numa = replace(NUMA, pins={0: frozenset({2}), 1: frozenset({4})}, floating=frozenset())
    spec = a_guest(a_server(specs=specs, flavor={"vcpus": 2}), numa=numa)

    assert spec.cpu_tune.realtime == {1}
    assert spec.cpu_tune.emulator_pin == {2}
    assert spec.memory_backing.locked
    assert spec.memory_backing.nosharepages


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        ({}, "leave a vCPU"),
        ({"hw:cpu_realtime_mask": "^0-1"}, "must name some"),
        ({"hw:cpu_realtime_mask": "5"}, "vCPUs 0-1"),
        ({"hw:cpu_realtime_mask": "a-b"}, "not a CPU number"),
    ],
)
def test_invalid_realtime_masks(specs, words):
    """A mask has to leave a vCPU for housekeeping and name the guest's own ones."""
    server = a_server(specs={"hw:cpu_realtime": "true", **specs}, flavor={"vcpus": 2})
    with pytest.raises(errors.InvalidGuestConfig, match=words):
        cpu.realtime_cpus(Properties(server), server.flavor)


@pytest.mark.parametrize(
    ("flavor", "image", "expected"),
    [
        (None, "dedicated", "dedicated"),
        ("dedicated", "shared", "dedicated"),
        ("mixed", "shared", "mixed"),
        (None, None, None),
    ],
)
def test_cpu_policy(flavor, image, expected):
    """The flavor decides; without one the image does."""
    specs = {"hw:cpu_policy": flavor} if flavor else {}
    image = {"hw_cpu_policy": image} if image else {}

    assert cpu.cpu_policy(Properties(a_server(image, specs))) == expected


@pytest.mark.parametrize(
    ("check", "flavor", "image"),
    [
        (cpu.cpu_policy, {"hw:cpu_policy": "shared"}, {"hw_cpu_policy": "dedicated"}),
        (cpu.cpu_policy, {"hw:cpu_policy": "mixed"}, {"hw_cpu_policy": "dedicated"}),
        (cpu.cpu_policy, {"hw:cpu_policy": "some"}, {}),
        (cpu.cpu_thread_policy, {"hw:cpu_thread_policy": "isolate"},
         {"hw_cpu_thread_policy": "require"}),
    ],
)  # fmt: skip
def test_forbidden_policies(check, flavor, image):
    """An image may not take what its flavor does not give."""
    with pytest.raises(errors.InvalidGuestConfig):
        check(Properties(a_server(image, flavor)))


def test_locked_memory_needs_a_page_size():
    """Nova allows locking only together with hw:mem_page_size."""
    with pytest.raises(errors.InvalidGuestConfig, match="hw:mem_page_size"):
        a_guest(a_server({"hw_locked_memory": "true"}))

    spec = a_guest(a_server({"hw_locked_memory": "true"}, {"hw:mem_page_size": "small"}))
    assert spec.memory_backing.locked


def test_file_backed_memory():
    """It is shared and discarded, and excludes huge pages."""
    policy = replace(QEMU, file_backed_memory_mb=1024)
    backing = a_guest(a_server(), policy=policy).memory_backing

    assert (backing.file_backed, backing.shared, backing.discard) == (True, True, True)
    with pytest.raises(errors.UnsupportedByHost, match="file_backed_memory"):
        a_guest(a_server(flavor={"vcpus": 2}), policy=policy, numa=NUMA)
