"""A trial is made ready for a scenario, runs it undisturbed, and its ends are compared."""

from __future__ import annotations

from tests.functional import prepare
from tests.functional.messages import NEW_VOLUME, SHELF, SNAPSHOT, VOLUME, VOLUME_KEY
from tests.functional.scenarios import GONE, RESTARTED, RUNS, SHARES

PREPARE = {
    "stopped": prepare.stop,
    "booted, port deleted": prepare.lose_port,
    "stopped, port deleted": prepare.stop_and_lose_port,
    "paused": prepare.pause,
    "paused, free port": prepare.pause_beside_port,
    "booted, free port": prepare.add_port,
    "booted, two interfaces": prepare.attach_interface,
    "stopped, two interfaces": prepare.attach_port_and_stop,
    "paused, two interfaces": prepare.attach_interface_and_pause,
    "suspended": prepare.suspend,
    "rescued": prepare.rescue,
    "shelved": prepare.shelve,
    "soft-deleted": prepare.soft_delete,
    "offloaded": prepare.offload,
    "offloaded with volumes": prepare.offload_with_volumes,
    "booted and kept": lambda trial: trial.host.configure("shelved_offload_time = -1"),
    "booted, impatient": lambda trial: trial.host.configure("shutdown_timeout = 0"),
}
PREPARE_VOLUME = {
    "reserved": prepare.reserve_volume,
    "encrypted": prepare.reserve_encrypted_volume,
    "encrypted, attached": prepare.attach_encrypted_volume,
    "attached": prepare.attach_volume,
    "grown": prepare.grow_volume,
    "moving": prepare.migrate_volume,
    "disks": prepare.ask_for_volumes,
}
PREPARE_SHARE = {
    "asked for": prepare.ask_for_share,
    "had": prepare.give_share,
    "used": prepare.use_share,
    "to lose": prepare.take_share,
}


def prepared(lab, scenario):
    """A trial whose kept state is the scenario's beginning."""
    trial = lab.trial(polite=scenario.polite)
    if scenario.serial:
        prepare.offer_serial_ports(trial)
    if scenario.start in ("booted from volumes", "offloaded with volumes"):
        prepare.boot_from_volumes(trial)
    elif scenario.start != "new":
        prepare.boot(trial)
    for what, known in (
        (scenario.start, PREPARE),
        (scenario.volume, PREPARE_VOLUME),
        (scenario.share, PREPARE_SHARE),
    ):
        if what in known:
            known[what](trial)
    if scenario.arguments.get("image_id") == SNAPSHOT:
        for number in range(3):
            prepare.add_backup(trial, f"{number}{SNAPSHOT[1:]}", backup_type="daily")
        prepare.await_image(trial, SNAPSHOT, image_type="backup", backup_type="daily")
    if scenario.arguments.get("image_id") == SHELF:
        prepare.await_image(trial, SHELF)
    trial.set(task_state=scenario.task_state)
    trial.keep()
    trial.restore()
    return trial


def undisturbed(trial, scenario):
    """The boundaries passed, and how all looks in the end."""
    record = trial.lab.directory / "boundaries"
    record.unlink(missing_ok=True)
    message = trial.message(scenario.method, **scenario.arguments)
    assert trial.run(message, record=str(record), **scenario.how)
    wanted = trial.look()
    ends = wanted["vm_state"], wanted["domain"]
    assert ends == (scenario.vm_state, scenario.domain), trial.lab.said()
    assert wanted["journal"] == []
    # The mappings of a failed build still tell how this host reached the volumes, as stock's do.
    assert wanted["vm_state"] in ("building", "error") or agree(wanted["volumes"]), wanted
    if scenario.volume == "grown":
        assert wanted["volumes"]["sizes"] == [2]
    if scenario.volume == "moving":
        place = VOLUME if scenario.how else NEW_VOLUME
        assert wanted["volumes"]["places"] == [(place, True)] * 2, trial.lab.said()
        assert wanted["volumes"]["cinder"] == [("in-use", "attached")], wanted["volumes"]
    if scenario.encrypted:
        assert wanted["volumes"]["secrets"] == 1
        ledgers = [trial.directory / f"{name}.json" for name in ("conductor", "cloud")]
        assert not any(VOLUME_KEY in path.read_text() for path in [trial.lab.log, *ledgers])
    if scenario.arguments.get("image_id") == SNAPSHOT:
        made = wanted["images"].get(SNAPSHOT)
        assert (made is None) if scenario.how else made[1], wanted["images"]
        kept = [name for name in wanted["images"] if name.endswith(SNAPSHOT[1:])]
        assert len(kept) == (2 if scenario.method == "backup_instance" else 3 + bool(made))
    if scenario.start.endswith("port deleted"):
        assert wanted["taps"] == 0, trial.lab.said()
        assert wanted["deleted"] or sum(wanted["addresses"]) == 0, trial.lab.said()
    if scenario.share:
        assert wanted["shares"] == SHARES[scenario.method], wanted["shares"]
    if wanted["deleted"]:
        assert parts(without_images(wanted), GONE) == GONE
    names = record.read_text().splitlines()
    assert len(names) > 6 and len(set(names)) == len(names)
    return names, wanted


def agree(volumes):
    """Whether Cinder, Nova, the host and the guest, now and at its next start, know of as many."""
    used = volumes["attachments"].count("attached")
    known = [
        volumes["cinder"].count(("in-use", "attached")),
        sum(connected for _, connected in volumes["mapped"]),
        volumes["connected"],
        *map(len, volumes["disks"]),
    ]
    return known == [used] * len(known)


def without_images(seen):
    """The same look without the image cache."""
    return {**seen, "files": [name for name in seen["files"] if not name.startswith("_base/")]}


def without_power(seen, wanted, scenario):
    """A look after a power failure as it would be without what such a failure explains.

    For a guest that is off nothing is plugged, connected or mounted until it starts. One that ran
    was started again, by a reboot that the host asked of itself. And what one of the
    ends in ``scenario.dark`` names may be as it says.
    """
    seen = dict(seen)
    if seen["domain"] != RUNS:
        if seen["taps"] < wanted["taps"]:  # an interface that was attached since is plugged
            seen["taps"] = wanted["taps"]
        for kind, name in (("volumes", "connected"), ("shares", "mounted")):
            seen[kind] = {**seen[kind], name: seen[kind][name] or wanted[kind][name]}
    if RESTARTED[0] not in wanted["events"]:
        seen["events"] = seen["events"].difference(RESTARTED)
    for end in scenario.dark:
        if parts(seen, end) == end:
            return {**seen, **{name: wanted[name] for name in end}}
    return seen


def parts(seen, wanted):
    """What of ``seen`` is to be compared with ``wanted``."""
    return {key: seen[key] for key in wanted}
