"""Fill the cloud: ``seed.py catalog [SERVICE...]``, ``seed.py cloud``; then wait until it is ready
to work: ``seed.py wait-for-storage``, ``seed.py wait-for-hosts NODE...``. After Nova's databases
were emptied ``seed.py forget-servers`` comes first.

Everything is looked up before it is made, so running it again changes nothing.
"""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import openstack
from openstack import exceptions

STATE = Path(os.environ["NOVA_LITE_CLOUD"])

ENDPOINTS = {
    # service: (type, URL)
    "placement": ("placement", "http://127.0.0.1:8778"),
    "glance": ("image", "http://127.0.0.1:9292"),
    "nova": ("compute", "http://127.0.0.1:8774/v2.1"),
    "neutron": ("network", "http://127.0.0.1:9696"),
    "cinder": ("block-storage", "http://127.0.0.1:8776/v3/%(project_id)s"),
}
# Services that are not part of every cloud.
OPTIONAL = {"barbican": ("key-manager", "http://127.0.0.1:9311")}
# The name by which older clients, and Nova unless told otherwise, look for Cinder.
OLD_BLOCK_STORAGE = "volumev3"
FLAVORS = [
    # name, id, vcpus, MiB of memory, GiB of disk
    ("m1.nano", "42", 1, 128, 1),
    ("m1.micro", "84", 1, 192, 1),
    ("m1.tiny", "1", 1, 512, 1),
    ("m1.small", "2", 1, 1024, 5),
    ("m1.two", "3", 2, 256, 2),
]
IMAGES = [
    # name, file, properties
    ("tiny-fast", "tiny-fast.qcow2", {}),
    ("tiny", "tiny.qcow2", {}),
    # With machine type pc a config drive is on IDE, which the fast kernel can read.
    ("tiny-pc", "tiny-fast.qcow2", {"hw_machine_type": "pc"}),
    # All tiny guests have a QEMU guest agent; only this one's servers have a channel to it.
    ("tiny-agent", "tiny-fast.qcow2", {"hw_qemu_guest_agent": "yes", "os_admin_user": "root"}),
    # Its kernel knows no SATA, on which config drives are unless the image says otherwise.
    ("debian", "debian.qcow2", {"hw_qemu_guest_agent": "yes", "os_require_quiesce": "yes",
                                "hw_cdrom_bus": "scsi", "hw_scsi_model": "virtio-scsi"}),
]
VOLUME_TYPES = {
    # name: extra specifications
    "ceph": {"volume_backend_name": "ceph"},
    "ceph2": {"volume_backend_name": "ceph2"},
    "nfs": {"volume_backend_name": "nfs"},
    "multiattach": {"volume_backend_name": "ceph", "multiattach": "<is> True"},
    "limited": {"volume_backend_name": "ceph"},
    "encrypted": {"volume_backend_name": "ceph"},
}
# Of the type "limited": operations and bytes per second.
LIMITS = {"total_iops_sec": "200", "total_bytes_sec": "10485760"}
# Of the type "encrypted".
ENCRYPTION = {
    "provider": "luks",
    "control_location": "front-end",
    "cipher": "aes-xts-plain64",
    "key_size": 256,
}
CEPH_IMAGE = "tiny-raw"
ATTACHMENTS = "3.27"  # the microversion from which Cinder shows them
PROJECTS = ("admin", "demo", "alt")
KEY_PAIR = "nova-lite"


def connect(cloud):
    return openstack.connect(cloud=cloud)


def first(items):
    return next(iter(items), None)


def seed_catalog(optional):
    """Users, projects and endpoints, also of these optional services."""
    endpoints = ENDPOINTS | {name: OPTIONAL[name] for name in optional}
    identity = connect("admin").identity
    roles = {
        name: first(identity.roles(name=name)) or identity.create_role(name=name)
        for name in ("admin", "service", "member", "reader", "manager")
    }
    projects = {
        name: first(identity.projects(name=name))
        or identity.create_project(name=name, domain_id="default")
        for name in ("service", "demo", "alt")
    }
    users = [(name, "service", ("admin", "service"), "SERVICE_PASSWORD") for name in endpoints]
    users += [(name, name, ("member", "reader"), "DEMO_PASSWORD") for name in ("demo", "alt")]
    for name, project, wanted, password in users:
        user = first(identity.users(name=name)) or identity.create_user(
            name=name,
            password=os.environ[password],
            domain_id="default",
            default_project_id=projects[project].id,
        )
        for role in wanted:
            identity.assign_project_role_to_user(projects[project], user, roles[role])
    admin = first(identity.users(name="admin"))
    identity.assign_project_role_to_user(projects["demo"], admin, roles["admin"])
    for name, (kind, url) in endpoints.items():
        seed_endpoints(identity, name, kind, url)
    seed_endpoints(identity, "cinderv3", OLD_BLOCK_STORAGE, ENDPOINTS["cinder"][1])


def seed_endpoints(identity, name, kind, url):
    service = first(identity.services(type=kind)) or identity.create_service(name=name, type=kind)
    present = {endpoint.interface for endpoint in identity.endpoints(service_id=service.id)}
    for interface in {"public", "internal", "admin"} - present:
        identity.create_endpoint(
            service_id=service.id, interface=interface, url=url, region_id="RegionOne"
        )


def seed_flavors(cloud):
    for name, flavor_id, vcpus, memory, disk in FLAVORS:
        if not cloud.compute.find_flavor(name):
            cloud.compute.create_flavor(
                name=name, flavorid=flavor_id, vcpus=vcpus, ram=memory, disk=disk
            )


def seed_image(cloud, name, path, properties):
    image = cloud.image.find_image(name)
    if image and image.status == "active":
        if image.checksum == hashlib.md5(path.read_bytes()).hexdigest():
            return
        print(f"image {name}: built anew, replaced")
    if image:
        cloud.image.delete_image(image)
    cloud.image.create_image(
        name=name,
        filename=str(path),
        disk_format="qcow2",
        container_format="bare",
        visibility="public",
        wait=True,
        **properties,
    )


def seed_images(cloud):
    for name, file_name, properties in IMAGES:
        path = STATE / "images" / file_name
        if path.exists():
            seed_image(cloud, name, path, properties)


def seed_ceph_image(cloud):
    """An image in Ceph, of which volumes and disks are made without copying."""
    image = cloud.image.find_image(CEPH_IMAGE)
    source, raw = STATE / "images" / "tiny-fast.qcow2", STATE / "cache" / "tiny-fast.raw"
    if not source.exists() or (image and image.status == "active"):
        return
    if image:
        cloud.image.delete_image(image)
    subprocess.run(["qemu-img", "convert", "-O", "raw", source, raw], check=True)
    image = cloud.image.create_image(
        name=CEPH_IMAGE, disk_format="raw", container_format="bare", visibility="public"
    )
    headers = {"Content-Type": "application/octet-stream", "X-Image-Meta-Store": "rbd"}
    with raw.open("rb") as content:
        answer = cloud.image.put(f"/images/{image.id}/file", data=content, headers=headers)
    exceptions.raise_from_response(answer)


def seed_networks(cloud):
    network = cloud.network
    public = network.find_network("public") or network.create_network(
        name="public",
        is_router_external=True,
        provider_network_type="flat",
        provider_physical_network="public",
    )
    network.find_subnet("public-subnet") or network.create_subnet(
        name="public-subnet",
        network_id=public.id,
        ip_version=4,
        cidr="172.24.4.0/24",
        gateway_ip="172.24.4.1",
        is_dhcp_enabled=False,
        allocation_pools=[{"start": "172.24.4.10", "end": "172.24.4.200"}],
    )
    owner = cloud.identity.find_project("demo").id
    private = network.find_network("private") or network.create_network(
        name="private", project_id=owner, is_shared=True
    )
    subnet = network.find_subnet("private-subnet") or network.create_subnet(
        name="private-subnet",
        project_id=owner,
        network_id=private.id,
        ip_version=4,
        cidr="10.9.0.0/22",
        gateway_ip="10.9.0.1",
        is_dhcp_enabled=True,
        dns_nameservers=["10.9.0.1"],
    )
    if not network.find_router("router"):
        router = network.create_router(
            name="router", project_id=owner, external_gateway_info={"network_id": public.id}
        )
        network.add_interface_to_router(router, subnet_id=subnet.id)


def open_default_group(cloud):
    """Let ping and TCP through; the group exists once its project has asked for it."""
    network = cloud.network
    project = cloud.current_project_id
    group = first(network.security_groups(project_id=project, name="default"))
    present = {
        rule.protocol
        for rule in network.security_group_rules(security_group_id=group.id, direction="ingress")
        if rule.remote_ip_prefix == "0.0.0.0/0"
    }
    for protocol in {"icmp", "tcp"} - present:
        network.create_security_group_rule(
            security_group_id=group.id,
            direction="ingress",
            protocol=protocol,
            remote_ip_prefix="0.0.0.0/0",
            ether_type="IPv4",
        )


def seed_key_pair(cloud):
    if not cloud.compute.find_keypair(KEY_PAIR):
        public_key = (STATE / "keys" / "guest.pub").read_text()
        cloud.compute.create_keypair(name=KEY_PAIR, public_key=public_key)


def seed_volume_types(cloud):
    storage = cloud.block_storage
    present = {kind.name: kind for kind in storage.types()}
    for name, specifications in VOLUME_TYPES.items():
        if name not in present:
            present[name] = storage.create_type(name=name, extra_specs=specifications)
    if not storage.get_type_encryption(present["encrypted"].id).provider:
        storage.create_type_encryption(present["encrypted"], **ENCRYPTION)
    limit_volumes(storage, present["limited"])


def limit_volumes(storage, kind):
    """Associate the type with limits that QEMU enforces."""
    present = storage.get("/qos-specs").json()["qos_specs"]
    if any(limits["name"] == kind.name for limits in present):
        return
    limits = {"name": kind.name, "consumer": "front-end", **LIMITS}
    made = storage.post("/qos-specs", json={"qos_specs": limits}).json()["qos_specs"]
    storage.get(f"/qos-specs/{made['id']}/associate", params={"vol_type_id": kind.id})


def raise_quotas(cloud):
    for name in PROJECTS:
        project = cloud.identity.find_project(name)
        cloud.compute.update_quota_set(
            project, instances=200, cores=400, ram=512000, key_pairs=500, server_groups=50
        )
        cloud.network.update_quota(
            project.id,
            ports=2000,
            networks=200,
            subnets=200,
            security_groups=200,
            security_group_rules=2000,
            floating_ips=100,
        )


def seed_cloud():
    admin = connect("admin")
    seed_flavors(admin)
    seed_networks(admin)
    seed_images(admin)
    seed_ceph_image(admin)
    seed_volume_types(admin)
    raise_quotas(admin)
    for cloud in (admin, connect("demo")):
        open_default_group(cloud)
        seed_key_pair(cloud)


def forget_servers():
    """Take from Neutron and Cinder what servers had that Nova does not know (any more)."""
    cloud = connect("admin")
    servers = {server.id for server in cloud.compute.servers(details=False, all_projects=True)}
    for port in cloud.network.ports():
        if (port.device_owner or "").startswith("compute:") and port.device_id not in servers:
            attempt(f"port {port.id}", cloud.network.delete_port, port)
    storage = cloud.block_storage
    answer = storage.get("/attachments?all_tenants=1", microversion=ATTACHMENTS)
    exceptions.raise_from_response(answer)
    for attachment in answer.json()["attachments"]:
        if attachment["instance"] and attachment["instance"] not in servers:
            attempt(f"volume {attachment['volume_id']}", free_volume, storage, attachment["id"])


def free_volume(storage, attachment):
    answer = storage.delete(f"/attachments/{attachment}", microversion=ATTACHMENTS)
    exceptions.raise_from_response(answer)


def attempt(what, action, *arguments):
    """One that cannot be cleaned up hinders nobody else."""
    try:
        action(*arguments)
    except exceptions.SDKException as error:
        print(f"{what} stays as it was: {error}")


def wait_for_storage():
    """Wait until Cinder calls every backend up."""
    storage = connect("admin").block_storage
    wanted = {kind["volume_backend_name"] for kind in VOLUME_TYPES.values()}
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        up = {s.host.partition("@")[2] for s in storage.services() if s.state == "up"}
        if wanted <= up:
            return
        time.sleep(0.5)
    sys.exit(f"Cinder's backends {wanted - up} are down: see log/cinder-volume.log")


def wait_for_hosts(nodes):
    """Wait until Nova calls every agent up and has mapped its host to the cell."""
    compute = connect("admin").compute
    missing = set(nodes)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        missing = set(nodes) - ready_hosts(compute)
        if not missing:
            return
        time.sleep(0.5)
    sys.exit(f"no agent up on {', '.join(sorted(missing))}: see log/NODE-agent.log")


def ready_hosts(compute):
    try:
        up = {s.host for s in compute.services(binary="nova-compute") if s.state == "up"}
        # The API lists a hypervisor only once its host is mapped to a cell.
        return up & {hypervisor.name for hypervisor in compute.hypervisors()}
    except exceptions.HttpException as error:
        print(f"asked too early: {error}")
        return set()


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "catalog":
        seed_catalog(arguments)
    elif command == "cloud":
        seed_cloud()
    elif command == "forget-servers":
        forget_servers()
    elif command == "wait-for-storage":
        wait_for_storage()
    elif command == "wait-for-hosts":
        wait_for_hosts(arguments)
    else:
        sys.exit(__doc__)
