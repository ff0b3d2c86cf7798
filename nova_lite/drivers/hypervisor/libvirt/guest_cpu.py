"""Which CPU features guests see: libvirt works it out from host, models and nova.conf."""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ET
from typing import Any

import libvirt

from nova_lite.drivers.hypervisor.libvirt.facts import expanded_features

LOG = logging.getLogger(__name__)

# What QEMU gives guests when no model is asked for.
DEFAULT_MODELS = {"x86_64": "qemu64", "i686": "qemu32"}
_EXPAND = libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES


def expand_host(connection: Any, cpu_xml: str) -> list[str]:
    """All features of the host CPU, those of its model included; empty where libvirt cannot say.

    :param cpu_xml: ``<cpu>`` of libvirt's capabilities
    """
    try:
        return expanded_features(connection.baselineCPU([cpu_xml], _EXPAND))
    except libvirt.libvirtError as error:
        LOG.debug("libvirt cannot expand the host CPU: %s", error)
        return []


def features(
    connection: Any, conf: Any, virt_type: str, arch: str, host_model: str | None
) -> frozenset[str]:
    """Features that guests get under [libvirt]cpu_mode, cpu_models and cpu_model_extra_flags.

    With several models each guest gets the first that suffices: what any of them has can be had.

    :param conf: the [libvirt] group
    :param host_model: the CPU that host-model stands for, from the domain capabilities
    """
    mode = conf.cpu_mode or ("host-model" if virt_type == "kvm" else "none")
    found: set[str] = set()
    for xml in _models(mode, conf.cpu_models, arch, host_model):
        try:
            found.update(
                expanded_features(
                    connection.baselineHypervisorCPU(None, arch, None, virt_type, [xml], _EXPAND)
                )
            )
        except libvirt.libvirtError as error:
            LOG.warning("libvirt cannot tell the CPU features of guests: %s", error)
    if mode != "none":
        for flag in conf.cpu_model_extra_flags:
            name = flag.lstrip("+-").lower()
            if flag.startswith("-"):
                found.discard(name)
            else:
                found.add(name)
    return frozenset(found)


def _models(mode: str, models: list[str], arch: str, host_model: str | None) -> list[str]:
    if mode == "custom":
        return [_model(name) for name in models]
    if mode == "none":
        return [_model(DEFAULT_MODELS[arch])] if arch in DEFAULT_MODELS else []
    return [host_model] if host_model else []


def _model(name: str) -> str:
    cpu = ET.Element("cpu", {"mode": "custom", "match": "exact"})
    ET.SubElement(cpu, "model").text = name
    return ET.tostring(cpu, encoding="unicode")
