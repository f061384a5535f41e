"""Reports: what happened in a run, or what differs between two captures, as one HTML file that needs nothing else."""

from coloproxy.watch.report.from_diff import of_diff
from coloproxy.watch.report.from_events import of_events
from coloproxy.watch.report.html import page

__all__ = ["of_diff", "of_events", "page"]
