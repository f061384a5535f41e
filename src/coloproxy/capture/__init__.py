"""Captures, read and written as streams: pcap and pcapng.

    with Capture("trace.pcapng") as capture:
        for record in capture:
            frame = to_ethernet(record)
"""

from coloproxy.capture.errors import CaptureError
from coloproxy.capture.linktype import to_ethernet
from coloproxy.capture.pcap import PcapWriter
from coloproxy.capture.pcapng import PcapngWriter
from coloproxy.capture.reader import Capture
from coloproxy.capture.record import Record

__all__ = ["Capture", "CaptureError", "PcapWriter", "PcapngWriter", "Record", "to_ethernet"]
