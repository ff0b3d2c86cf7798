"""Servers and hosts as the guest planner sees them, small and ordinary unless asked otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nova_lite.guest.disks import DiskPlan, plan_disks
from nova_lite.guest.machine import plan_machine
from nova_lite.guest.plan import plan_domain
from nova_lite.guest.policy import HostPolicy
from nova_lite.guest.properties import Properties
from nova_lite.model.domain import DomainSpec
from nova_lite.model.host import Capabilities, HostFacts
from nova_lite.model.server import BlockDevice, Flavor, Image, Server

UUID = "c71fc38d-cb93-421c-8e7c-40292545fa91"
FACTS = HostFacts(
    hostname="node1",
    uuid="11111111-1111-1111-1111-111111111111",
    arch="x86_64",
    hypervisor_type="QEMU",
    hypervisor_version=7002022,
    libvirt_version=9000000,
    online_cpus=frozenset({0, 1}),
    memory_mb=14170,
    cpu={"arch": "x86_64"},
    guests=(("x86_64", "qemu", "hvm"), ("x86_64", "kvm", "hvm"), ("aarch64", "qemu", "hvm")),
)
CAPABILITIES = Capabilities(
    machine_types={"x86_64": ("pc", "q35", "pc-q35-7.2"), "aarch64": ("virt",)},
    firmware=frozenset({"bios", "uefi"}),
    secure_boot=True,
)
QEMU = HostPolicy(virt_type="qemu", package_version="0.1")
KVM = replace(QEMU, virt_type="kvm")


def a_server(
    image: dict[str, Any] | None = None,
    specs: dict[str, str] | None = None,
    flavor: dict[str, Any] | None = None,
    **changes: Any,
) -> Server:
    """A server with image properties ``image`` and extra specs ``specs``."""
    sizes = {"vcpus": 1, "memory_mb": 128, "root_gb": 1, **(flavor or {})}
    server = Server(
        uuid=UUID,
        domain_name="instance-000000ae",
        display_name="web-1",
        hostname="web-1",
        flavor=Flavor(name="m1.nano", flavorid="42", extra_specs=specs or {}, **sizes),
        image=Image(
            id="50ca829a-8a56-42b9-b830-09761ae1e561",
            name="tiny",
            disk_format="qcow2",
            container_format="bare",
            size=20935680,
            properties=image or {},
        ),
        project_id="22d1f13af15f4c9db52114063cbca5b3",
        project_name="demo",
        user_id="afc07d7951c34895ac059def93dd7ef3",
        user_name="alice",
    )
    return replace(server, **changes)


def a_plan(
    server: Server, bdms: tuple[BlockDevice, ...] = (), policy: HostPolicy = QEMU
) -> DiskPlan:
    """The disks of ``server`` on the usual host."""
    board = plan_machine(Properties(server), policy, FACTS, CAPABILITIES)
    return plan_disks(server, bdms, machine=board, policy=policy)


def a_guest(
    server: Server,
    policy: HostPolicy = QEMU,
    bdms: tuple[BlockDevice, ...] = (),
    **wishes: Any,
) -> DomainSpec:
    """Plan disks and guest of ``server`` on the usual host; ``wishes`` go to plan_domain."""
    capabilities = wishes.pop("capabilities", CAPABILITIES)
    facts = wishes.pop("facts", FACTS)
    board = plan_machine(Properties(server), policy, facts, capabilities)
    return plan_domain(
        server,
        vifs=wishes.pop("vifs", ()),
        nics=wishes.pop("nics", ()),
        disks=plan_disks(server, bdms, machine=board, policy=policy),
        facts=facts,
        capabilities=capabilities,
        policy=policy,
        creation_time=0.0,
        **wishes,
    )
