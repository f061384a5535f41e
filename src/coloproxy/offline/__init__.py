"""Two captures, compared as the outputs of two replicas.

    report = compare("primary.pcap", "secondary.pcap", Options())
"""

from coloproxy.offline.comparison import Options, compare
from coloproxy.offline.replica import Replica, parse_replica
from coloproxy.offline.report import CaptureSummary, Compared, Difference, Report, Totals

__all__ = [
    "CaptureSummary", "Compared", "Difference", "Options", "Replica", "Report", "Totals", "compare", "parse_replica",
]  # fmt: skip
