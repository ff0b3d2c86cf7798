"""The guest's CPU: model, placement, weights; and the memory behind it."""

from __future__ import annotations

from collections.abc import Mapping

from nova_lite.errors import InvalidGuestConfig, UnsupportedByHost
from nova_lite.guest.machine import Machine
from nova_lite.guest.policy import HostPolicy
from nova_lite.guest.properties import Properties
from nova_lite.guest.topology import plan_topology
from nova_lite.model.cpuset import parse_cpus
from nova_lite.model.domain import CpuSpec, CpuTune, MemoryBacking
from nova_lite.model.host import Capabilities
from nova_lite.model.numa import GuestNuma
from nova_lite.model.server import Flavor

# What an emulated guest of another architecture is given; libvirt has no default for these.
EMULATED_MODELS = {"aarch64": "cortex-a57", "ppc64le": "POWER8"}
CPU_TRAIT = "HW_CPU_X86_"
# CPU flags whose trait name is not simply the flag in capitals.
FLAGS_OF_TRAITS = {
    "SSE41": "sse4.1",
    "SSE42": "sse4.2",
    "AVX512VNNI": "avx512vnni",
    "INTEL_PT": "intel-pt",
    "INTEL_MD_CLEAR": "md-clear",
    "INTEL_PCID": "pcid",
    "AMD_IBPB": "ibpb",
    "AMD_NO_SSB": "amd-no-ssb",
    "AMD_SSBD": "amd-ssbd",
    "AMD_VIRT_SSBD": "virt-ssbd",
    "PDPE1GB": "pdpe1gb",
    "SGX": "sgx",
}


def plan_cpu(
    properties: Properties,
    flavor: Flavor,
    machine: Machine,
    policy: HostPolicy,
    numa: GuestNuma | None,
) -> CpuSpec:
    """CPU mode, model and flags of [libvirt], topology of flavor and image.

    :raises InvalidGuestConfig: a topology or address size that cannot be
    """
    shape = plan_topology(properties, flavor.vcpus)
    mode, model, match = _model(machine, policy)
    features = []
    if mode in ("custom", "host-model", "host-passthrough", "maximum"):
        features = [_feature(flag) for flag in policy.cpu_flags]
    if mode == "custom":
        named = {name for _, name in features}
        features += [("require", f) for f in _wanted_flags(properties) if f not in named]
    return CpuSpec(
        mode=mode,
        model=model,
        match=match,
        sockets=shape.sockets,
        cores=shape.cores,
        threads=shape.threads,
        features=tuple(features),
        numa_cells=numa.cells if numa else (),
        maxphysaddr=_address_size(properties),
    )


def _model(machine: Machine, policy: HostPolicy) -> tuple[str | None, str | None, str | None]:
    """(mode, model, match)."""
    if machine.emulated:
        model = EMULATED_MODELS.get(machine.arch)
        return ("custom" if model else None), model, ("exact" if model else None)
    mode = policy.cpu_mode
    if mode is None:
        # libvirt cannot describe an ARM host's CPU, only hand it through.
        mode = "host-passthrough" if machine.arch == "aarch64" else "host-model"
    if mode == "none":
        return None, None, None
    if mode != "custom":
        return mode, None, None
    default = "max" if machine.arch == "aarch64" else None
    return mode, policy.cpu_models[0] if policy.cpu_models else default, "exact"


def _feature(flag: str) -> tuple[str, str]:
    return ("disable" if flag.startswith("-") else "require", flag.lstrip("+-"))


def _wanted_flags(properties: Properties) -> list[str]:
    """Flags behind ``trait:HW_CPU_X86_*=required``: a named model may lack them."""
    prefix = f"trait:{CPU_TRAIT}"
    specs = properties.extra_specs(prefix)
    names = sorted(key.removeprefix(prefix) for key, value in specs.items() if value == "required")
    return [FLAGS_OF_TRAITS.get(name, name.lower()) for name in names]


def _address_size(properties: Properties) -> tuple[str, int | None] | None:
    mode, bits = properties.agreed("maxphysaddr_mode"), properties.agreed("maxphysaddr_bits")
    return (mode, bits) if mode else None


def plan_tuning(
    properties: Properties,
    flavor: Flavor,
    policy: HostPolicy,
    capabilities: Capabilities,
    numa: GuestNuma | None,
) -> CpuTune:
    """Weights and limits of ``quota:cpu_*``, and where vCPUs and emulator threads may run.

    :raises UnsupportedByHost: weights are asked for but the host has no CPU cgroup controller
    :raises InvalidGuestConfig: an invalid value or real-time mask
    """
    shares, quota, period = (
        properties.spec(f"quota:cpu_{name}") for name in ("shares", "quota", "period")
    )
    if not capabilities.cgroup_cpu and any(v is not None for v in (shares, quota, period)):
        raise UnsupportedByHost(
            f"flavor {flavor.name} has quota:cpu_* extra specs, but this host has no CPU cgroup "
            f"controller"
        )
    realtime = realtime_cpus(properties, flavor)
    pins = _pins(numa, policy) if numa else {}
    return CpuTune(
        shares=shares,
        quota_us=quota,
        period_us=period,
        pins=pins,
        emulator_pin=_emulator_pin(numa, pins, realtime, policy) if numa else frozenset(),
        realtime=realtime if numa else frozenset(),
        realtime_priority=policy.realtime_priority,
    )


def _pins(numa: GuestNuma, policy: HostPolicy) -> dict[int, frozenset[int]]:
    """Host CPUs by vCPU; floating ones stay on the CPUs that are for sharing.

    :raises UnsupportedByHost: the host node has none
    """
    pins = dict(sorted(numa.pins.items()))
    if policy.cpu_shared_set is None and policy.cpu_dedicated_set is None:
        return pins
    for vcpu in sorted(numa.floating):
        pins[vcpu] &= policy.cpu_shared_set or frozenset()
        if not pins[vcpu]:
            raise UnsupportedByHost(
                f"vCPU {vcpu} is to share CPUs of a host node that has none in [compute] "
                f"cpu_shared_set"
            )
    return pins


def _emulator_pin(
    numa: GuestNuma,
    pins: Mapping[int, frozenset[int]],
    realtime: frozenset[int],
    policy: HostPolicy,
) -> frozenset[int]:
    """Where QEMU's own threads run: set aside, the shared CPUs, or beside the ordinary vCPUs."""
    if numa.emulator_policy == "isolate":
        return numa.emulator_reserved
    if numa.emulator_policy == "share" and policy.cpu_shared_set:
        return policy.cpu_shared_set
    return frozenset().union(*(cpus for vcpu, cpus in pins.items() if vcpu not in realtime))


def realtime_cpus(properties: Properties, flavor: Flavor) -> frozenset[int]:
    """The vCPUs with a real-time scheduler; none unless hw:cpu_realtime.

    :raises InvalidGuestConfig: the mask names other vCPUs, none, or leaves none for the rest
    """
    if not properties.spec("hw:cpu_realtime"):
        return frozenset()
    everything = frozenset(range(flavor.vcpus))
    mask = properties.image("hw_cpu_realtime_mask") or properties.spec("hw:cpu_realtime_mask")
    realtime = vcpu_mask("hw:cpu_realtime_mask", mask, flavor) if mask else everything
    if realtime == everything and not properties.spec("hw:emulator_threads_policy"):
        raise InvalidGuestConfig(
            "hw:cpu_realtime: leave a vCPU to ordinary work with hw:cpu_realtime_mask, or set "
            "hw:emulator_threads_policy"
        )
    return realtime


def vcpu_mask(name: str, mask: str, flavor: Flavor) -> frozenset[int]:
    """The vCPUs that ``mask`` names; one that starts with ``^`` names all but those.

    :raises InvalidGuestConfig: it names none, or others than the flavor has
    """
    if mask.strip().startswith("^"):
        mask = f"0-{flavor.vcpus - 1},{mask}"
    try:
        cpus = parse_cpus(mask)
    except ValueError as error:
        raise InvalidGuestConfig(f"{name} = {mask}: {error}") from None
    if not cpus or not cpus <= frozenset(range(flavor.vcpus)):
        raise InvalidGuestConfig(
            f"{name} = {mask} must name some of the vCPUs 0-{flavor.vcpus - 1}"
        )
    return cpus


def cpu_policy(properties: Properties) -> str | None:
    """shared, dedicated, mixed or None: the flavor's word, which an image may not contradict.

    :raises InvalidGuestConfig: they contradict each other
    """
    flavor, image = properties.spec("hw:cpu_policy"), properties.image("hw_cpu_policy")
    forbidden = {"shared": ("mixed", "dedicated"), "mixed": ("dedicated",)}
    if image in forbidden.get(flavor or "", ()):
        raise InvalidGuestConfig(
            f"image property hw_cpu_policy = {image} is not allowed with a flavor that says "
            f"hw:cpu_policy = {flavor}"
        )
    return flavor or image


def cpu_thread_policy(properties: Properties) -> str | None:
    """prefer, isolate, require or None.

    :raises InvalidGuestConfig: flavor and image contradict each other
    """
    flavor = properties.spec("hw:cpu_thread_policy")
    image = properties.image("hw_cpu_thread_policy")
    if flavor in (None, "prefer"):
        return flavor or image
    if image and image != flavor:
        raise InvalidGuestConfig(
            f"image property hw_cpu_thread_policy = {image} is not allowed with a flavor that says "
            f"hw:cpu_thread_policy = {flavor}"
        )
    return flavor


def plan_memory(
    properties: Properties,
    policy: HostPolicy,
    numa: GuestNuma | None,
    *,
    shared: bool = False,
) -> MemoryBacking:
    """Huge pages, locking and file backing of the guest's memory.

    :param shared: another process than QEMU has to see it
    :raises InvalidGuestConfig: locked memory without a page size, or real time without CPUs to
        share
    :raises UnsupportedByHost: huge pages on a host with file-backed memory
    """
    realtime = bool(properties.spec("hw:cpu_realtime"))
    policy_share = properties.spec("hw:emulator_threads_policy") == "share"
    if realtime and policy_share and not policy.cpu_shared_set:
        raise UnsupportedByHost(
            "hw:emulator_threads_policy = share with hw:cpu_realtime needs [compute] "
            "cpu_shared_set on this host"
        )
    sized = [cell for cell in numa.cells if cell.page_kib] if numa else []
    file_backed = policy.file_backed_memory_mb > 0
    if sized and file_backed:
        raise UnsupportedByHost(
            "hw:mem_page_size is impossible on this host: it uses [libvirt] file_backed_memory"
        )
    locked = properties.agreed("locked_memory")
    page_size = properties.spec("hw:mem_page_size") or properties.image("hw_mem_page_size")
    if locked and not page_size:
        raise InvalidGuestConfig("hw:locked_memory needs hw:mem_page_size")
    pages: dict[int, list[int]] = {}
    for cell in sized:
        # libvirt knows no backing by ordinary pages.
        if numa and cell.page_kib and cell.page_kib > numa.smallest_page_kib:
            pages.setdefault(cell.page_kib, []).append(cell.id)
    return MemoryBacking(
        pages=tuple((size, tuple(cells)) for size, cells in sorted(pages.items())),
        locked=bool(locked) or realtime,
        shared=file_backed or shared,
        nosharepages=realtime,
        discard=file_backed,
        file_backed=file_backed,
    )
