"""Steps that replace a server's guest by a rescue system, and restore it."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path

from nova_lite.drivers.disk import durable, space
from nova_lite.drivers.disk.base import LocalDisk
from nova_lite.errors import DomainNotFound, NotRescuable
from nova_lite.guest import rescue
from nova_lite.model.domain import DomainSpec
from nova_lite.model.server import Image
from nova_lite.model.states import PowerState, TaskState, VmState
from nova_lite.services import disk_files, guest, interfaces
from nova_lite.services.image_origin import origin
from nova_lite.services.image_trust import refuse_certificates
from nova_lite.services.notes import RescueNotes
from nova_lite.services.power_state import is_on
from nova_lite.services.work import Signal, Work
from nova_lite.steps.base import Step
from nova_lite.steps.guest.domain import PowerOff
from nova_lite.steps.records.server import tell_host
from nova_lite.wire.decode import utcnow

LOG = logging.getLogger(__name__)

# The guest's own definition while it is rescued; stock agents look for it under this name, too.
DEFINITION = "unrescue.xml"


def rescue_image(work: Work) -> Image:
    """The image of the rescue system, once it is known."""
    return Image(**(RescueNotes.of(work.notes).rescue_image or {}))


def fetch_images(work: Work) -> None:
    """Fetch image, kernel and ramdisk of the rescue system into the image cache."""
    images, image = work.tools.images, rescue_image(work)
    refuse_certificates(work)
    if origin(work, image) is None:
        images.fetch(work.context, image)
    for image_id in boot_files(work).values():
        images.fetch_as_is(work.context, image_id)


class FetchRescueImages(Step):
    """Choose the rescue image and fetch it into the cache, while the guest still runs."""

    name = "fetch_rescue_images"

    def do(self) -> None:
        work, images = self.work, self.tools.images
        image = images.show(work.context, self._image_id())
        self._refuse(image)
        work.note(rescue_image=asdict(image))
        fetch_images(work)

    def _image_id(self) -> str:
        work = self.work
        return str(
            work.arguments.get("rescue_image_ref")
            or self.tools.conf.libvirt.rescue_image_id
            or work.instance.get("system_metadata", {}).get("image_base_image_ref")
            or work.instance.get("image_ref")
            or ""
        )

    def _refuse(self, image: Image) -> None:
        """The rescue system's disk takes the name of the root disk, which must be a local one."""
        if not self.work.instance.get("image_ref") and not rescue.keeps_names(image):
            raise NotRescuable("Cannot rescue a volume-backed instance")


class PowerOffForRescue(PowerOff):
    """Power the guest off; the undo starts it again if it ran."""

    def do(self) -> None:
        if RescueNotes.of(self.work.notes).ran is None:
            self.work.note(ran=is_on(self.tools.hypervisor, self.work.uuid))
        super().do()

    def undo(self) -> None:
        # A server that is being deleted meanwhile need not boot once more.
        if RescueNotes.of(self.work.notes).ran and Signal.DELETE not in self.work.signals:
            interfaces.plug(self.work)  # what libvirt made of them went with the guest
            self.tools.hypervisor.start(self.work.uuid)


class KeepGuest(Step):
    """Save the guest's own domain XML in its directory.

    The guest of a server in ERROR may be left over from an earlier rescue; its definition
    is then made from the server's records.
    """

    name = "keep_guest"

    def done(self) -> bool:
        """After a power failure the rescue system may be what is defined: it is not to be kept."""
        return self.work.rebooted and _kept(self.work).exists() and is_rescue_system(self.work)

    def do(self) -> None:
        work, hypervisor = self.work, self.tools.hypervisor
        remove_rescue_disks(work)
        broken = work.instance.get("vm_state") == VmState.ERROR
        if broken or not hypervisor.defined(work.uuid):
            hypervisor.define(guest.wanted_guest(work)[0])
        path = _kept(work)
        with space.reported(path):
            durable.make_directory(path.parent)
            with durable.made_whole(path) as part:
                part.write_text(hypervisor.definition(work.uuid))

    def undo(self) -> None:
        forget_definition(self.work)


class MakeRescueDisks(Step):
    """Make the rescue system's disk, kernel and ramdisk from the cached images."""

    name = "make_rescue_disks"

    def do(self) -> None:
        work, tools = self.work, self.tools
        where = disk_files.directory(work)
        cloned = origin(work, rescue_image(work))
        image = tools.images.path(str(rescue_image(work).id))
        files = {name: tools.images.path(found) for name, found in boot_files(work).items()}
        with tools.images.held(image, *files.values()):
            fetch_images(work)  # the cache may have been cleaned since
            base = None if cloned else image
            tools.disks.create(where, LocalDisk(rescue.DISK, 0, base, origin=cloned))
            for name, path in files.items():
                tools.disks.create(where, LocalDisk(name, 0, path))

    def undo(self) -> None:
        remove_rescue_disks(self.work)


class DefineRescueGuest(Step):
    """Define the rescue system instead of the guest."""

    name = "define_rescue_guest"

    def do(self) -> None:
        interfaces.plug(self.work)
        self.tools.hypervisor.define(wanted_rescue_guest(self.work))

    def undo(self) -> None:
        if is_rescue_system(self.work):
            put_back(self.work)


class MakeRescueConfigDrive(Step):
    """Make the rescue system's own config drive, with the password that the user asked for."""

    name = "make_rescue_config_drive"

    def done(self) -> bool:
        return self.tools.disks.exists(disk_files.directory(self.work), rescue.CONFIG_DRIVE)

    def do(self) -> None:
        work = self.work
        if guest.has_config_drive(work) and not rescue.keeps_names(rescue_image(work)):
            disk_files.make_config_drive(work, rescue.CONFIG_DRIVE)


class StartRescueGuest(Step):
    """Start the rescue system."""

    name = "start_rescue_guest"

    def do(self) -> None:
        self.tools.hypervisor.start(self.work.uuid)

    def undo(self) -> None:
        self.tools.hypervisor.destroy(self.work.uuid)


class ReportRescued(Step):
    """Save vm_state RESCUED and clear the task state."""

    name = "report_rescued"

    def done(self) -> bool:
        self.work.reload()
        return bool(self.work.instance.get("vm_state") == VmState.RESCUED)

    def do(self) -> None:
        self.tools.instances.save(
            self.work.context,
            self.work.instance,
            expected_task_state=[TaskState.RESCUING],
            vm_state=VmState.RESCUED,
            task_state=None,
            power_state=int(PowerState.RUNNING),
            launched_at=utcnow(),
        )
        tell_host(self.work, VmState.RESCUED)


class CheckGuestBack(Step):
    """Refuse to define the guest from the records without devices that it has, while the rescue
    system runs; a definition that was kept has them all."""

    name = "check_guest_back"

    def do(self) -> None:
        if _kept(self.work).exists() or not is_rescue_system(self.work):
            return
        self.work.reload()
        guest.require_definable(self.work)


class PutGuestBack(Step):
    """Define the guest as it was before the rescue."""

    name = "put_guest_back"

    def done(self) -> bool:
        """After a power failure what it is put back from may be gone, for it was."""
        if not self.work.rebooted or _kept(self.work).exists():
            return False
        return self.tools.hypervisor.defined(self.work.uuid) and not is_rescue_system(self.work)

    def do(self) -> None:
        put_back(self.work)


class RemoveRescueFiles(Step):
    """Remove the files of the rescue system."""

    name = "remove_rescue_files"

    def do(self) -> None:
        remove_rescue_disks(self.work)
        forget_definition(self.work)


def boot_files(work: Work) -> dict[str, str]:
    """File name -> image of the rescue system's kernel and ramdisk, where it has them."""
    conf, server = work.tools.conf.libvirt, work.server
    images = {
        disk_files.KERNEL + rescue.SUFFIX: conf.rescue_kernel_id or server.kernel_id,
        disk_files.RAMDISK + rescue.SUFFIX: conf.rescue_ramdisk_id or server.ramdisk_id,
    }
    return {name: str(image_id) for name, image_id in images.items() if image_id}


def wanted_rescue_guest(work: Work) -> DomainSpec:
    """The rescue system as a guest."""
    image, files, policy = rescue_image(work), boot_files(work), work.tools.policy
    server = replace(
        work.server,
        kernel_id=files.get(disk_files.KERNEL + rescue.SUFFIX),
        ramdisk_id=files.get(disk_files.RAMDISK + rescue.SUFFIX),
    )
    keeps = rescue.keeps_names(image)
    if keeps:
        board = guest.board(work, server)
        plan = rescue.plan_as_last(guest.disk_plan(work), server, image, board, policy)
    else:
        server = replace(server, image=image)
        plan = rescue.plan_as_root(
            server,
            guest.board(work, server),
            policy,
            config_drive=guest.has_config_drive(work),
        )
    return rescue.booted_from_rescue(guest.plan_guest(work, server, plan), first=keeps)


def is_rescue_system(work: Work) -> bool:
    """Whether the guest that is defined is the rescue system."""
    try:
        disks = work.tools.hypervisor.disks(work.uuid)
    except DomainNotFound:
        return False
    return any(str(disk.source).endswith(rescue.DISK) for disk in disks)


def put_back(work: Work) -> None:
    """Define the guest from its saved domain XML, or else from the server's records."""
    try:
        kept = _kept(work).read_text()
    except FileNotFoundError:
        LOG.warning("Server %s has no %s; its guest is defined from its records", work.uuid,
                    DEFINITION)  # fmt: skip
        work.reload()
        work.tools.hypervisor.define(guest.wanted_guest(work)[0])
        return
    work.tools.hypervisor.redefine(work.uuid, kept)


def remove_rescue_disks(work: Work) -> None:
    """Remove the disks of a rescue system; their images stay in the cache."""
    where = disk_files.directory(work)
    for name in work.tools.disks.names(where):
        if name.endswith(rescue.SUFFIX):
            work.tools.disks.remove(where, name)


def _kept(work: Work) -> Path:
    return disk_files.directory(work) / DEFINITION


def forget_definition(work: Work) -> None:
    """Remove the kept definition, if there is one; a power failure does not bring it back.

    An unrescue defines the guest from its records then.
    """
    path = _kept(work)
    path.unlink(missing_ok=True)
    if path.parent.exists():
        durable.sync(path.parent)
