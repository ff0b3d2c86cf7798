"""The support matrix: which tests make up each of its cells.

``pytest $(python -m tests.cloud.support.matrix volume console)`` runs these cells on the cloud that
is there; without a name it is all of them. They hold for every release that ``NOVA_RELEASE`` of
``devstack/cloud up`` knows. ``doc/source/releases.rst`` has date and command of their last run.
"""

from __future__ import annotations

import sys

CELLS: dict[str, tuple[str, ...]] = {
    "join": (
        "test_host.py::test_the_service_is_up",
        "test_host.py::test_the_inventory_of_the_host",
        "test_host.py::test_the_traits_of_the_host",
        "test_host.py::test_a_restart_leaves_servers_alone",
        "test_releases.py::test_a_host_reports_what_its_control_plane_is",
    ),
    "boot": (
        "test_boot.py::test_config_drive_key_and_user_data",
        "test_boot.py::test_metadata_service_knows_the_guest",
        "test_boot.py::test_a_given_port_is_used_and_kept",
        "test_boot.py::test_the_story_of_a_boot",
        "test_boot.py::test_the_port_comes_up_by_its_event",
        "test_failures.py::test_a_broken_host_hands_on",
    ),
    "delete": (
        "test_delete.py::test_delete_leaves_nothing",
        "test_delete.py::test_delete_while_it_boots",
    ),
    "power": (
        "test_power.py::test_stop_and_start",
        "test_power.py::test_soft_reboot",
        "test_power.py::test_hard_reboot",
        "test_lifecycle.py::test_pause_and_unpause",
        "test_lifecycle.py::test_suspend_and_resume",
    ),
    "rebuild": ("test_rebuild.py::test_rebuild_with_all_that_can_change",),
    "rescue": ("test_rescue.py::test_rescue_and_unrescue",),
    "shelve": (
        "test_shelve.py::test_shelve_and_unshelve",
        "test_shelve.py::test_unshelve_on_another_host",
    ),
    "snapshot": ("test_snapshot.py::test_a_snapshot_of_a_running_server_boots",),
    "volume": (
        "test_volumes.py::test_a_running_guest_gets_a_disk_and_gives_it_back",
        "test_volumes.py::test_a_server_that_is_off_gets_a_disk_and_starts_with_it",
        "test_boot_volumes.py::test_disks_of_every_kind",
        "test_verbs_with_volumes.py::test_power",
    ),
    "console": (
        "test_console.py::test_console_log",
        "test_console.py::test_vnc_through_the_proxy",
    ),
    "notifications": ("test_notifications.py::test_the_life_of_a_server",),
    # Stock nova-compute of the same release on the other host, or before on the same one.
    "mixed": (
        "test_cold_moves.py::test_a_running_server_is_migrated_and_confirmed",
        "test_live_migration.py::test_a_running_server_moves",
        "test_volume_takeover.py::test_there_and_back",
        "test_releases.py::test_stock_there_and_back",
    ),
    "restart": ("test_releases.py::test_control_services_start_beside_this_host",),
    # Changes the release of the cloud: only where NOVA_LITE_TEST_UPGRADE says to which.
    "upgrade": ("test_releases.py::test_an_upgrade_under_running_servers",),
}


def names(*cells: str) -> list[str]:
    """Of these cells, or of all, as pytest takes them.

    :raises KeyError: there is no such cell
    """
    return [f"tests/cloud/{test}" for cell in cells or CELLS for test in CELLS[cell]]


if __name__ == "__main__":
    print(*names(*sys.argv[1:]))
