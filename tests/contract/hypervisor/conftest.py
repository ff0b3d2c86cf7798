"""The same private libvirtd as in tests/functional, for the contract's real side."""

from __future__ import annotations

from tests.functional.conftest import (
    libvirt_uri,
    linked_libvirtds,
    private_libvirtd,
    second_libvirtd,
)

__all__ = ["libvirt_uri", "linked_libvirtds", "private_libvirtd", "second_libvirtd"]
