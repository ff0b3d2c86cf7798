"""What is plugged into the guest beside disks and consoles: video, network, small devices."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from nova_lite.errors import InvalidGuestConfig, UnsupportedByHost, UnsupportedHardware
from nova_lite.guest.machine import X86, Machine
from nova_lite.guest.policy import HostPolicy
from nova_lite.guest.properties import Properties
from nova_lite.guest.values import OTHER_HYPERVISORS_NICS
from nova_lite.model import tpm as tpm_modes
from nova_lite.model.domain import NicSpec
from nova_lite.model.host import Capabilities
from nova_lite.model.server import Server

PASSED_THROUGH = ("hostdev", "pci", "vdpa")  # NicSpec.plug of cards that QEMU does not emulate
EMULATED_NICS = ("lan9118",)  # models that only emulated boards have
VIRTIO_IOMMU_LIBVIRT = 8_003_000


def video_model(properties: Properties, machine: Machine) -> str:
    """The image's video model or the architecture's usual one."""
    wish = properties.image("hw_video_model")
    if wish:
        return str(wish)
    return "vga" if machine.arch in ("ppc", "ppc64", "ppc64le") else "virtio"


def video_ram_mb(properties: Properties) -> int | None:
    """hw_video_ram, up to what the flavor allows with hw_video:ram_max_mb.

    :raises InvalidGuestConfig: more than that
    """
    wanted, limit = properties.image("hw_video_ram") or 0, properties.spec("hw_video:ram_max_mb")
    if wanted > (limit or 0):
        raise InvalidGuestConfig(
            f"image property hw_video_ram = {wanted} MiB is more than the flavor allows with "
            f"hw_video:ram_max_mb ({limit or 0} MiB)"
        )
    return wanted or None


def rng(properties: Properties, policy: HostPolicy) -> tuple[str | None, tuple[int, int] | None]:
    """(host device, (bytes, period in ms)) of the random number device."""
    properties.image("hw_rng_model")
    if properties.spec("hw_rng:allowed") is False or not policy.rng_device:
        return None, None
    rate, period = properties.spec("hw_rng:rate_bytes"), properties.spec("hw_rng:rate_period")
    return policy.rng_device, (rate, period or 0) if rate else None


def watchdog(properties: Properties) -> str | None:
    """Action of the watchdog; the image's word counts before the flavor's."""
    action = properties.image("hw_watchdog_action") or properties.spec("hw:watchdog_action")
    return None if action in (None, "disabled") else str(action)


def hide_hypervisor(properties: Properties) -> bool:
    return bool(
        properties.spec("hide_hypervisor_id")
        or properties.spec("hw:hide_hypervisor_id")
        or properties.image("img_hide_hypervisor_id")
    )


def viommu_model(properties: Properties, machine: Machine, libvirt_version: int) -> str | None:
    """Model of the virtual IOMMU, which q35 and ARM's virt machine can have.

    :raises InvalidGuestConfig: another machine type or architecture
    """
    model = properties.spec("hw:viommu_model") or properties.image("hw_viommu_model")
    if not model:
        return None
    fits = machine.is_q35 if machine.arch in X86 else (
        machine.arch == "aarch64" and "virt" in (machine.machine or "virt")
    )  # fmt: skip
    if not fits:
        raise InvalidGuestConfig(
            f"hw:viommu_model = {model} needs hw_machine_type q35 (x86) or virt (aarch64), not "
            f"{machine.machine} on {machine.arch}"
        )
    if model != "auto":
        return str(model)
    if libvirt_version >= VIRTIO_IOMMU_LIBVIRT:
        return "virtio"
    return "intel" if machine.is_q35 else "smmuv3"


def tpm(properties: Properties, *, swtpm: Collection[str]) -> tuple[str, str] | None:
    """(model, version) of the emulated TPM; None for a guest without one.

    :param swtpm: for whose keys this host offers them ([libvirt] supported_tpm_secret_security);
        none: it does not ([libvirt] swtpm_enabled)
    :raises InvalidGuestConfig: version and model do not go together
    :raises UnsupportedByHost: this host offers none, or not with such a key
    """
    version, model = properties.agreed("tpm_version"), properties.agreed("tpm_model")
    if version is None:
        return None
    if model == "tpm-crb" and version != "2.0":
        raise InvalidGuestConfig("hw:tpm_model = tpm-crb needs hw:tpm_version = 2.0")
    if not swtpm:
        raise UnsupportedByHost(
            f"hw:tpm_version = {version}: this host has no emulated TPMs ([libvirt] swtpm_enabled)"
        )
    security = properties.spec(tpm_modes.EXTRA_SPEC) or tpm_modes.USER
    if security not in swtpm:
        raise UnsupportedByHost(
            f"{tpm_modes.EXTRA_SPEC} = {security}: this host keeps no such keys of TPMs ([libvirt] "
            f"supported_tpm_secret_security has {', '.join(sorted(swtpm))})"
        )
    return model or "tpm-tis", version


def require_trait(capabilities: Capabilities, prefix: str, model: str | None, what: str) -> None:
    """Refuse a device model that the hypervisor does not report.

    Only families of which the driver reports any member are judged.

    :raises UnsupportedByHost: the model is not among them
    """
    family = {t for t in capabilities.traits if t.startswith(prefix)}
    trait = prefix + (model or "").upper().replace("-", "_")
    if model and family and trait not in family:
        offered = ", ".join(sorted(t.removeprefix(prefix).lower() for t in family))
        raise UnsupportedByHost(f"{what} = {model} is not available here; offered are {offered}")


# --- network ----------------------------------------------------------------------------------
def nic_model(server: Server, policy: HostPolicy) -> str | None:
    """The model to ask of a VIF driver: the image's, else virtio, None for the hypervisor's choice.

    :raises InvalidGuestConfig: hw_vif_model is unknown
    :raises UnsupportedHardware: guests of other hypervisors, or emulated ones alone, can have it
    """
    model = Properties(server).image("hw_vif_model")
    emulated = model in EMULATED_NICS and policy.virt_type == "kvm"
    if emulated or model in OTHER_HYPERVISORS_NICS:
        raise UnsupportedHardware(
            f"Requested hardware '{model}' is not supported by the '{policy.virt_type}' virt "
            "driver: set the image property hw_vif_model to another model"
        )
    return model or ("virtio" if policy.virtio_nics else None)


def nic_queues(server: Server, policy: HostPolicy, kernel: tuple[int, ...] = (4,)) -> int | None:
    """Queue pairs of each NIC, None for one without multiqueue: only virtio cards have it.

    :param kernel: version of the host's kernel, which bounds the queues of a tap device
    :raises InvalidGuestConfig: flavor and image contradict each other
    """
    if server.flavor.vcpus < 2 or not Properties(server).agreed("vif_multiqueue_enabled"):
        return None
    if nic_model(server, policy) != "virtio":
        return None  # other cards have one queue
    if policy.virt_type != "kvm":
        return None  # emulated guests have no vhost to serve the queues
    limit = policy.max_queues or {2: 1, 3: 8}.get(kernel[0], 256)
    return min(server.flavor.vcpus, limit)


def finish_nic(nic: NicSpec, properties: Properties, policy: HostPolicy) -> NicSpec:
    """A NIC as its VIF driver described it, with what flavor, image and nova.conf say."""
    changes: dict[str, Any] = {}
    if nic.shaped and not nic.bandwidth:
        changes = {"bandwidth": bandwidth(properties)}
    if nic.plug == "vdpa":
        changes |= {"packed": bool(properties.agreed("virtio_packed_ring"))}
    if nic.plug in PASSED_THROUGH:
        return replace(nic, **changes)
    if nic.model == "virtio":
        changes |= {"packed": bool(properties.agreed("virtio_packed_ring"))}
        if policy.virt_type == "qemu":
            # libvirt would turn on vhost, which only KVM guests can use.
            changes |= {"driver": nic.driver or "qemu", "queues": None}
        elif nic.queues or policy.rx_queue_size:
            changes |= {"driver": nic.driver or "vhost"}
        if nic.plug != "vhostuser":
            changes |= {"rx_queue_size": nic.rx_queue_size or policy.rx_queue_size}
    if nic.plug == "vhostuser":
        changes |= {
            "rx_queue_size": nic.rx_queue_size or policy.rx_queue_size,
            "tx_queue_size": nic.tx_queue_size or policy.tx_queue_size,
        }
    return replace(nic, **changes)


def bandwidth(properties: Properties) -> dict[str, dict[str, int]]:
    """``quota:vif_*`` extra specs as libvirt's inbound/outbound values (KiB/s, KiB)."""
    result: dict[str, dict[str, int]] = {}
    for way in ("inbound", "outbound"):
        for what in ("average", "peak", "burst"):
            value = properties.spec(f"quota:vif_{way}_{what}")
            if value is not None:
                result.setdefault(way, {})[what] = value
    return result
