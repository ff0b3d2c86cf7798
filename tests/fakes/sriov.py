"""Network cards in sysfs that this machine does not have."""

from __future__ import annotations

from pathlib import Path

VF, PF = "enp101s0f0v1", "enp101s0f0"
NUMBER = 3


def a_card(folder: Path, slot: str, *, vdpa: int | None = None) -> Path:
    """/sys/bus/pci/devices with a physical function and, at ``slot``, a virtual one of it.

    :param vdpa: the virtual function has a vDPA device of that number
    """
    devices = folder / "devices"
    physical = slot[:-1] + "0"
    (devices / physical / "net" / PF).mkdir(parents=True)
    (devices / slot / "net" / VF).mkdir(parents=True)
    (devices / slot / "physfn").symlink_to(devices / physical)
    other = slot[:-1] + "7"
    (devices / other).mkdir()
    (devices / physical / "virtfn0").symlink_to(devices / other)
    (devices / physical / f"virtfn{NUMBER}").symlink_to(devices / slot)
    if vdpa is not None:
        (devices / slot / "vdpa0" / f"vhost-vdpa-{vdpa}").mkdir(parents=True)
    return devices
