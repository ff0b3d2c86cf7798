"""The Hypervisor contract on libvirt."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.base import Hypervisor
from nova_lite.drivers.hypervisor.libvirt import capabilities as caps
from nova_lite.drivers.hypervisor.libvirt import domain_xml, guest_cpu, live_xml
from nova_lite.drivers.hypervisor.libvirt import facts as host_facts
from nova_lite.drivers.hypervisor.libvirt.block_copy import BlockCopy
from nova_lite.drivers.hypervisor.libvirt.calls import find
from nova_lite.drivers.hypervisor.libvirt.connection import Connection
from nova_lite.drivers.hypervisor.libvirt.consoles import Consoles
from nova_lite.drivers.hypervisor.libvirt.cpu_compare import CpuComparison
from nova_lite.drivers.hypervisor.libvirt.cpu_power import CpuPower
from nova_lite.drivers.hypervisor.libvirt.definitions import Definitions, rename
from nova_lite.drivers.hypervisor.libvirt.diagnostics import Diagnostics
from nova_lite.drivers.hypervisor.libvirt.disk_moves import DiskMoves
from nova_lite.drivers.hypervisor.libvirt.disk_overlays import DiskOverlays
from nova_lite.drivers.hypervisor.libvirt.disks import Disks
from nova_lite.drivers.hypervisor.libvirt.events import EventPump
from nova_lite.drivers.hypervisor.libvirt.guest_agent import GuestAgent
from nova_lite.drivers.hypervisor.libvirt.live_migration import Migrations
from nova_lite.drivers.hypervisor.libvirt.nics import Nics
from nova_lite.drivers.hypervisor.libvirt.nvram import Nvram
from nova_lite.drivers.hypervisor.libvirt.power import Power
from nova_lite.drivers.hypervisor.libvirt.removals import Removals
from nova_lite.drivers.hypervisor.libvirt.secrets import Secrets
from nova_lite.drivers.hypervisor.libvirt.sending import Sendings, check_options
from nova_lite.drivers.hypervisor.libvirt.states import power_state
from nova_lite.drivers.hypervisor.libvirt.tpm_state import TpmStates
from nova_lite.errors import HypervisorError, InvalidConfiguration
from nova_lite.model.domain import DomainSpec
from nova_lite.model.host import (
    Capabilities,
    DomainEvent,
    DomainInfo,
    GuestDevice,
    HostFacts,
)
from nova_lite.model.states import PowerState

LOG = logging.getLogger(__name__)

URIS = {"kvm": "qemu:///system", "qemu": "qemu:///system"}

PING_TIMEOUT = 10.0

# libvirt 8.9.0 can tell TPM state from the rest when a domain is undefined.
TPM_FLAGS_SINCE = 8_009_000


class LibvirtHypervisor(
    BlockCopy,
    Definitions,
    Consoles,
    CpuComparison,
    Diagnostics,
    DiskMoves,
    DiskOverlays,
    Disks,
    GuestAgent,
    Migrations,
    Nics,
    Nvram,
    Power,
    Secrets,
    TpmStates,
    Hypervisor,
):
    """QEMU and KVM guests of the libvirt daemon at ``[libvirt]connection_uri``.

    :param conf: a ConfigOpts with the [libvirt] group
    :raises InvalidConfiguration: virt_type is neither kvm nor qemu
    """

    def __init__(self, conf: Any) -> None:
        self._conf = conf.libvirt
        virt_type = self._conf.virt_type
        if virt_type not in URIS:
            raise InvalidConfiguration(
                f"[libvirt]virt_type = {virt_type} is not supported; use kvm or qemu"
            )
        self._virt_type: str = virt_type
        self._cpu_power = CpuPower.from_conf(conf)
        self._removals = Removals()
        self._events = EventPump(lambda: self._connection.reopen(), self._states)
        uri = self._conf.connection_uri or URIS[virt_type]
        self._sendings = Sendings(uri)
        self._events.subscribe(self._sendings.on_event)
        self._connection = Connection(
            uri,
            on_open=self._opened,
            on_lost=self._events.lost,
        )

    @property
    def stuck_calls(self) -> int:
        """Calls into libvirt that hang and were given up."""
        return self._connection.stuck_calls

    def _opened(self, connection: Any) -> None:
        self._events.register(connection)
        self._removals.register(connection)
        self._sendings.register(connection)

    # --- the host ---------------------------------------------------------------------------
    def connect(self) -> None:
        self._events.start()
        self._connection.open()
        found = host_facts.parse(self._call("read capabilities", lambda c: c.getCapabilities()))
        kinds = {kind for arch, kind, _ in found.guests if arch == found.arch}
        if self._virt_type not in kinds:
            raise InvalidConfiguration(
                f"[libvirt]virt_type = {self._virt_type}, but libvirt offers only "
                f"{', '.join(sorted(kinds)) or 'nothing'} for {found.arch} guests; "
                "is the kvm module loaded and QEMU installed?"
            )
        self._call("read versions", lambda c: check_options(self._conf, c.getVersion()))

    def close(self) -> None:
        self._events.stop()
        self._connection.close()

    def ping(self) -> None:
        self._connection.call(
            "ask for its version", lambda c: c.getLibVersion(), PING_TIMEOUT, patience=0.0
        )

    def facts(self) -> HostFacts:
        return self._call("read facts of the host", self._facts)

    def _facts(self, connection: Any) -> HostFacts:
        found = host_facts.parse(connection.getCapabilities())
        cpu = dict(found.cpu)
        # The XML lists only features beyond the model's; Nova wants them all.
        cpu["features"] = guest_cpu.expand_host(connection, found.cpu_xml) or cpu["features"]
        return HostFacts(
            hostname=connection.getHostname(),
            uuid=found.uuid,
            arch=found.arch,
            hypervisor_type=connection.getType(),
            hypervisor_version=connection.getVersion(),
            libvirt_version=connection.getLibVersion(),
            online_cpus=host_facts.online_cpus(connection.getCPUMap()),
            memory_mb=connection.getInfo()[1],
            cpu=cpu,
            numa_cells=found.numa_cells,
            guests=found.guests,
            present_cpus=host_facts.present_cpus(connection.getCPUMap()),
        )

    def capabilities(self) -> Capabilities:
        return self._call("read capabilities", self._capabilities)

    def _capabilities(self, connection: Any) -> Capabilities:
        host = host_facts.parse(connection.getCapabilities())
        machines = caps.machine_types(host.machines, self._conf.hw_machine_type or ())
        domain = caps.DomainCapabilities()
        for machine in caps.representative(host.arch, machines.get(host.arch, ())):
            xml = connection.getDomainCapabilities(None, host.arch, machine, self._virt_type)
            domain |= caps.parse(xml)
        version, qemu = connection.getLibVersion(), connection.getVersion()
        firmware = {"bios", "uefi"} if "efi" in domain.firmware else {"bios"}
        return Capabilities(
            traits=caps.traits(host.arch, host.guests, domain, version, qemu)
            | caps.share_traits(domain, self._conf.file_backed_memory > 0)
            | self._tpm_traits(domain),
            machine_types=machines,
            firmware=frozenset(firmware),
            secure_boot=caps.secure_boot(domain),
            cgroup_cpu=caps.has_cpu_cgroup(),
            guest_cpu_features=guest_cpu.features(
                connection, self._conf, self._virt_type, host.arch, domain.host_model
            ),
        )

    def _tpm_traits(self, domain: caps.DomainCapabilities) -> frozenset[str]:
        """:raises InvalidConfiguration: TPMs are to be offered, and swtpm is not installed"""
        if not self._conf.swtpm_enabled:
            return frozenset()
        found = caps.tpm_traits(domain, self._conf.supported_tpm_secret_security)
        if not found:
            raise InvalidConfiguration(
                "[libvirt]swtpm_enabled is set, but libvirt finds no emulator of TPMs: install "
                "swtpm and swtpm-tools and restart libvirtd, or turn it off"
            )
        return found

    def subscribe(self, callback: Callable[[DomainEvent], None]) -> None:
        self._events.subscribe(callback)

    # --- guests: look -----------------------------------------------------------------------
    def domains(self) -> list[DomainInfo]:
        return self._call("list guests", self._domains)

    @staticmethod
    def _domains(connection: Any) -> list[DomainInfo]:
        """One call for all; a guest whose monitor is busy is not waited for."""
        wanted = (
            libvirt.VIR_DOMAIN_STATS_STATE
            | libvirt.VIR_DOMAIN_STATS_BALLOON
            | libvirt.VIR_DOMAIN_STATS_VCPU
        )
        rows = connection.getAllDomainStats(
            wanted, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        )
        return [
            DomainInfo(
                uuid=domain.UUIDString(),
                name=domain.name(),
                power_state=power_state(stats.get("state.state", 0)),
                memory_kib=stats.get("balloon.maximum", 0),
                vcpus=stats.get("vcpu.maximum", 0),
            )
            for domain, stats in rows
        ]

    def _states(self) -> dict[str, PowerState]:
        return {domain.uuid: domain.power_state for domain in self.domains()}

    def power_state(self, uuid: str) -> PowerState:
        return self._with_domain(
            f"look at guest {uuid}", uuid, lambda domain: power_state(domain.state()[0])
        )

    def defined(self, uuid: str) -> bool:
        return self._call(f"look up guest {uuid}", lambda c: find(c, uuid) is not None)

    def taps(self, uuid: str) -> list[tuple[str, str]]:
        return self._with_domain(
            f"read the interfaces of guest {uuid}",
            uuid,
            lambda domain: live_xml.taps(domain.XMLDesc(0)),
        )

    def devices(self, uuid: str) -> list[GuestDevice]:
        return self._with_domain(
            f"read the devices of guest {uuid}",
            uuid,
            lambda domain: live_xml.devices(domain.XMLDesc(0)),
        )

    def foreign_devices(self, uuid: str) -> list[str]:
        return self._with_domain(
            f"read the definition of guest {uuid}",
            uuid,
            lambda domain: live_xml.foreign_devices(
                domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), tpm=self._conf.swtpm_enabled
            ),
        )

    # --- guests: act ------------------------------------------------------------------------
    def define(self, spec: DomainSpec) -> None:
        def define(connection: Any) -> None:
            existing, domain = None, find(connection, spec.uuid)
            if domain is not None:
                rename(domain, spec.name)
                if spec.firmware == "uefi":
                    existing = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
            connection.defineXML(domain_xml.render(spec, existing))

        self._call(f"define guest {spec.uuid}", define)

    def undefine(self, uuid: str, *, keep_nvram: bool = False) -> None:
        def undefine(connection: Any) -> None:
            domain = find(connection, uuid)
            if domain is None:
                return
            if domain.isActive():
                raise HypervisorError(f"guest {uuid} still runs; power it off before removing it")
            flags = _undefine_flags(connection.getLibVersion(), keep_nvram=keep_nvram)
            try:
                domain.undefineFlags(flags)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise

        self._call(f"remove guest {uuid}", undefine)


def _undefine_flags(libvirt_version: int, *, keep_nvram: bool) -> int:
    flags = (
        libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
        | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
        | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    )
    if keep_nvram:
        flags |= libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
    else:
        flags |= libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    if libvirt_version >= TPM_FLAGS_SINCE:
        flags |= (
            libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM if keep_nvram else libvirt.VIR_DOMAIN_UNDEFINE_TPM
        )
    return int(flags)
