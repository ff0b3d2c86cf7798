"""Attaching and detaching volumes: what is asked of whom, and how it ends when something fails."""

from __future__ import annotations

import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from nova_lite import errors
from nova_lite.conductor.records import BlockDevices
from nova_lite.failures import Failure
from nova_lite.loops.abandoned_mappings import AbandonedMappings
from nova_lite.model.states import PowerState
from nova_lite.operations.attach_volume import AttachVolume
from nova_lite.operations.detach_volume import DetachVolume
from nova_lite.operations.reserve_block_device_name import ReserveBlockDeviceName
from nova_lite.services import volumes
from nova_lite.services.work import Work
from nova_lite.steps.base import stages, undoable
from nova_lite.steps.volume.moves import ReserveVolumes
from nova_lite.wire.context import RequestContext
from nova_lite.wire.objects import WireObject
from tests.fakes.cinder import local_cinder
from tests.fakes.cloud import Ledger
from tests.fakes.conductor import FakeConductor
from tests.fakes.guests import tiny_guest
from tests.fakes.hypervisor import FakeHypervisor
from tests.fakes.volume_driver import FakeHostConnector, FakeVolumeDrivers, FileVolumes

ADMIN = RequestContext.admin()
REQUEST = {"device": None, "disk_bus": None, "device_type": None, "tag": None, "multiattach": False}


class Host:
    """A host with one server, and a volume."""

    def __init__(self, directory: Path) -> None:
        self.conductor = FakeConductor(directory / "conductor.json")
        self.ledger = Ledger(directory / "cloud.json")
        self.cinder = local_cinder(self.ledger)
        self.volumes, self.hypervisor = FileVolumes(directory), FakeHypervisor()
        self.spec = tiny_guest(directory)
        self.hypervisor.define(self.spec)
        self.hypervisor.guests[self.spec.uuid].state = PowerState.RUNNING
        self.faults: list[str] = []
        self.notes: dict[str, object] = {}
        self.used: list[tuple[str, int, bool]] = []
        self.volume = self.cinder.create_volume(ADMIN, 1)["id"]
        self.tools = SimpleNamespace(
            host="host1",
            block_devices=BlockDevices(self.conductor),
            cinder=self.cinder,
            hypervisor=self.hypervisor,
            volumes=FakeVolumeDrivers(self.volumes),
            connector=FakeHostConnector(),
            policy=SimpleNamespace(disk_prefix=None, max_disks=None, disk_cachemodes={}),
            conf=SimpleNamespace(
                cinder=SimpleNamespace(cross_az_attach=True), volume_usage_poll_interval=0
            ),
            volume_usages=SimpleNamespace(save=self.report_usage),
            notifier=SimpleNamespace(on=False),
            actions=SimpleNamespace(
                fault=lambda c, u, failure: self.faults.append(failure.message)
            ),
        )

    def report_usage(self, context, *, ended, volume_id, curr_writes, **rest):
        self.used.append((volume_id, curr_writes, ended))
        return {}

    def work(self, **arguments) -> Work:
        instance = WireObject.new(
            "Instance", "2.8", uuid=self.spec.uuid, host="host1", availability_zone="az1",
            system_metadata={"image_hw_disk_bus": "virtio"},
        )  # fmt: skip
        return Work(ADMIN, self.tools, instance, arguments, self.notes, self.notes.update)

    def reserve(self, **more) -> WireObject:
        """The mapping that the agent answers with."""
        request = {"volume_id": self.volume, **REQUEST, **more}
        operation = ReserveBlockDeviceName(self.work(**request))
        carry_out(operation)
        self.notes.clear()
        return operation.answer()

    def attach(self, mapping=None) -> None:
        """All that Nova does, from reservation to the volume in use."""
        carry_out(AttachVolume(self.work(bdm=mapping or self.reserved())))

    def reserved(self, **more) -> WireObject:
        mapping = self.reserve(**more)
        attachment = self.cinder.create_attachment(ADMIN, self.volume, self.spec.uuid)["id"]
        self.tools.block_devices.save(ADMIN, mapping, attachment_id=attachment)
        return mapping

    def detaching(self) -> DetachVolume:
        self.cinder._act(ADMIN, f"volumes/{self.volume}", "os-begin_detaching")
        return DetachVolume(self.work(volume_id=self.volume, attachment_id=None))

    def seen(self):
        """Cinder, Nova, host, guest."""
        mappings = self.tools.block_devices.of_server(ADMIN, self.spec.uuid)
        return (
            self.cinder.volume(ADMIN, self.volume)["status"],
            [str(mapping["device_name"]) for mapping in mappings],
            len(self.volumes.connected()),
            self.volume in {disk.serial for disk in self.hypervisor.disks(self.spec.uuid)},
        )


IN_USE = ("in-use", ["/dev/vdb"], 1, True)
FREE = ("available", [], 0, False)


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def carry_out(operation):
    operation.load()
    for stage in stages(operation.plan()):
        for step in stage:
            step.do()


def fail(operation):
    """Carry out as far as it goes, then as the engine does: take back, and report."""
    begun = []
    try:
        operation.load()
        for stage in stages(operation.plan()):
            for step in stage:
                begun.append(step)
                step.do()
        raise AssertionError("it did not fail")
    except errors.NovaLiteError as error:
        failure = Failure.of(error)
    before, _ = undoable(operation.plan())
    left = set()
    for step in reversed(begun) if before else ():
        try:
            step.undo()
        except errors.NovaLiteError:
            left.add(step.name)
    operation.work.left = frozenset(left)
    operation.failed(failure)
    return failure


def test_from_reservation_to_use_and_back(host):
    """Nova's records, Cinder, the host and the guest agree at both ends."""
    mapping = host.reserved()
    host.attach(mapping)
    attached = host.seen()
    kept = host.tools.block_devices.by_volume(ADMIN, host.spec.uuid, host.volume)
    carry_out(host.detaching())

    assert attached == IN_USE
    assert kept["volume_size"] == 1 and "device_path" in kept["connection_info"]
    assert host.seen() == FREE
    assert host.faults == []


def test_few_calls(host):
    """Of the conductor 3 (5 with the events) to reserve and attach, 2 (4) to detach; of Cinder 3
    and 2."""
    mapping = host.reserved()
    before = len(host.conductor.read()["calls"])
    host.attach(mapping)
    carry_out(host.detaching())

    assert host.conductor.read()["calls"][before - 3 :] == [
        "BlockDeviceMappingList.get_by_instance_uuid",
        "BlockDeviceMapping.create",
        "BlockDeviceMapping.save",  # nova-conductor's own, of the attachment
        "BlockDeviceMapping.save",
        "BlockDeviceMapping.get_by_volume_and_instance",
        "BlockDeviceMapping.destroy",
    ]


@pytest.mark.parametrize(
    ("more", "bus", "name"),
    [
        ({}, "virtio", "/dev/vdb"),
        ({"disk_bus": "scsi"}, "scsi", "/dev/sda"),
        ({"device": "/dev/xvdq"}, "virtio", "/dev/vdb"),
    ],
)
def test_a_name_that_the_guest_does_not_have(host, more, bus, name):
    """On the server's bus or the one that is asked for; a wished name means nothing to a guest."""
    mapping = host.reserve(**more)

    assert (mapping["disk_bus"], mapping["device_name"]) == (bus, name)
    assert mapping["id"] and not mapping.changes


def test_names_of_volumes_to_come_are_taken(host):
    """Two reservations never get the same name, also before the guest has either disk."""
    first = host.reserve()
    host.volume = host.cinder.create_volume(ADMIN, 1)["id"]
    second = host.reserve()

    assert [first["device_name"], second["device_name"]] == ["/dev/vdb", "/dev/vdc"]


def test_a_volume_is_reserved_once(host):
    host.reserve()
    with pytest.raises(errors.InvalidVolume, match="already attached"):
        host.reserve()


def test_no_more_disks(host):
    """The API answers 403 for it."""
    host.tools.policy.max_disks = 1
    with pytest.raises(errors.TooManyDiskDevices):
        host.reserve()


def test_a_lost_answer_of_the_conductor_makes_no_second_mapping(host):
    """The step finds what it has made."""
    operation = ReserveBlockDeviceName(host.work(volume_id=host.volume, **REQUEST))
    carry_out(operation)
    ((step,),) = stages(operation.plan())

    assert step.done()
    assert operation.answer()["device_name"] == "/dev/vdb"


def test_a_reservation_whose_caller_hears_nothing_is_taken_back(host):
    """The next process leaves no mapping in the volume's way."""
    operation = ReserveBlockDeviceName(host.work(volume_id=host.volume, **REQUEST))
    carry_out(operation)
    resumed = host.work(volume_id=host.volume, **REQUEST)
    resumed.resumed = True
    again = ReserveBlockDeviceName(resumed)
    with pytest.raises(errors.AnswerLost):
        again.load()
    ((step,),) = stages(again.plan())
    for _ in range(2):
        step.undo()

    assert host.seen() == FREE


def test_an_attach_that_fails_leaves_nothing(host):
    """Storage that cannot be reached: the volume is available, and the user is told why."""
    host.volumes.broken.add(host.volume)
    mapping = host.reserved()
    failure = fail(AttachVolume(host.work(bdm=mapping)))

    assert failure.nova_name == "VolumeAttachFailed"
    assert host.seen() == FREE
    assert host.faults == [failure.message]


def test_an_attachment_that_is_gone(host):
    """Somebody has deleted it in Cinder meanwhile."""
    mapping = host.reserved()
    host.cinder.delete_attachment(ADMIN, mapping["attachment_id"])
    failure = fail(AttachVolume(host.work(bdm=mapping)))

    assert failure.nova_name == "VolumeAttachmentNotFound"
    assert host.seen() == FREE


def test_a_volume_that_is_gone(host):
    """It was deleted by force: the server can do without."""
    mapping = host.reserved()
    with Ledger(host.conductor._file.path.parent / "cloud.json").open() as content:
        content["cinder"]["volumes"].clear()
        content["cinder"]["attachments"].clear()
    failure = fail(AttachVolume(host.work(bdm=mapping)))

    assert failure.nova_name == "VolumeNotFound"
    assert host.tools.block_devices.of_server(ADMIN, host.spec.uuid) == []


def test_a_volume_that_was_deleted_by_force_can_be_detached(host):
    """What is left of it on the host and in the records goes away."""
    host.attach()
    with Ledger(host.conductor._file.path.parent / "cloud.json").open() as content:
        content["cinder"]["volumes"].clear()
        content["cinder"]["attachments"].clear()
    carry_out(DetachVolume(host.work(volume_id=host.volume, attachment_id=None)))

    assert host.volumes.connected() == []
    assert host.tools.block_devices.of_server(ADMIN, host.spec.uuid) == []


def test_zones_that_must_agree(host):
    """With cross_az_attach off."""
    host.tools.conf.cinder.cross_az_attach = False
    failure = fail(AttachVolume(host.work(bdm=host.reserved())))

    assert "availability_zone" in failure.message
    assert host.seen() == FREE


def test_a_guest_that_keeps_what_it_should_not_have_got(host):
    """The volume stays attached, so that nobody else gets it and it can be detached."""
    mapping = host.reserved()
    host.hypervisor.stubborn.add(host.spec.uuid)

    def refuse(context, attachment_id):
        raise errors.VolumeServiceError("no")

    complete, host.cinder.complete_attachment = host.cinder.complete_attachment, refuse
    operation = AttachVolume(host.work(bdm=mapping))
    host.tools.cinder = SimpleNamespace(
        **{
            n: getattr(host.cinder, n) for n in ("volume", "update_attachment", "delete_attachment")
        },
        complete_attachment=lambda *a: answers.pop(0)(*a),
    )
    answers = [refuse, complete]
    fail(operation)

    assert host.seen() == IN_USE
    assert len(host.faults) == 1


def test_a_guest_that_does_not_let_go(host):
    """The volume stays in use and mapped; the user reads why, and may try again."""
    host.attach()
    host.hypervisor.stubborn.add(host.spec.uuid)
    failure = fail(host.detaching())
    refused = host.seen()
    host.hypervisor.stubborn.clear()
    carry_out(host.detaching())

    assert (failure.nova_name, refused) == ("DeviceDetachFailed", IN_USE)
    assert host.seen() == FREE


def test_the_last_use_of_a_volume_is_recorded(host):
    """Where it is polled; not of a guest that keeps the volume: its counters go on."""
    host.tools.conf.volume_usage_poll_interval = 60
    host.attach()
    host.hypervisor.stubborn.add(host.spec.uuid)
    fail(host.detaching())
    kept = list(host.used)
    host.hypervisor.stubborn.clear()
    carry_out(host.detaching())
    host.hypervisor.destroy(host.spec.uuid)
    host.attach()
    carry_out(host.detaching())

    assert kept == []
    assert [(volume, ended) for volume, _, ended in host.used] == [(host.volume, True)]


def test_detaching_what_is_not_attached(host):
    """The API hears 404's name; nothing is touched."""
    operation = DetachVolume(host.work(volume_id=host.volume, attachment_id=None))

    assert fail(operation).nova_name == "VolumeBDMNotFound"


def test_a_server_of_another_host(host):
    """Only Cinder and the records are told; this host's guest of that name is left alone."""
    host.attach()
    operation = host.detaching()
    operation.work.instance.set(host="host2")
    carry_out(operation)

    assert host.seen() == ("available", [], 1, True)


# --- attaches whose caller did not wait -------------------------------------------------------


def left(host, *, minutes=11):
    """A mapping that nova-api, which has given up, knows nothing of."""
    mapping = host.reserve()
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=minutes)
    with host.conductor.database() as tables:
        row = tables["BlockDeviceMapping"][str(mapping["id"])]
        row["created_at"] = then.strftime("%Y-%m-%dT%H:%M:%SZ")
    return mapping


def seen_by(host):
    """What a verb that is asked for next knows of the server's volumes."""
    return [mapping["volume_id"] for mapping in volumes.volume_mappings(host.work())]


def test_a_mapping_that_nobody_goes_on_with_is_removed_by_who_meets_it(host, caplog):
    """nova-api would let nobody attach the volume any more."""
    left(host)

    assert seen_by(host) == []
    assert host.seen() == FREE
    assert f"mapping of volume {host.volume} that was never attached" in caplog.text


def test_the_same_server_can_get_the_volume_again(host):
    """What is left is no attachment."""
    left(host)

    host.attach()

    assert host.seen() == IN_USE


def test_it_can_be_detached(host):
    """It has no attachment that could be deleted."""
    left(host)

    carry_out(DetachVolume(host.work(volume_id=host.volume, attachment_id=None)))

    assert host.seen() == FREE


@pytest.mark.parametrize("status", ["reserved", "attaching"])
def test_a_volume_on_its_way_keeps_its_mapping(host, status):
    """Somebody is between the mapping and its attachment."""
    left(host)
    with host.ledger.open() as cloud:
        cloud["cinder"]["volumes"][host.volume]["status"] = status

    assert seen_by(host) == [host.volume]


def test_so_does_one_that_nova_is_still_at_work_on(host):
    """The volume is reserved after the mapping was made."""
    left(host, minutes=1)

    assert seen_by(host) == [host.volume]


def test_so_does_one_that_cinder_shows_attached_to_the_server(host):
    """It was attached by a Nova older than Queens, or its record was lost."""
    mapping = host.reserved()
    host.attach(mapping)
    old = "2020-01-01T00:00:00Z"
    left_over = {"attachment_id": None, "connection_info": None, "created_at": old}
    with host.conductor.database() as tables:
        tables["BlockDeviceMapping"][str(mapping["id"])].update(left_over)

    assert seen_by(host) == [host.volume]


def test_so_do_all_while_cinder_is_away(host, monkeypatch):
    """A reboot does not need Cinder for it."""
    left(host)

    def away(*arguments):
        raise errors.VolumeServiceUnavailable("Cinder does not answer")

    monkeypatch.setattr(host.cinder, "volume", away)

    assert seen_by(host) == [host.volume]


def test_the_periodic_look_removes_them_as_well(host):
    """Where nobody asks for anything of the server, for the volume cannot be attached."""
    mapping = left(host)
    host.tools.claims = SimpleNamespace(here=lambda: {host.spec.uuid})
    busy = SimpleNamespace(busy=lambda uuid: True)
    AbandonedMappings(host.tools, busy).tick()
    assert host.seen()[1] == [mapping["device_name"]]

    AbandonedMappings(host.tools, SimpleNamespace(busy=lambda uuid: False)).tick()

    assert host.seen() == FREE


def test_a_server_leaves_its_host_without_what_is_not_attached(host):
    """A shelve is not refused for it: nova goes on with the attach, or nobody does."""
    host.reserve()

    ReserveVolumes(host.work()).do()

    assert host.seen()[0] == "available"
