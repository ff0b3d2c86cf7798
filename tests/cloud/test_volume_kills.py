"""kill -9 while volumes come and go: afterwards Cinder, Nova, libvirt and Ceph agree on them, and
what a guest has written is there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

import pytest

from tests.cloud.support.devcloud import CloudError, wait_for
from tests.cloud.support.guest import Guest
from tests.cloud.support.ledgers import free, used_by, volume_ledgers
from tests.cloud.support.trials import Trial
from tests.cloud.support.volumes import Volumes

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only]

# How many boundaries of each operation are tried unless --full is given; the seed chooses which.
SAMPLE = {"attach": 2, "detach": 2, "boot": 2, "delete": 2}
MADE_FOR = "nova_block_device_mapping"


class World:
    """A volume with known data on it, what is asked for it, and the four ledgers."""

    def __init__(self, cloud, api, node, agent, garbage):
        self.cloud, self.api, self.node, self.agent = cloud, api, node, agent
        self.garbage, self.volumes = garbage, Volumes(api, garbage.later)
        self.volume = self.volumes.create("ceph")
        self.written = self.booted = None

    def guest(self, server):
        return Guest(self.cloud, self.node, server)

    def settle(self, volume, wanted):
        """All four agree on it before long."""
        found = None

        def look():
            nonlocal found
            found = volume_ledgers(self.cloud, self.api, self.node, volume)
            return found == wanted

        try:
            wait_for("four ledgers", look, 45)
        except Exception as error:
            raise AssertionError(f"volume {volume}: {found} instead of {wanted}") from error

    def killed_at(self, boundary, ask):
        """Ask for something, kill the agent at the boundary and start it again.

        :returns: what ``ask`` has returned
        """
        self.agent.arm(boundary)
        with ThreadPoolExecutor(1) as asking:  # the API may wait for the agent
            asked = asking.submit(ask)
            try:
                self.agent.wait_dead(150)
            except CloudError:
                asked.result(150)  # perhaps that says why
                raise
            self.agent.start()
            return asked.result(150)

    def attach(self, server):
        """Whether the API has promised to."""
        body = {"volumeAttachment": {"volumeId": self.volume}}
        path = f"/servers/{server}/os-volume_attachments"
        return self.api.call("POST", path, body, ok=False).ok

    def detach(self, server):
        path = f"/servers/{server}/os-volume_attachments/{self.volume}"
        return self.api.call("DELETE", path)

    def boot(self):
        """Ask for a server with a volume made from an image and the one with data."""
        root = {"source_type": "image", "destination_type": "volume", "volume_size": 1,
                "boot_index": 0, "uuid": self.api.image_id("tiny-agent"),
                "delete_on_termination": True}  # fmt: skip
        data = {"source_type": "volume", "destination_type": "volume", "uuid": self.volume,
                "boot_index": -1}  # fmt: skip
        self.booted = self.api.request_boot(
            self.node, imageRef="", block_device_mapping_v2=[root, data], networks="none"
        )["id"]
        return self.garbage.server(self.booted)

    def delete_booted(self):
        self.api.delete(self.booted)
        self.api.wait_gone(self.booted, 150)

    def made_for(self, server):
        """The volumes that Cinder has made for the server, by their own telling."""
        rows = self.cloud.sql(
            f"select uuid from block_device_mapping where instance_uuid = '{server}'"
        ).split()
        listed = self.volumes.request("GET", "/volumes/detail")["volumes"]
        return [row["id"] for row in listed if row["metadata"].get(MADE_FOR) in rows]


@pytest.fixture(scope="module")
def world(cloud, api, node, agent, module_garbage):
    return World(cloud, api, node, agent, module_garbage)


@pytest.fixture(scope="module")
def server(world, module_garbage):
    """One that the volume comes to and leaves again."""
    booted = world.api.boot(world.node, image="tiny-agent", networks="none")
    found = module_garbage.server(booted["id"])
    module_garbage.later(lambda: world.volumes.detach(found, world.volume))
    return found


@pytest.fixture(scope="module")
def passed(world, server):
    """Boundaries of an attach and of a detach; the guest has written in between."""
    guest = world.guest(server)
    guest.ask("echo up")
    world.agent.boundaries()
    assert world.attach(server)
    there = world.agent.passed("attach_volume:closed")
    world.written = guest.mark(world.volume)
    world.detach(server)
    return there, world.agent.passed("detach_volume:closed")


@pytest.mark.core
@pytest.mark.timeout(2400)
def test_killed_while_attaching_and_detaching(world, server, passed, choose):
    """A promised volume comes and one that is given back goes, wherever that is cut off; what was
    not promised leaves nothing behind."""
    there, away = passed
    trial = Trial(None, world.agent)
    rounds = zip_longest(
        choose("attach", there, SAMPLE["attach"]), choose("detach", away, SAMPLE["detach"])
    )
    for coming, going in rounds:

        def come(boundary=coming):
            promised = world.killed_at(boundary, lambda: world.attach(server))
            if not promised:
                world.settle(world.volume, free())

        def go(boundary=going):
            if volume_ledgers(world.cloud, world.api, world.node, world.volume) == free():
                assert world.attach(server)
            world.settle(world.volume, used_by(server))
            assert world.guest(server).checksum(world.volume) == world.written
            if boundary:
                world.killed_at(boundary, lambda: world.detach(server))
            else:
                world.detach(server)
            world.settle(world.volume, free())

        if coming:
            trial.run(coming, come)
        trial.run(going or coming, go)
    trial.verdict()


@pytest.mark.timeout(3600)
def test_killed_while_booting_from_volumes_and_deleting(world, passed, choose):
    """The server gets one volume of each kind and starts from it; with the server go those that are
    to go, the others are free and hold their data."""
    world.agent.boundaries()
    first = world.boot()
    booted = world.agent.passed("build_and_run_instance:closed")
    world.api.wait_status(first, "ACTIVE", 180)
    world.agent.boundaries()
    world.delete_booted()
    deleted = world.agent.passed("terminate_instance:closed")
    trial = Trial(None, world.agent)
    rounds = zip_longest(
        choose("boot from volumes", booted, SAMPLE["boot"]),
        choose("delete with volumes", deleted, SAMPLE["delete"]),
    )
    for coming, going in rounds:

        def live_and_die(coming=coming, going=going):
            world.delete_booted()  # after a round that has failed
            mine = world.killed_at(coming, world.boot) if coming else world.boot()
            world.api.wait_status(mine, "ACTIVE", 180)
            made = world.made_for(mine)
            assert len(made) == 1
            for volume in (*made, world.volume):
                world.settle(volume, used_by(mine))
            assert world.guest(mine).checksum(world.volume) == world.written
            if going:
                world.killed_at(going, lambda: world.api.delete(mine))
            world.delete_booted()
            world.settle(world.volume, free())
            wait_for("end of its volume", lambda: not world.made_for(mine), 45)

        trial.run(f"{coming}, {going}", live_and_die)
    trial.verdict()
