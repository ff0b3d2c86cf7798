"""What a server is and has before a scenario begins; the agent of its first host makes it so."""

from __future__ import annotations

import subprocess

from nova_lite.clients.key_manager import FIXED_KEY_ID
from tests.fakes.manila import Rules
from tests.functional.messages import (
    ATTACHMENT,
    CONTENT,
    MAPPING,
    MIB,
    NEW_ATTACHMENT,
    NEW_VOLUME,
    RESCUE,
    ROOT_VOLUME,
    SHARE,
    SHARE_MAPPING,
    SHELF,
    VOLUME,
    VOLUME_KEY,
    attach_arguments,
    build_arguments,
    rescue_arguments,
    share_arguments,
    shelve_arguments,
    volume_arguments,
)


def boot(trial):
    assert trial.run(trial.message("build_and_run_instance", **build_arguments()))
    row = build_arguments()["block_device_mapping"]["nova_object.data"]["objects"][0]
    with trial.conductor.database() as tables:
        saved = tables.get("BlockDeviceMapping", {}).get("1", {})
        tables["BlockDeviceMapping"] = {
            "1": {**row["nova_object.data"], "instance_uuid": trial.server, **saved}
        }
        tables["events"] = []


def offer_tpm(trial, mode):
    """All hosts offer TPMs, and the flavor asks for one whose key is of this mode."""
    for host in trial.hosts.values():
        host.configure("swtpm_enabled = true", "libvirt")
    flavor = trial.conductor.instance(trial.server)["flavor"]
    flavor["nova_object.data"]["extra_specs"] = {
        "hw:tpm_version": "2.0", "hw:tpm_secret_security": mode
    }  # fmt: skip
    trial.set(flavor=flavor)


def reserve_volume(trial):
    """A volume as Nova leaves it to the host: reserved, with a mapping."""
    with trial.ledger.open() as content:
        cinder = content.setdefault("cinder", {})
        cinder["volumes"] = {
            VOLUME: {
                "id": VOLUME, "status": "reserved", "attach_status": "reserved", "size": 1,
                "multiattach": False, "metadata": {}, "migration_status": None,
                "availability_zone": "nova",
            }
        }  # fmt: skip
        cinder["attachments"] = {
            ATTACHMENT: {
                "id": ATTACHMENT, "status": "reserved", "instance": trial.server,
                "volume_id": VOLUME, "mountpoint": None, "connector": None,
                "connection_info": {},
            }
        }  # fmt: skip
    with trial.conductor.database() as tables:
        tables["BlockDeviceMapping"]["2"] = {**MAPPING, "instance_uuid": trial.server}


def reserve_encrypted_volume(trial):
    """One that is LUKS, and whose key nova.conf has; only one host at a time can have it."""
    reserve_volume(trial)
    trial.encrypted = True
    with trial.ledger.open() as content:
        content["cinder"]["volumes"][VOLUME]["encryption"] = {
            "encryption_key_id": FIXED_KEY_ID, "provider": "luks", "cipher": "aes-xts-plain64",
            "key_size": 256, "control_location": "front-end",
        }  # fmt: skip
    with open(trial.host.state / "nova.conf", "a") as file:
        file.write(f"[key_manager]\nfixed_key = {VOLUME_KEY}\n")
    path = trial.directory / "volumes" / VOLUME
    path.parent.mkdir(exist_ok=True)
    create = ["qemu-img", "create", "-q", "-f", "luks", "-o", "key-secret=k,iter-time=10",
              "--object", f"secret,id=k,data={VOLUME_KEY}", path, "1M"]  # fmt: skip
    # QEMU 7.2 measures its own speed first, and now and then fails at it on a busy machine.
    assert any(subprocess.run(create).returncode == 0 for _ in range(5))


def ask_for_volumes(trial):
    """The server is to have its root disk and another one in volumes."""
    with trial.conductor.database() as tables:
        row = {**ROOT_VOLUME, "instance_uuid": trial.server}
        tables["BlockDeviceMapping"] = {"1": row}
    reserve_volume(trial)
    trial.set(image_ref="", root_device_name=None)


def boot_from_volumes(trial):
    trial.host.configure("shutdown_timeout = 0")
    ask_for_volumes(trial)
    assert trial.run(trial.message("build_and_run_instance", **volume_arguments()))
    trial.forget_events()


def attach_volume(trial, **volume):
    """A volume that is to be detached.

    :param volume: more of its record
    """
    reserve_volume(trial)
    with trial.ledger.open() as content:
        content["cinder"]["volumes"][VOLUME].update(volume)
    assert trial.run(trial.message("attach_volume", **attach_arguments())), trial.lab.said()
    with trial.ledger.open() as content:
        content["cinder"]["volumes"][VOLUME]["status"] = "detaching"
    trial.forget_events()


def attach_read_only_volume(trial):
    """A volume that can go to another host: one that is written to has to be on storage of which
    libvirt knows that hosts share it."""
    attach_volume(trial, connection={"access_mode": "ro"})
    with trial.ledger.open() as content:
        content["cinder"]["volumes"][VOLUME]["status"] = "in-use"


def attach_encrypted_volume(trial):
    """A LUKS volume that the server uses, and whose key libvirt has forgotten."""
    reserve_encrypted_volume(trial)
    assert trial.run(trial.message("attach_volume", **attach_arguments())), trial.lab.said()
    trial.host.forget_secrets()
    trial.forget_events()


def grow_volume(trial):
    """A volume that the server uses, and that Cinder has made larger since."""
    attach_volume(trial)
    with trial.ledger.open() as content:
        content["cinder"]["volumes"][VOLUME].update(status="in-use", size=2)
    with open(trial.directory / "volumes" / VOLUME, "r+b") as file:
        file.truncate(2 * MIB)


def migrate_volume(trial):
    """A volume that the server uses, and the one that Cinder has made to take its place."""
    attach_volume(trial)
    with trial.ledger.open() as content:
        cinder = content["cinder"]
        old, reserved = cinder["volumes"][VOLUME], dict(cinder["attachments"][ATTACHMENT])
        old.update(status="retyping", migration_status="migrating")
        cinder["volumes"][NEW_VOLUME] = {
            **old, "id": NEW_VOLUME, "status": "reserved", "attach_status": "reserved",
            "migration_status": f"target:{VOLUME}", "connection": {"name": NEW_VOLUME},
        }  # fmt: skip
        reserved.update(id=NEW_ATTACHMENT, volume_id=NEW_VOLUME, status="reserved",
                        connection_info={}, connector=None)  # fmt: skip
        cinder["attachments"][NEW_ATTACHMENT] = reserved
    for name in (VOLUME, NEW_VOLUME):
        content = CONTENT if name == VOLUME else b""
        (trial.directory / "volumes" / name).write_bytes(content.ljust(MIB, b"\0"))


def _share(trial, status):
    """A share as nova-api leaves it to the host."""
    path = trial.host.state / "nova.conf"
    path.write_text(
        path.read_text().replace("[libvirt]", "[libvirt]\nfile_backed_memory = 1024", 1)
    )
    Rules(trial.ledger).add_share(SHARE)
    with trial.conductor.database() as tables:
        row = {**SHARE_MAPPING, "instance_uuid": trial.server, "status": status}
        tables["ShareMapping"] = {f"{trial.server}.{SHARE}": row}


def ask_for_share(trial):
    _share(trial, "attaching")


def give_share(trial, status="inactive"):
    """The server, which is off, has a share."""
    ask_for_share(trial)
    assert trial.run(trial.message("allow_share", **share_arguments("attaching"))), (
        trial.lab.said()
    )
    trial.forget_events()
    with trial.conductor.database() as tables:
        tables["ShareMapping"][f"{trial.server}.{SHARE}"]["status"] = status


def take_share(trial):
    """The server, which is off, is to lose its share."""
    give_share(trial, "detaching")


def use_share(trial):
    """The server runs, and has a share."""
    give_share(trial)
    _ask(trial, "start_instance", "powering-on")


def await_image(trial, image_id, **properties):
    """The record that nova-api makes for a snapshot or a backup of the server."""
    properties = {**properties, "instance_uuid": trial.server}
    trial.images.await_upload(image_id, properties=properties)


def add_backup(trial, image_id, **properties):
    """A backup of the server that was made before."""
    await_image(trial, image_id, image_type="backup", **properties)
    (trial.images.directory / image_id).write_bytes(b"old")


def stop(trial):
    trial.set(task_state="powering-off")
    assert trial.run(trial.message("stop_instance", clean_shutdown=False))
    trial.forget_events()


def lose_port(trial):
    """The server's port was deleted in Neutron, and the event was lost."""
    with trial.ledger.open() as content:
        content["ports"].clear()
        content["bound"].clear()


def stop_and_lose_port(trial):
    stop(trial)
    lose_port(trial)


def add_port(trial):
    """A port that the server may be given."""
    with trial.ledger.open() as content:
        content["ports"][trial.free_port] = ""


def pause_beside_port(trial):
    add_port(trial)
    pause(trial)


def attach_interface(trial, network="net-1", port=None):
    message = trial.message(
        "attach_interface", network_id=network, port_id=port, requested_ip=None, tag=None
    )
    assert trial.run(message), trial.lab.said()
    assert trial.records()["addresses"] == [2], trial.lab.said()
    trial.forget_events()


def attach_interface_and_pause(trial):
    attach_interface(trial)
    pause(trial)


def attach_port_and_stop(trial):
    add_port(trial)
    attach_interface(trial, None, "free port")
    stop(trial)


def pause(trial):
    _ask(trial, "pause_instance", "pausing")


def suspend(trial):
    _ask(trial, "suspend_instance", "suspending")


def soft_delete(trial):
    _ask(trial, "soft_delete_instance", "soft-deleting")


def rescue(trial):
    _ask(trial, "rescue_instance", "rescuing", **rescue_arguments(RESCUE))


def shelve(trial):
    """Shelved, and still here."""
    trial.host.configure("shelved_offload_time = -1")
    await_image(trial, SHELF)
    _ask(trial, "shelve_instance", "shelving", **shelve_arguments())


def offload(trial):
    """Shelved without a host; the scheduler has chosen this one again."""
    await_image(trial, SHELF)
    _ask(trial, "shelve_instance", "shelving", **shelve_arguments())
    # Small, and nothing is to be converted: that would be done at each of the kills.
    trial.images.add(SHELF, bytes(MIB))
    trial.allocate(trial.host.name)


def offload_with_volumes(trial):
    """The same, of a server whose disks are volumes: it has no snapshot."""
    _ask(trial, "shelve_offload_instance", "shelving_offloading", clean_shutdown=False)
    trial.allocate(trial.host.name)


def offer_serial_ports(trial):
    """Guests get serial ports on TCP, from a range of ten that starts with a round number."""
    first = 20000 + 10 * trial.number
    with open(trial.host.state / "nova.conf", "a") as file:
        file.write(f"[serial_console]\nenabled = true\nport_range = {first}:{first + 10}\n")


def _ask(trial, method, task_state, **arguments):
    trial.set(task_state=task_state)
    assert trial.run(trial.message(method, **arguments))
    trial.forget_events()
