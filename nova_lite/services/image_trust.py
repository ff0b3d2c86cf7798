"""Servers whose image is to be verified by certificates that their user trusts."""

from __future__ import annotations

from nova_lite.errors import CertificatesUnsupported
from nova_lite.services.work import Work


def refuse_certificates(work: Work) -> None:
    """Refuse to use an image that this agent would have to verify first.

    Asked wherever an image is read, and before anything is done for a server that starts from one.

    :raises CertificatesUnsupported: the server has trusted_image_certificates
    """
    trusted = work.instance.get("trusted_certs")
    if trusted and trusted["ids"]:
        raise CertificatesUnsupported(
            f"Server {work.uuid} has trusted_image_certificates, but nova_lite on host "
            f"{work.tools.host} does not verify images: leave them out, or use a host that runs "
            "nova-compute"
        )
