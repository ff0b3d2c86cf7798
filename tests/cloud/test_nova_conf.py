"""Options of nova.conf, as users and the scheduler see them."""

from __future__ import annotations

import json

import pytest

from tests.cloud.support.devcloud import LITE, wait_for

pytestmark = [pytest.mark.cloud, pytest.mark.lite_only]


def since(path, start):
    with path.open(errors="replace") as file:
        file.seek(start)
        return file.read()


@pytest.mark.core
def test_options_that_are_not_read_are_told(cloud, node):
    """At start in the log, and by the preflight; what costs capacity is a failure there."""
    files = [str(cloud.state / "etc" / node / name) for name in ("nova.conf", "nova.local.conf")]
    log = cloud.agent_log(node)
    start = log.stat().st_size
    with cloud.options(node, "[libvirt]\ninject_key = true"):
        line = wait_for(
            "the line of the log",
            lambda: next(
                (row for row in since(log, start).splitlines() if "inject_key" in row), None
            ),
            60,
        )
        assert "WARNING" in line and "use config drives" in line

        said = cloud.on(
            node, str(cloud.agent_environment(LITE) / "nova-lite-status"), "check",
            "--format", "json", "--config-file", files[0], "--config-file", files[1], check=False,
        )  # fmt: skip

    rows = {row["name"]: row for row in json.loads(said)["checks"]}
    assert rows["[libvirt]inject_key"]["status"] == "warning"
    assert files[1] in rows["[libvirt]inject_key"]["message"]


def test_access_addresses_and_image_types(cloud, api, node, boot):
    """A new server gets its access address of the named network; raw images are not offered."""
    options = (
        "[DEFAULT]\ndefault_access_ip_network_name = private\n"
        "[compute]\nimage_type_exclude_list = iso\n"
    )

    def traits():
        path = f"/resource_providers/{cloud.provider(node)}/traits"
        return api.placement_get(path)["traits"]

    assert "COMPUTE_IMAGE_TYPE_ISO" in traits()
    with cloud.options(node, options):
        wait_for("the trait to go", lambda: "COMPUTE_IMAGE_TYPE_ISO" not in traits(), 60)
        server = boot()
    wait_for("the trait to come", lambda: "COMPUTE_IMAGE_TYPE_ISO" in traits(), 60)

    (address,) = {
        entry["addr"] for entry in server["addresses"]["private"] if entry["version"] == 4
    }
    assert server["accessIPv4"] == address


def test_a_hard_reboot_waits_for_the_wiring(cloud, api, node, boot):
    """The port is plugged anew, Neutron reports it, and the guest has its address again."""
    server = boot(key_name="nova-lite")
    api.wait_console(server["id"], "TINY: ready")
    with cloud.options(
        node, "[workarounds]\nwait_for_vif_plugged_event_during_hard_reboot = normal"
    ):
        for action, body, status in (
            ("reboot", {"type": "HARD"}, "ACTIVE"),
            ("os-stop", None, "SHUTOFF"),
            ("os-start", None, "ACTIVE"),
        ):
            api.act(server["id"], action, body)
            api.wait_idle(server["id"])
            assert api.wait_status(server["id"], status, 120)["status"] == status
        api.wait_console(server["id"], "TINY: ready")

    (port,) = api.ports(server["id"])
    assert port["status"] == "ACTIVE"


@pytest.mark.timeout(600)
def test_the_scheduler_forgets_what_stock_told_it(cloud, api, node, boot):
    """SameHostFilter judges by the scheduler's own list of the servers of a host.

    Stock nova-compute has told it one; the server that a hint asks for was built after the switch.
    """
    cloud.switch_agent(node, "nova-compute")
    try:
        boot()
    finally:
        cloud.switch_agent(node, LITE)
    first = boot()

    second = boot(hints={"same_host": [first["id"]]})

    assert second["OS-EXT-SRV-ATTR:host"] == node
