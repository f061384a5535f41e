"""The notify socket: asking whoever makes checkpoints (Xen's toolstack, in QEMU's words) for one, and hearing of it.

Messages are frames like the packets': a length of 32 bits, big endian, then text without a terminator. With virtio-net
headers on, a second word follows the length of what we receive, though never of what we send: QEMU has it so.
"""

import struct
from collections.abc import Callable

INIT = b"COLO_USERSPACE_PROXY_INIT"
INIT_REPLY = b"COLO_COMPARE_GET_XEN_INIT"
CHECKPOINT = b"COLO_CHECKPOINT"
DO_CHECKPOINT = b"DO_CHECKPOINT"

LONGEST = 1024  # bytes of a message; the longest there is has 25
MOST_UNSENT = 4096  # bytes of answers that a peer may leave unread


class NotifyError(Exception):
    """The other end breaks the protocol in a way that ends the connection."""


def encode(message: bytes) -> bytes:
    """A message with its framing."""
    return struct.pack(">I", len(message)) + message


class Decoder:
    """Cuts what is received into messages, at any split."""

    def __init__(self, vnet_hdr: bool) -> None:
        self._head = 8 if vnet_hdr else 4
        self._half = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now; call it again, with nothing, until there are none. Raises NotifyError for
        a length that no message has, if none is in front of it."""
        half = self._half + data
        messages: list[bytes] = []
        at = 0
        while len(half) - at >= 4:
            (length,) = struct.unpack_from(">I", half, at)
            if not 1 <= length <= LONGEST:
                if messages:
                    break
                raise NotifyError(f"a message of {length} bytes was announced; they have 1 to {LONGEST}")
            end = at + self._head + length
            if len(half) < end:
                break
            messages.append(half[at + self._head : end])
            at = end
        self._half = half[at:]
        return messages

    def forget(self) -> int:
        """Forget the half message; returns how many bytes it had."""
        forgotten, self._half = len(self._half), b""
        return forgotten


class Notifier:
    """Our end of the conversation, without the socket.

    `on_checkpoint()` is called when the other end says that a checkpoint has been made.
    `request()` asks for a checkpoint; what is to be sent is in `unsent`. A request that is pending when a peer
    connects is sent to it: it cannot know of it, nor can the one before have answered.
    """

    def __init__(self, on_checkpoint: Callable[[], None], vnet_hdr: bool) -> None:
        self._on_checkpoint = on_checkpoint
        self._decoder = Decoder(vnet_hdr)
        self._connected = False
        self._pending = False
        self.unsent = b""

    def connected(self) -> None:
        """There is a peer."""
        self._connected = True
        if self._pending:
            self._send(DO_CHECKPOINT)

    def lost(self) -> int:
        """The peer has gone; returns how many bytes of a half-read message went with it."""
        self._connected = False
        self.unsent = b""
        return self._decoder.forget()

    def request(self) -> None:
        """Ask for a checkpoint, now or as soon as there is a peer."""
        self._pending = True
        if self._connected and encode(DO_CHECKPOINT) not in self.unsent:
            self._send(DO_CHECKPOINT)

    def receive(self, data: bytes) -> list[bytes]:
        """Do what the other end says; returns the messages that say nothing we know.

        Raises NotifyError when the connection must end.
        """
        unknown = []
        while messages := self._decoder.feed(data):
            unknown += [message for message in messages if not self._obey(message)]
            data = b""
        return unknown

    def _obey(self, message: bytes) -> bool:
        """Do what a message says; whether it is one we know."""
        if message == INIT:
            self._send(INIT_REPLY)
        elif message == CHECKPOINT:
            self._pending = False
            self.unsent = self.unsent.replace(encode(DO_CHECKPOINT), b"")
            self._on_checkpoint()
        else:
            return False
        return True

    def _send(self, message: bytes) -> None:
        self.unsent += encode(message)
        if len(self.unsent) > MOST_UNSENT:
            raise NotifyError(f"more than {MOST_UNSENT} bytes of answers were left unread")

    def sent(self, count: int) -> None:
        """So many bytes of `unsent` have been written."""
        self.unsent = self.unsent[count:]
