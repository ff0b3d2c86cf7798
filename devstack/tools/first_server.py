"""``first_server.py NAME HOST``: have a server on HOST and wait until its guest says it booted."""

import sys
import time

import openstack
from openstack import exceptions

BOOTED = "TINY: booted"
GUEST_SECONDS = 120


def say(text):
    print(f"  {text}", flush=True)


def console_of(cloud, server):
    """What the guest has written, or nothing while there is no guest."""
    try:
        return cloud.compute.get_server_console_output(server)["output"] or ""
    except (exceptions.NotFoundException, exceptions.ConflictException):
        return ""


def boot_line(console):
    return next((line.strip() for line in console.splitlines() if BOOTED in line), None)


def still_there(cloud, name):
    """Keep the server of an earlier run if it lives; one that does not is deleted."""
    server = cloud.compute.find_server(name, details=True)
    if server is None:
        return False
    if server.status == "ACTIVE" and boot_line(console_of(cloud, server)):
        say(f"{name} is there from an earlier run, on {server.compute_host}")
        say(f"console: {boot_line(console_of(cloud, server))}")
        return True
    say(f"{name} of an earlier run does not live: deleted")
    cloud.compute.delete_server(server)
    cloud.compute.wait_for_delete(server)
    return False


def boot(cloud, name, host):
    began = time.monotonic()
    server = cloud.compute.create_server(
        name=name,
        host=host,
        image_id=cloud.image.find_image("tiny-fast").id,
        flavor_id=cloud.compute.find_flavor("m1.nano").id,
        networks=[{"uuid": cloud.network.find_network("private").id}],
        key_name="nova-lite",
    )
    server = cloud.compute.wait_for_server(server, interval=0.5, wait=180)
    say(f"{name} is ACTIVE after {time.monotonic() - began:.1f} s")
    wait_for_boot_line(cloud, server)
    say(f"its guest has booted after {time.monotonic() - began:.1f} s")


def wait_for_boot_line(cloud, server):
    deadline = time.monotonic() + GUEST_SECONDS
    console = ""
    while time.monotonic() < deadline:
        console = console_of(cloud, server)
        if boot_line(console):
            say(f"console: {boot_line(console)}")
            return
        time.sleep(0.5)
    sys.exit(f"no '{BOOTED}' on the console in {GUEST_SECONDS} s; its end:\n{console[-600:]}")


def main():
    name, host = sys.argv[1:]
    cloud = openstack.connect(cloud="admin")
    try:
        if not still_there(cloud, name):
            boot(cloud, name, host)
    except (exceptions.ResourceFailure, exceptions.ResourceTimeout) as error:
        server = cloud.compute.find_server(name, details=True)
        fault = (server and server.fault) or {}
        sys.exit(f"{error}\nfault: {fault.get('message')}\n{fault.get('details') or ''}")


if __name__ == "__main__":
    main()
