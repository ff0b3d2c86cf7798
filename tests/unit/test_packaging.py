"""What setup.cfg and the sample files promise."""

from __future__ import annotations

import configparser
import importlib
import re
import sys
from pathlib import Path

import pytest
from oslo_config import cfg, generator

from nova_lite import conf as options

REPO = Path(__file__).parents[2]


def entry_points() -> list[str]:
    setup = configparser.ConfigParser()
    setup.read(REPO / "setup.cfg")
    values = setup["entry_points"].values()
    return [line.partition("=")[2].strip() for text in values for line in text.split("\n") if line]


@pytest.mark.parametrize("target", entry_points())
def test_entry_points_lead_somewhere(target):
    """Every entry point names something that exists and can be called."""
    module, _, attribute = target.partition(":")

    assert callable(getattr(importlib.import_module(module), attribute))


def test_sample_configuration_can_be_made(tmp_path):
    """oslo-config-generator takes every option, and each one has a help text."""
    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    target = tmp_path / "nova.conf.sample"
    source = REPO / "etc/nova-lite/nova-lite-config-generator.conf"
    conf(["--config-file", str(source), "--output-file", str(target)])
    generator.generate(conf)

    assert "[nova_lite]" in target.read_text()
    assert [] == [opt.name for _, opts in options.list_opts() for opt in opts if not opt.help]


def test_options_are_named_once():
    """No option is declared twice in one group."""
    for group, opts in options.list_opts():
        names = [opt.dest for opt in opts]

        assert sorted(set(names)) == sorted(names), group


def test_every_imported_library_is_required():
    """requirements.txt has every library that nova_lite imports."""
    required = {
        re.split(r"[<>=~\[ ]", line)[0].lower().replace(".", "_").replace("-", "_")
        for line in (REPO / "requirements.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    names = {"yaml": "pyyaml", "openstack": "openstacksdk", "libvirt": "libvirt_python"}
    names |= {"libvirtmod": "libvirt_python", "libvirt_qemu": "libvirt_python"}
    imported = set()
    for path in (REPO / "nova_lite").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        imported |= set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))
    missing = {
        name
        for name in imported - sys.stdlib_module_names - {"nova_lite", "__future__"}
        if names.get(name, name) not in required
    }

    assert set() == missing
