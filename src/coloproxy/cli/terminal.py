"""The terminal's screen: tabs like the page's, over the page's API."""

import time
from collections import deque
from typing import Any, ClassVar

import msgspec
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import DataTable, Footer, Input, Label, Sparkline, Static, TabbedContent, TabPane

from coloproxy.cli.diff import hexdump
from coloproxy.compare.events import Divergence, Endpoints, Reason
from coloproxy.offline import Difference
from coloproxy.watch.client import Client, Lost
from coloproxy.watch.explanations import explanation
from coloproxy.watch.report.words import counted, duration, size

POINTS = 240  # in a sparkline: two minutes
NEWS = 12  # lines
RETRY = 1.0  # seconds after which a proxy that is gone is tried again
STATES = {
    "protected": ("✔ Protected", "green"), "waiting": ("◆ Checkpoint needed", "yellow"),
    "alone": ("▲ One replica alone", "red"), "open": ("▲ Not protected", "red"), "idle": ("● Nothing compared", "cyan"),
    "lost": ("▲ Connection lost", "red"), "loading": ("○ Connecting", "white"),
}  # fmt: skip
NO_CONNECTION = "No connection yet: as soon as a replica sends something that is compared, it is here."
NO_DIVERGENCE = "No divergence: wherever both replicas have spoken so far, both said the same."
FORGOTTEN = "Only their number is known: what serves the page began after them, or was not told of them."
ELSEWHERE = "Not on this host: the primary compares."
SORTS = ("waits for", "verified", "connection")


class Terminal(App[None]):
    """Shows one proxy until it is left. What the proxy tells is no markup: an address in brackets would be some."""

    TITLE = "coloproxy"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #state { height: auto; padding: 0 1; }
    TabbedContent { height: 1fr; }
    .lost TabbedContent { opacity: 65%; }
    #plots { height: 1fr; min-height: 6; max-height: 10; }
    .spark { height: 1fr; padding: 0 1; border: round $primary-darken-1; }
    .spark Sparkline { height: 1fr; }
    #figures, #news, #told, #none { height: auto; padding: 0 1; }
    #detail { display: none; height: 2fr; border-top: solid $warning; scrollbar-size-vertical: 1; }
    #detail.open { display: block; }
    DataTable { height: 1fr; }
    DataTable.empty { display: none; }
    Input { display: none; }
    Input.open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("1", "show('overview')", "Overview"), ("2", "show('connections')", "Connections"),
        ("3", "show('divergences')", "Divergences"), ("s", "sort", "Sort"), ("slash", "filter", "Filter"),
        ("escape", "close", "Close"), ("q", "quit", "Quit"),
    ]  # fmt: skip

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client
        self._released: deque[float] = deque([0.0] * POINTS, maxlen=POINTS)
        self._held: deque[float] = deque([0.0] * POINTS, maxlen=POINTS)
        self._listed: list[dict[str, Any]] = []
        self._found: dict[int, dict[str, Any]] = {}
        self._drawn: dict[int, dict[str, Any]] = {}  # of them, what stands in the table
        self._elsewhere = False  # whether another host compares
        self._news: deque[dict[str, Any]] = deque(maxlen=NEWS)
        self._seen = 0.0  # when the proxy showed itself last
        self._sort = 0
        self._words: list[str] = []

    def compose(self) -> ComposeResult:
        yield Static(id="state")
        with TabbedContent(initial="overview"):
            with TabPane("Overview", id="overview"):
                yield Static(id="figures")
                with Horizontal(id="plots"):
                    for name in ("released", "held"):
                        with Vertical(classes="spark"):
                            yield Label(name, id=f"{name}-now")
                            yield Sparkline(id=name)
                yield Static(id="news", markup=False)
            with TabPane("Connections", id="connections"):
                yield Static(id="told", markup=False)
                yield Input(placeholder="address, port, state", id="filter")
                yield DataTable(id="list", cursor_type="row")
            with TabPane("Divergences", id="divergences"):
                yield Static(id="none")
                yield DataTable(id="found", cursor_type="row")
                with VerticalScroll(id="detail"):
                    yield Static(id="one", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        columns = "connection", "state", "waits for", "verified", "primary holds", "secondary holds"
        self.query_one("#list", DataTable).add_columns(*columns)
        self.query_one("#found", DataTable).add_columns("no.", "time", "reason", "connection", "byte")
        self._state("loading", "")
        self.run_worker(self._listen, thread=True)

    # Listening, in a thread

    def _listen(self) -> None:
        while self.is_running:
            try:
                self._catch_up()
                for name, data in self._client.live(connections=True):
                    if not self.is_running:
                        return
                    self.call_from_thread(self.hear, name, data)
                why = "it has ended"
            except Lost as lost:
                why = str(lost)
            if self.is_running:
                self.call_from_thread(self._lost, f"{self._client.url}: {why}.")
                time.sleep(RETRY)

    def _catch_up(self) -> None:
        """What happened before. Raises Lost."""
        self._found = {told["number"]: told for told in self._client.ask("api/divergences")}
        history = self._client.ask("api/history")
        points = history["points"]
        self._released.extend(points["released"])
        self._held.extend(map(float.__add__, map(float, points["primary"]), map(float, points["secondary"])))
        self._news.clear()
        for mark in history["marks"]:
            self._happened(mark)

    def hear(self, name: str, data: dict[str, Any]) -> None:
        """Show what the proxy tells."""
        if name == "picture" and data["picture"] is not None:
            self._picture(data)
        elif name == "connections":
            self._listed = data["listed"]
            self._connections(data["total"])
        elif name == "divergence":
            self._found[data["number"]] = data
        elif name == "mark":
            self._happened(data)

    def _happened(self, mark: dict[str, Any]) -> None:
        """A checkpoint that is asked for again takes the place of the one before."""
        if self._news and mark.get("attempt", 1) > 1 and self._news[0]["event"] == mark["event"]:
            self._news.popleft()
        self._news.appendleft(mark)

    # The overview

    def _state(self, state: str, why: str, title: str = "") -> None:
        word, colour = STATES[state]
        word = f"{word[0]} {title}" if title else word
        self.query_one("#state", Static).update(Text.assemble((word, f"bold {colour}"), "  ", why))
        self.screen.set_class(state == "lost", "lost")

    def _lost(self, why: str) -> None:
        shown = f" What is shown is from {clock(self._seen)}." if self._seen else ""
        self._state("lost", f"{why}{shown} Trying again.")

    def _picture(self, data: dict[str, Any]) -> None:
        picture, told, point = data["picture"], data["protection"], data["point"]
        self._seen = picture["wall"]
        if data["alive"]:
            self._state(told["state"], f"since {clock(told['since'])}. {told['why']}", told["title"])
        else:
            self._lost("The proxy is silent.")
        panes, guest = list(picture["panes"].values()), picture["guest"]
        self._elsewhere = guest is not None and guest["role"] != "primary"
        if point is not None:
            self._released.append(point["released"])
            self._held.append(float(point["primary"] + point["secondary"]))
        self.query_one("#figures", Static).update(figures(panes, point, guest))
        for name, values, text in (
            ("released", self._released, f"released  {size(int(self._released[-1]))}/s"),
            ("held", self._held, f"held  {size(int(self._held[-1]))}"),
        ):
            self.query_one(f"#{name}", Sparkline).data = list(values)
            self.query_one(f"#{name}-now", Label).update(text)
        news = [f"{clock(mark['wall'])}  {said(mark)}" for mark in self._news]
        self.query_one("#news", Static).update("\n".join(news) or "Nothing has happened yet.")
        self._divergences(any(pane["accounting"]["divergences"] for pane in panes))

    # The lists

    def _connections(self, total: int) -> None:
        table = self.query_one("#list", DataTable)
        rows = [row for row in self._listed if all(word in f"{name_of(row)} {state_of(row)}" for word in self._words)]
        keys = (lambda row: -age_of(row), lambda row: -row["verified_bytes"], name_of)
        rows.sort(key=keys[self._sort])
        at = table.cursor_row
        table.clear()
        for row in rows:
            held = [size(row[side]["bytes"]) if row[side]["frames"] else "–" for side in HELD]
            waits = duration(age_of(row)) if age_of(row) else "–"
            colour = "magenta" if row["diverged"] else "yellow" if age_of(row) else ""
            state = Text(state_of(row), colour)
            table.add_row(Text(name_of(row)), state, waits, size(row["verified_bytes"]), *held, key=row["key"])
        table.move_cursor(row=min(at, max(0, len(rows) - 1)))
        table.set_class(not rows, "empty")
        shown = f"{counted(total, 'connection')}, {len(rows):,} shown, sorted by {SORTS[self._sort]}"
        if not total:
            shown = ELSEWHERE if self._elsewhere else NO_CONNECTION
        self.query_one("#told", Static).update(shown + (f"; filter: {' '.join(self._words)}" if self._words else ""))

    def _divergences(self, counted: bool) -> None:
        """counted: whether there were any, so far as the proxy knows."""
        nothing = ELSEWHERE if self._elsewhere else FORGOTTEN if counted else NO_DIVERGENCE
        table = self.query_one("#found", DataTable)
        table.set_class(not self._found, "empty")
        self.query_one("#none", Static).update("" if self._found else nothing)
        self.query_one("#none").display = not self._found
        if self._drawn == self._found:
            return
        self._drawn = dict(self._found)
        table.clear()
        for number, told in sorted(self._found.items(), reverse=True):
            place = "–" if told["offset"] is None else f"{told['offset']:,}"
            table.add_row(
                str(number), clock(told["wall"]), Text(told["reason"], "magenta"), Text(told["connection"]), place,
                key=str(number),
            )  # fmt: skip

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open a divergence."""
        if event.data_table.id == "found" and event.row_key.value is not None:
            number = event.row_key.value
            self.run_worker(lambda: self._open(number), thread=True)

    def _open(self, number: str) -> None:
        try:
            told = self._client.ask(f"api/divergences/{number}")
        except Lost as lost:
            self.call_from_thread(self.query_one("#one", Static).update, f"It cannot be shown: {lost}.")
        else:
            one = msgspec.convert(told["divergence"], Divergence)
            self.call_from_thread(self.query_one("#one", Static).update, explained(one))
        self.call_from_thread(self.query_one("#detail").add_class, "open")

    # Keys

    def action_show(self, name: str) -> None:
        self.query_one(TabbedContent).active = name
        table = {"connections": "#list", "divergences": "#found"}.get(name)
        if table is not None:
            self.query_one(table).focus()

    def action_sort(self) -> None:
        self._sort = (self._sort + 1) % len(SORTS)

    def action_filter(self) -> None:
        self.action_show("connections")
        self.query_one("#filter").add_class("open").focus()

    def action_close(self) -> None:
        self.query_one("#detail").remove_class("open")
        self.query_one("#filter").remove_class("open")

    def on_input_changed(self, event: Input.Changed) -> None:
        self._words = event.value.lower().split()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        self.query_one("#list").focus()


HELD = ("held_primary", "held_secondary")


def figures(panes: list[dict[str, Any]], point: dict[str, Any] | None, guest: dict[str, Any] | None = None) -> Text:
    """The numbers of the overview. guest: of a guest's agent."""
    accounts = [pane["accounting"] for pane in panes]
    median = point["median"] if point is not None else None
    latency = "–" if median is None else "at once" if median == 0 else duration(median)
    tail = "" if point is None or point["tail"] is None else f" (99 %: {duration(point['tail'])})"
    made = guest["checkpoints"] if guest else sum(account["checkpoints_completed"] for account in accounts)
    reasons: dict[str, int] = {}
    for account in accounts:
        for reason, count in account["divergences"].items():
            reasons[reason] = reasons.get(reason, 0) + count
    listed = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items(), key=lambda each: -each[1]))
    lines = [
        ("latency", latency + tail),
        ("checkpoints", f"{made:,} made, {sum(account['checkpoints_requested'] for account in accounts):,} asked for"),
        ("divergences", f"{sum(reasons.values()):,}" + (f": {listed}" if listed else "")),
        ("connections", f"{sum(pane['connections'] for pane in panes):,}, of which"
         f" {sum(pane['waiting'] for pane in panes):,} hold frames"),
    ]  # fmt: skip
    return Text("\n").join(Text.assemble((f"{name:14}", "bold"), value) for name, value in lines)


def explained(one: Divergence) -> Text:
    """A divergence with its bytes, and what its reason means."""
    told = explanation(Reason(one.reason))
    ends = one.connection or Endpoints("", "", "")
    shown = Difference(
        reason=one.reason, detail=one.detail, connection=ends, offset=one.stream_offset, primary=one.primary,
        secondary=one.secondary, context_offset=one.context_offset,
    )  # fmt: skip
    parts = [Text.assemble((one.reason, "bold magenta"), f": {one.detail}"), Text(str(one.connection or ""))]
    if one.primary or one.secondary:
        parts.append(hexdump(shown))
    parts += [Text(f"\n{told.meaning}"), Text("\nUsual causes", "bold"), *(Text(f"- {each}") for each in told.causes)]
    parts += [Text("\nWhat to do", "bold"), *(Text(f"- {each}") for each in told.actions)]
    return Text("\n").join(parts)


def name_of(row: dict[str, Any]) -> str:
    return str(row["key"].partition(" ")[2])


def state_of(row: dict[str, Any]) -> str:
    if row["diverged"]:
        return f"differs: {row['diverged']}"
    if row["unprotected"]:
        return "passes uncompared"
    return "waits" if age_of(row) else "nothing waits"


def age_of(row: dict[str, Any]) -> float:
    return max(float(row[side]["oldest_age"]) for side in HELD)


def clock(wall: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(wall))


def said(mark: dict[str, Any]) -> str:
    """What happened, in a line."""
    kind = mark["event"]
    if kind == "checkpoint_requested":
        again = f", attempt {mark['attempt']}" if mark["attempt"] > 1 else ""
        return f"checkpoint asked for{again}: {mark['reason']}"
    if kind == "checkpoint_completed":
        return "checkpoint made" + (f" after {duration(mark['took'])}" if mark["took"] is not None else "")
    if kind == "guest_checkpoint":
        many = counted(mark["count"], "checkpoint")
        times = f"within {duration(mark['took'])}, paused {duration(mark['paused'])}"
        return f"{many} made, {times}: {', '.join(mark['asked'])}"
    if kind == "agent_changed":
        return f"{mark['before']} → {mark['after']}: {mark['detail'] or mark['happened']}"
    if kind == "taken_over":
        return f"the guest goes on here alone: {mark['why']}"
    if kind == "failed_over":
        return f"the {mark['survivor']} goes on alone"
    return str(mark.get("text") or " ".join(str(part) for part in (kind.replace("_", " "), mark.get("role", ""))))
