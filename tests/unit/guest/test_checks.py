"""Refusals before anything is made, and the defaults kept with a server."""

from dataclasses import replace

import pytest

from nova_lite import errors
from nova_lite.guest import checks, policy
from nova_lite.guest.defaults import registered_details
from nova_lite.guest.machine import plan_machine
from nova_lite.guest.properties import Properties
from nova_lite.model.cpuset import format_cpus, parse_cpus
from tests.fakes.servers import CAPABILITIES, FACTS, QEMU, a_plan, a_server


def with_image(**changes):
    server = a_server()
    return replace(server, image=replace(server.image, **changes))


def test_an_ordinary_server_is_fine():
    """Nothing is said about a flavor that is large enough."""
    assert checks.validate(a_server()) is None


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        ({"status": "queued"}, errors.ImageUnacceptable, "queued"),
        ({"min_ram": 512}, errors.FlavorMemoryTooSmall, "128 MiB.*512 MiB"),
        ({"min_disk": 2}, errors.FlavorDiskTooSmall, "1 GiB.*2 GiB"),
        ({"size": 1024**3 + 1}, errors.FlavorDiskTooSmall, "1073741825 bytes"),
    ],
)
def test_image_and_flavor_must_fit(image, error, words):
    """The message has both sizes."""
    with pytest.raises(error, match=words):
        checks.validate(with_image(**image))


def test_no_disk_limit_for_flavors_without_root_disk_and_volumes():
    """root_gb=0 is as large as the image; a volume is not the flavor's disk."""
    big = with_image(min_disk=50, size=9 * 1024**3)
    flavor = replace(big.flavor, root_gb=0)

    checks.validate(replace(big, flavor=flavor))
    checks.validate(replace(big, image=replace(big.image, id=None)))


@pytest.mark.parametrize(
    ("image", "specs", "words"),
    [
        ({}, {"resources:VGPU": "1"}, "virtual GPUs"),
        ({}, {"resources1:VGPU": "1"}, "virtual GPUs"),
        ({}, {"pci_passthrough:alias": "a:1"}, "PCI passthrough"),
        ({}, {"accel:device_profile": "p"}, "accelerators"),
        ({"hw_mem_encryption": "true"}, {}, "memory encryption"),
        ({}, {"hw:mem_encryption_model": "amd-sev"}, "memory encryption"),
        ({}, {"hw:ephemeral_encryption": "true"}, "ephemeral_encryption"),
        ({}, {"hw:tpm_version": "2.0"}, "swtpm_enabled"),
    ],
)
def test_features_of_other_hosts(image, specs, words):
    """They are refused before anything is made, by the property's name."""
    with pytest.raises(errors.UnsupportedByHost, match=words):
        checks.validate(a_server(image, specs))


def details(server, host=QEMU):
    board = plan_machine(Properties(server), host, FACTS, CAPABILITIES)
    return registered_details(server, a_plan(server, policy=host), board, host)


def test_registered_details_are_the_seven_of_stock():
    """The same keys and values as stock Nova saved for such a server in the recorded messages."""
    host = replace(QEMU, machine_types={"x86_64": "pc-q35-7.2"})

    assert details(a_server(), host) == {
        "image_hw_machine_type": "pc-q35-7.2",
        "image_hw_cdrom_bus": "sata",
        "image_hw_disk_bus": "virtio",
        "image_hw_input_bus": "usb",
        "image_hw_pointer_model": "usbtablet",
        "image_hw_video_model": "virtio",
        "image_hw_vif_model": "virtio",
    }


def test_what_the_image_says_is_not_registered_again():
    """Only defaults are added."""
    found = details(a_server({"hw_machine_type": "q35", "hw_disk_bus": "scsi"}))

    assert "image_hw_machine_type" not in found
    assert "image_hw_disk_bus" not in found
    assert found["image_hw_cdrom_bus"] == "sata"


def test_registered_details_keep_the_guest_when_defaults_change():
    """With the details as image properties, a new machine type default changes nothing."""
    kept = {key.removeprefix("image_"): value for key, value in details(a_server()).items()}
    newer = replace(QEMU, machine_types={"x86_64": "q35"})

    assert details(a_server(kept), newer) == {}
    assert a_plan(a_server(kept), policy=newer).cdrom_bus == "ide"


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0-3,^2,7", {0, 1, 3, 7}), (" 1 ,, 2", {1, 2}), ("0-7,^4-7", {0, 1, 2, 3}), ("^1", set())],
)
def test_cpu_lists(text, cpus):
    """Numbers, ranges and exclusions, and back."""
    assert parse_cpus(text) == cpus
    assert parse_cpus(format_cpus(cpus)) == cpus


@pytest.mark.parametrize("text", ["a", "3-1", "1-", "-1", "1-2-3"])
def test_invalid_cpu_lists(text):
    """What is no CPU list is refused."""
    with pytest.raises(ValueError):
        parse_cpus(text)


@pytest.mark.parametrize(
    ("read", "value", "words"),
    [
        (policy.machine_types, ["q35"], "ARCH=MACHINE"),
        (policy.cache_modes, ["file=fast"], "writethrough"),
        (lambda text: policy.cpu_set("cpu_shared_set", text), "x", "cpu_shared_set"),
        (lambda text: policy.cpu_set("cpu_shared_set", text), "1,^1", "names no CPU"),
    ],
)
def test_invalid_configuration(read, value, words):
    """The message names option and form."""
    with pytest.raises(errors.InvalidConfiguration, match=words):
        read(value)
