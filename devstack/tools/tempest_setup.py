"""What tempest.conf must know of this cloud, as NAME=VALUE lines: ``tempest_setup.py [HOST...]``.

Tempest cannot choose a host, and its users may not ask for one. With hosts given, the images that
it boots from require a trait that only these hosts have, so that the scheduler has no choice, and
nobody else on the cloud notices.
"""

import hashlib
import os
import sys
from pathlib import Path

import openstack

IMAGE_FILE = Path(os.environ["NOVA_LITE_CLOUD"]) / "images" / "tiny-fast.qcow2"
PLACEMENT_VERSION = "1.32"


def placement(cloud, method, path, **more):
    response = cloud.session.request(
        path, method, endpoint_filter={"service_type": "placement"},
        headers={"OpenStack-API-Version": f"placement {PLACEMENT_VERSION}"},
        raise_exc=False, **more,
    )  # fmt: skip
    return response.json() if response.content else None


def require_trait(cloud, trait, host):
    """Give the host's resource provider the trait; agents leave it alone, as it is not theirs."""
    (provider,) = placement(cloud, "GET", f"/resource_providers?name={host}")[
        "resource_providers"
    ] or sys.exit(f"Placement knows no host {host}")
    path = f"/resource_providers/{provider['uuid']}/traits"
    # The agent changes its provider, too: whoever comes second reads it again.
    for _ in range(5):
        found = placement(cloud, "GET", path)
        if trait in found["traits"]:
            return
        placement(cloud, "PUT", path, json=found | {"traits": [*found["traits"], trait]})
    sys.exit(f"Placement does not take the trait {trait} for {host}")


def aimed_image(cloud, name, trait):
    """An image like tiny-pc for the hosts with this trait; its config drive is readable.

    One that was made of an older file is replaced.
    """
    found = cloud.image.find_image(name)
    if found and found.checksum == hashlib.md5(IMAGE_FILE.read_bytes()).hexdigest():
        return found
    if found:
        cloud.image.delete_image(found)
    return cloud.image.create_image(
        name=name,
        filename=str(IMAGE_FILE),
        disk_format="qcow2",
        container_format="bare",
        visibility="public",
        wait=True,
        hw_machine_type="pc",
        **{f"trait:{trait}": "required"},
    )


def images(cloud, hosts):
    if not hosts:
        return [cloud.image.find_image(name, ignore_missing=False) for name in ("tiny-pc", "tiny")]
    names = "-".join(sorted(hosts))
    trait = "CUSTOM_TEMPEST_" + names.upper().replace("-", "_")
    placement(cloud, "PUT", f"/traits/{trait}")
    for host in hosts:
        require_trait(cloud, trait, host)
    return [aimed_image(cloud, f"tempest-{names}{suffix}", trait) for suffix in ("", "-alt")]


def main(hosts):
    cloud = openstack.connect(cloud="admin")
    image, alternative = images(cloud, hosts)
    compute_nodes = len(hosts or list(cloud.compute.hypervisors()))
    block_storage = {"volumev3", "block-storage"} & {s.type for s in cloud.identity.services()}
    facts = {
        "IMAGE": image.id,
        "IMAGE_ALT": alternative.id,
        "FLAVOR": cloud.compute.find_flavor("m1.nano").id,
        "FLAVOR_ALT": cloud.compute.find_flavor("m1.micro").id,
        "COMPUTE_NODES": compute_nodes,
        "SEVERAL_HOSTS": str(compute_nodes > 1).lower(),
        "PUBLIC_NETWORK": cloud.network.find_network("public").id,
        "CINDER": str(bool(block_storage)).lower(),
    }
    for name, value in facts.items():
        print(f"{name}={value}")


if __name__ == "__main__":
    main(sys.argv[1:])
