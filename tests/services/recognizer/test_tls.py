"""TLS on loopback with certificates made here: mutual, renewed while serving, and every broken file."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asr.errors import ConfigError
from services.recognizer.access import Access, AccessConfig
from services.recognizer.keys import KeyRing, new_key
from services.recognizer.tls import Certificates, TlsConfig, check_transport, tls_config
from tests.services.loopback import running, transcript

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


class Authority:
    """A certificate authority that lives as long as the test."""

    def __init__(self, folder: Path, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.folder = folder
        self.file = folder / f"{name}.pem"
        self.certificate = self._signed(self.name, self.key.public_key(), NOW - DAY, NOW + DAY, is_authority=True)
        self.file.write_bytes(pem(self.certificate))

    def _signed(self, subject, public, start, end, *, is_authority=False) -> x509.Certificate:
        local = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        builder = x509.CertificateBuilder(self.name, subject, public, x509.random_serial_number(), start, end)
        builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        return builder.add_extension(local, critical=False).sign(self.key, hashes.SHA256())

    def issue(self, name: str, start: datetime.datetime = NOW - DAY, end: datetime.datetime = NOW + DAY) -> TlsConfig:
        """Writes a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        config = TlsConfig(certificate=self.folder / f"{name}.crt", key=self.folder / f"{name}.key")
        config.certificate.write_bytes(pem(self._signed(subject, key.public_key(), start, end)))
        config.key.write_bytes(private(key))
        config.key.chmod(0o600)
        return config


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def private(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    hidden = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "root")


def channel(address: str, authority: Authority, client: TlsConfig | None = None) -> grpc.aio.Channel:
    own = (client.key.read_bytes(), client.certificate.read_bytes()) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes(), *own)
    options = (("grpc.use_local_subchannel_pool", 1),)  # a handshake for each channel
    return grpc.aio.secure_channel(address, credentials, options=options)


async def understood(address: str, authority: Authority, client: TlsConfig | None = None) -> str:
    async with channel(address, authority, client) as each:
        return await transcript(each, timeout=20)


def served_serial(address: str, authority: Authority) -> int:
    host, _, port = address.rpartition(":")
    presented = ssl.get_server_certificate((host, int(port)), ca_certs=str(authority.file), timeout=20)
    return x509.load_pem_x509_certificate(presented.encode()).serial_number


def serial(config: TlsConfig) -> int:
    return x509.load_pem_x509_certificate(config.certificate.read_bytes()).serial_number


async def test_speech_over_tls_and_no_plain_text_beside_it(authority: Authority) -> None:
    certificates = Certificates(authority.issue("server"))
    async with running(credentials=certificates.credentials()) as address:
        assert await understood(address, authority) == "one two"
        async with grpc.aio.insecure_channel(address) as plain:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await transcript(plain, timeout=20)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert abs(certificates.expires - (NOW + DAY)) < datetime.timedelta(seconds=2)


async def test_mutual_tls_wants_a_certificate_of_its_authority(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = authority.issue("server")
    config = TlsConfig(certificate=server.certificate, key=server.key, client_ca=authority.file)
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "stranger").issue("client")
    new_key(tmp_path / "keys", "phones")
    guard = Access(AccessConfig(), KeyRing(tmp_path / "keys"))
    async with running([guard], Certificates(config).credentials()) as address:
        for client in (None, stranger):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await understood(address, authority, client)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # the connection stands, the key is missing
            await understood(address, authority, authority.issue("car-7"))
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    (line,) = [record for record in caplog.records if record.name == "dengar.audit"]
    assert line.certificate == "car-7"


async def test_a_renewed_certificate_is_used_without_a_restart(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, broken = authority.issue("server"), []
    before = serial(config)
    async with running(credentials=Certificates(config, lambda: broken.append(1)).credentials()) as address:
        async with channel(address, authority) as old:
            assert await transcript(old) == "one two"
            assert await in_thread(served_serial, address, authority) == before
            (tmp_path / "new").mkdir()
            authority.folder = tmp_path / "new"
            renewed = authority.issue("server", end=NOW + 2 * DAY)
            shutil.copy(renewed.certificate, config.certificate)  # the certificate first: for a moment nothing fits
            assert await in_thread(served_serial, address, authority) == before
            assert broken == [1]
            os.replace(renewed.key, config.key)
            assert await in_thread(served_serial, address, authority) == serial(config) != before
            assert await transcript(old) == "one two"  # the old connection goes on
        config.key.write_text("damage")
        assert await understood(address, authority) == "one two"
        assert await understood(address, authority) == "one two"
    assert broken == [1, 1]
    assert sum("old certificate stays" in record.getMessage() for record in caplog.records) == 2


async def in_thread(function: Callable[..., int], *arguments: object) -> int:
    import asyncio

    return await asyncio.to_thread(function, *arguments)


def ruin(name: str, authority: Authority, config: TlsConfig) -> TlsConfig:
    """The configuration with one thing wrong."""
    if name == "no certificate":
        config.certificate.unlink()
    elif name == "no key":
        config.key.unlink()
    elif name == "garbage":
        config.certificate.write_text("hello")
    elif name == "key garbage":
        config.key.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    elif name == "passphrase":
        config.key.write_bytes(private(ec.generate_private_key(ec.SECP256R1()), b"secret"))
    elif name == "another key":
        config.key.write_bytes(private(ec.generate_private_key(ec.SECP256R1())))
    elif name == "expired":
        return authority.issue("late", NOW - 2 * DAY, NOW - DAY)
    elif name == "not yet":
        return authority.issue("early", NOW + DAY, NOW + 2 * DAY)
    elif name == "client ca":
        return TlsConfig(certificate=config.certificate, key=config.key, client_ca=config.key)
    return config


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no certificate", "cannot be read: No such file"),
        ("no key", "cannot be read: No such file"),
        ("garbage", "holds no certificate"),
        ("key garbage", "holds no private key"),
        ("passphrase", "has a passphrase"),
        ("another key", "is not the key of the certificate"),
        ("expired", "expired on"),
        ("not yet", "valid only from"),
        ("client ca", "holds no certificate"),
    ],
)
def test_unusable_files_are_one_sentence(authority: Authority, name: str, says: str) -> None:
    config = ruin(name, authority, authority.issue("server"))
    with pytest.raises(ConfigError, match=says) as caught:
        Certificates(config)
    assert "\n" not in str(caught.value)


def test_a_key_that_others_can_read_is_told(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    config = authority.issue("server")
    config.key.chmod(0o644)
    Certificates(config)
    assert "chmod 600" in caplog.text


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]", "unix:/tmp/socket"])
def test_plain_text_on_this_machine_needs_no_leave(host: str) -> None:
    check_transport(host, None, allow_plaintext=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "10.1.2.3", "example.org", "2001:db8::1"])
def test_plain_text_elsewhere_is_refused_unless_allowed(host: str, authority: Authority) -> None:
    with pytest.raises(ConfigError, match="--allow-plaintext"):
        check_transport(host, None, allow_plaintext=False)
    check_transport(host, None, allow_plaintext=True)
    check_transport(host, authority.issue("server"), allow_plaintext=False)


def test_options_make_sense_together() -> None:
    assert tls_config(None, None, None) is None
    for some in (("a", None, None), (None, "b", None), (None, None, "c")):
        with pytest.raises(ConfigError, match="both"):
            tls_config(*some)
    whole = tls_config("a", "b", "c")
    assert whole is not None
    assert whole.client_ca == Path("c")
    with contextlib.suppress(AttributeError):
        whole.key = Path("d")  # type: ignore[misc]
        raise AssertionError("not frozen")
