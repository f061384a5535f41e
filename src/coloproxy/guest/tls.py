"""The connections between two hosts under TLS 1.3: each has a key of its own and trusts one certificate, the other's.

That between the agents is ours, that between the QEMUs is QEMU's, which has the same keys.
"""

import os
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

from coloproxy.errors import ColoproxyError

RECORD = 1 << 14  # bytes that one record carries at most (RFC 8446, 5.1)
WRITE = 1 << 17  # bytes handed over in one go
DAYS = 3650
CURVE = "ec_paramgen_curve:prime256v1"
ENDS = "server", "client"
VERSIONS = "NORMAL:-VERS-ALL:+VERS-TLS1.3"  # a priority string of GnuTLS, QEMU's library


def make_keys(folder: Path, hosts: list[str]) -> list[Path]:
    """A key and a certificate for each host; the files. Raises ColoproxyError if they cannot be made, or are there."""
    made = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for host in hosts:
            key, certificate = folder / f"{host}.key", folder / f"{host}.crt"
            if key.exists() or certificate.exists():
                raise ColoproxyError(f"{key} is there already; remove it for new ones, on both hosts.")
            os.close(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", CURVE, "-nodes", "-days", str(DAYS),
                       "-subj", f"/CN={host}", "-keyout", str(key), "-out", str(certificate)]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ColoproxyError(f"openssl makes no key: {done.stderr.strip().splitlines()[-1]}.")
            made += [key, certificate]
    except OSError as error:
        raise ColoproxyError(f"keys in {folder}: {error.strerror}; is openssl installed?") from None
    return made


def context(folder: Path, host: str, other: str, server: bool) -> ssl.SSLContext:
    """For a host's end of the connection. Raises ColoproxyError if a file is missing, or is none."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False  # the certificate itself is known, whatever name it has
    made.verify_mode = ssl.CERT_REQUIRED
    try:
        made.load_cert_chain(folder / f"{host}.crt", folder / f"{host}.key")
        made.load_verify_locations(folder / f"{other}.crt")
    except (OSError, ssl.SSLError) as error:
        raise ColoproxyError(
            f"keys in {folder}: {error.strerror or error}; {host}.key, {host}.crt and {other}.crt must be there"
            " (coloproxy guest keys makes them)."
        ) from None
    return made


def for_qemu(folder: Path, host: str, other: str, place: Path) -> list[str]:
    """QEMU's arguments for a host's end of connections, as `server` and as `client`: QEMU wants to find the keys of
    context() under names of its own, in a folder that is made in `place`. Raises ColoproxyError if it cannot be.

    No sanity-check: it asks that who signs be another than who is signed for, and here each signs for itself.
    """
    names = {"ca-cert": f"{other}.crt"}
    for end in ENDS:
        names |= {f"{end}-cert": f"{host}.crt", f"{end}-key": f"{host}.key"}
    shown = place / "tls"
    try:
        shown.mkdir(exist_ok=True)
        for name, key in names.items():
            link = shown / f"{name}.pem"
            link.unlink(missing_ok=True)
            link.symlink_to((folder / key).resolve())
    except OSError as error:
        raise ColoproxyError(f"folder {shown}: {error.strerror}; it is for links to the keys.") from None
    arguments = []
    for end in ENDS:
        arguments += ["-object", f"tls-creds-x509,id={end},dir={shown},endpoint={end},verify-peer=on,sanity-check=off,"
                                 f"priority={VERSIONS}"]  # fmt: skip
    return arguments


class TlsSocket:
    """A connection that does not wait, with what ports need of a socket: would it block, it raises BlockingIOError."""

    family = socket.AF_INET

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server: bool) -> None:
        self._sock = context.wrap_socket(sock, server_side=server, do_handshake_on_connect=False)

    def shake_hands(self) -> bool:
        """Whether both have shown who they are; otherwise more must be heard first. Raises OSError if one is wrong."""
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def pending(self) -> int:
        """Bytes that have come and been deciphered: the kernel does not say that they are there."""
        return self._sock.pending()

    def recv_into(self, buffer: memoryview) -> int:
        """As much as there is. 0: the other has ended."""
        size = 0
        while len(buffer) - size >= RECORD or (size == 0 and len(buffer)):
            try:
                count = self._sock.recv_into(buffer[size:])
            except ssl.SSLWantReadError:
                break
            if count == 0:
                return size
            size += count
        if not size:
            raise BlockingIOError
        return size

    def sendmsg(self, parts: list[Any]) -> int:
        """As much of the parts as is taken. What was not is the beginning of what is sent next."""
        size, some = 0, []
        for part in parts:
            some.append(part)
            size += len(part)
            if size >= WRITE:
                break
        try:
            return self._sock.send(b"".join(some))
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            raise BlockingIOError from None

    def close(self) -> None:
        self._sock.close()
