"""What is refused before anybody is contacted."""

from __future__ import annotations

import pytest

from nova_lite import assembly
from nova_lite.conf import load
from nova_lite.engine.journal import Journal
from nova_lite.errors import InvalidConfiguration, JournalError
from tests.fakes.conf_file import read_conf


@pytest.mark.parametrize(
    ("group", "name", "value", "match"),
    [
        ("libvirt", "images_type", "lvm", r"images_type=lvm is not supported: use one of"),
        ("compute", "cpu_shared_set", "abc", r"cpu_shared_set: 'abc' is not a CPU"),
        ("compute", "cpu_dedicated_set", "2-1", r"cpu_dedicated_set"),
        ("DEFAULT", "reserved_huge_pages", "node:x,size:4,count:1", r"reserved_huge_pages"),
        ("upgrade_levels", "compute", "essex", r"\[upgrade_levels\]compute is 'essex'"),
    ],
)
def test_values_that_mean_nothing(tmp_path, group, name, value, match):
    """The option is named; no record of this host is made on the way."""
    with pytest.raises(InvalidConfiguration, match=match):
        assembly.check(read_conf(tmp_path, {group: {name: value}}))


def test_usual_values_pass(tmp_path):
    """As most clouds have them."""
    assembly.check(read_conf(tmp_path, {"compute": {"cpu_shared_set": "0-3,^1"}}))


@pytest.mark.parametrize("name", ["state_path", "instances_path"])
def test_paths_are_absolute(tmp_path, name):
    """The agent's working directory means nothing."""
    with pytest.raises(InvalidConfiguration, match=rf"\[DEFAULT\]{name} is 'var/nova'.*absolute"):
        load.check(read_conf(tmp_path, {"DEFAULT": {name: "var/nova", "my_ip": "127.0.0.1"}}))


def test_an_address_that_nobody_knows(tmp_path):
    """my_ip may be a name, but one that can be resolved; .invalid never can (RFC 2606)."""
    good = {"state_path": str(tmp_path), "my_ip": "127.0.0.1"}
    load.check(read_conf(tmp_path, {"DEFAULT": {**good, "my_ip": "localhost"}}))

    with pytest.raises(InvalidConfiguration, match=r"\[DEFAULT\]my_ip is 'nobody.invalid'"):
        load.check(read_conf(tmp_path, {"DEFAULT": {**good, "my_ip": "nobody.invalid"}}))


def test_a_state_path_that_cannot_be_written(tmp_path):
    """Found at start, not when the first message comes."""
    file = tmp_path / "file"
    file.touch()

    with pytest.raises(JournalError, match="state_path"):
        Journal(file / "journal").prepare()
