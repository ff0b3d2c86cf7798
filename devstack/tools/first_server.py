"""``first_server.py NAME HOST``: have a server on HOST and wait until its guest says it booted."""

import sys
import time

import openstack
from openstack import exceptions

BOOTED = "TINY: booted"
GUEST_SECONDS = 120


def say(text):
    print(f"  {text}", flush=True)


def find_or_create(cloud, name, host):
    server = cloud.compute.find_server(name, details=True)
    if server and server.status not in ("ACTIVE", "SHUTOFF"):
        say(f"{name} is {server.status} from an earlier run: deleted")
        cloud.compute.delete_server(server)
        cloud.compute.wait_for_delete(server)
        server = None
    if server is None:
        return create(cloud, name, host)
    if server.status == "SHUTOFF":
        say(f"{name} exists and is off: started")
        cloud.compute.start_server(server)
        return cloud.compute.wait_for_server(server, wait=120)
    say(f"{name} exists and is active on {server.compute_host}")
    return server


def create(cloud, name, host):
    began = time.monotonic()
    server = cloud.compute.create_server(
        name=name,
        host=host,
        image_id=cloud.image.find_image("tiny-fast").id,
        flavor_id=cloud.compute.find_flavor("m1.nano").id,
        networks=[{"uuid": cloud.network.find_network("private").id}],
        key_name="nova-lite",
    )
    server = cloud.compute.wait_for_server(server, wait=180)
    say(f"ACTIVE after {time.monotonic() - began:.1f} s")
    return server


def wait_for_boot_line(cloud, server):
    deadline = time.monotonic() + GUEST_SECONDS
    console = ""
    while time.monotonic() < deadline:
        console = cloud.compute.get_server_console_output(server)["output"] or ""
        for line in console.splitlines():
            if BOOTED in line:
                say(f"console: {line.strip()}")
                return
        time.sleep(0.5)
    sys.exit(f"no '{BOOTED}' on the console in {GUEST_SECONDS} s; its end:\n{console[-600:]}")


def main():
    name, host = sys.argv[1:]
    cloud = openstack.connect(cloud="admin")
    try:
        server = find_or_create(cloud, name, host)
    except (exceptions.ResourceFailure, exceptions.ResourceTimeout) as error:
        server = cloud.compute.find_server(name, details=True)
        fault = (server and server.fault) or {}
        sys.exit(f"{error}\nfault: {fault.get('message')}\n{fault.get('details') or ''}")
    wait_for_boot_line(cloud, server)


if __name__ == "__main__":
    main()
