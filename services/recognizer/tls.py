"""TLS for the server: certificates checked when they are loaded, and loaded again when their files change.

gRPC asks for the certificate at each handshake, so a renewed one is used from the next connection on, without a
restart. Files that are broken, or half replaced, leave the old certificate in place.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from asr.errors import ConfigError
from services.recognizer.interceptors import is_local

log = logging.getLogger("dengar.tls")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TlsConfig:
    """Where a server's certificate is.

    Attributes:
        certificate: PEM file, the server's certificate first, then those between it and the root.
        key: PEM file of its private key, without a passphrase.
        client_ca: PEM file of the authorities whose certificates clients must have (mutual TLS), or None.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


def tls_config(certificate: str | None, key: str | None, client_ca: str | None) -> TlsConfig | None:
    """The configuration from options of which none, the first two or all are given.

    Raises:
        ConfigError: only some of what TLS needs is given.
    """
    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise ConfigError("TLS needs both a certificate and its key: --tls-certificate FILE --tls-key FILE")
    return TlsConfig(certificate=Path(certificate), key=Path(key), client_ca=Path(client_ca) if client_ca else None)


def check_transport(host: str, tls: TlsConfig | None, *, allow_plaintext: bool, option: str = "--host") -> None:
    """Plain text stays on this machine unless somebody asks for more.

    Raises:
        ConfigError: `host` is reached from elsewhere, there is no TLS, and plain text was not allowed.
    """
    if tls is None and not allow_plaintext and not is_local(host):
        raise ConfigError(
            f"{option} {host} is reached from other machines and there is no TLS; give --tls-certificate and "
            "--tls-key, or --allow-plaintext if something in front of this server encrypts"
        )


class Certificates:
    """A certificate with its key and, for mutual TLS, the clients' authorities, always as the files have them.

    Args:
        config: the files.
        on_broken: called once for each change of the files that leaves them unusable.

    Attributes:
        expires: when the certificate in use ends.

    Raises:
        ConfigError: the files cannot be used.
    """

    def __init__(self, config: TlsConfig, on_broken: Callable[[], None] = lambda: None) -> None:
        self._config = config
        self._on_broken = on_broken
        self._lock = threading.Lock()
        self._signature = _signature(config)
        self.expires, self._current = _load(config)

    def expiry_s(self) -> float:
        """When the certificate in use ends, in seconds since 1970."""
        return self.expires.timestamp()

    def credentials(self) -> grpc.ServerCredentials:
        """For `add_secure_port`."""
        mutual = self._config.client_ca is not None
        return grpc.dynamic_ssl_server_credentials(self._current, self.refresh, require_client_authentication=mutual)

    def refresh(self) -> Any:
        """Loads changed files; returns gRPC's configuration, or None if it stays as it was."""
        with self._lock:
            signature = _signature(self._config)
            if signature == self._signature:
                return None
            self._signature = signature
            try:
                self.expires, self._current = _load(self._config)
            except ConfigError as error:
                log.error("the TLS files have changed and cannot be used, the old certificate stays: %s", error)
                self._on_broken()
                return None
            log.info("new TLS certificate, valid until %s", self.expires.isoformat())
            return self._current


def _load(config: TlsConfig) -> tuple[datetime.datetime, Any]:
    chain_pem, key_pem = _read(config.certificate), _read(config.key)
    chain = _certificates(config.certificate, chain_pem)
    leaf = chain[0]
    if _private_key(config.key, key_pem) != _public(leaf.public_key()):
        raise ConfigError(f"{config.key} is not the key of the certificate in {config.certificate}")
    _check_dates(config.certificate, leaf)
    authorities_pem = None
    if config.client_ca is not None:
        authorities_pem = _read(config.client_ca)
        for authority in _certificates(config.client_ca, authorities_pem):
            _check_dates(config.client_ca, authority)
    with contextlib.suppress(OSError):
        if config.key.stat().st_mode & 0o077:
            log.warning("%s can be read by others than its owner; chmod 600 it", config.key)
    configuration = grpc.ssl_server_certificate_configuration([(key_pem, chain_pem)], authorities_pem)
    return leaf.not_valid_after_utc, configuration


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the TLS file {path} cannot be read: {error.strerror or error}") from error


def _certificates(path: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ConfigError(f"{path} holds no certificate in PEM form") from error


def _private_key(path: Path, pem: bytes) -> bytes:
    """The public half of the key in `path`."""
    try:
        return _public(serialization.load_pem_private_key(pem, password=None).public_key())
    except TypeError as error:
        raise ConfigError(f"the key in {path} has a passphrase; store it without one, readable by its owner") from error
    except Exception as error:  # cryptography's own kinds differ from version to version
        raise ConfigError(f"{path} holds no private key in PEM form") from error


def _public(key: Any) -> bytes:
    return bytes(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))


def _check_dates(path: Path, certificate: x509.Certificate) -> None:
    now = datetime.datetime.now(datetime.UTC)
    if certificate.not_valid_after_utc <= now:
        raise ConfigError(f"the certificate in {path} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if certificate.not_valid_before_utc > now:
        raise ConfigError(
            f"the certificate in {path} is valid only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on"
        )


def _signature(config: TlsConfig) -> tuple[tuple[int, int, int] | None, ...]:
    return tuple(
        file_signature(path) for path in (config.certificate, config.key, config.client_ca) if path is not None
    )


def file_signature(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file does: time, size and inode; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
