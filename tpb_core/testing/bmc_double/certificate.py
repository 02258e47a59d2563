"""A certificate of the test's own for `localhost` and 127.0.0.1, as management controllers have them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def what_is_missing() -> str | None:
    """What has to be installed before certificates can be made; None where they can."""
    return None if shutil.which("openssl") else "not installed: openssl (.ci/install-debian-packages)"


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """(certificate, key) in `folder`, valid for two days; made once there."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    if not certificate.is_file():
        subprocess.run(
            [
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost",
                "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            ],
            check=True, capture_output=True, timeout=30,
        )  # fmt: skip
    return certificate, key
