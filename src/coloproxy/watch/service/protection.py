"""Whether the two replicas protect each other now, and since when."""

from typing import NamedTuple

from coloproxy.watch.messages import Picture


class Protection(NamedTuple):
    """state: protected, waiting (a checkpoint is needed), alone (one replica is left), open (a socket has no peer),
    idle (nothing is compared). since: wall. why: a sentence. title: the state's name, if not the usual one."""

    state: str
    since: float
    why: str
    title: str = ""


STARTED = Protection("open", 0.0, "The proxy has just begun.")
NAMES = {
    "primary_in": "the primary's frames", "secondary_in": "the secondary's frames", "outdev": "what is released",
}  # fmt: skip


def protection(picture: Picture, before: Protection) -> Protection:
    """What a picture says; `since` is from before while the state stays."""
    guest = picture.guest
    state, why = judge(picture) if guest is None else (guest.looks, guest.why)
    title = "" if guest is None else guest.title
    same = (state, title) == (before.state, before.title) and before.since
    return Protection(state, before.since if same else picture.wall, why, title)


def judge(picture: Picture) -> tuple[str, str]:
    panes = picture.panes.values()
    if not panes:
        return "idle", "No comparator is part of this topology."
    survivor = next((pane.survivor for pane in panes if pane.survivor), None)
    if survivor:
        return "alone", f"The {survivor} goes on alone: its frames leave uncompared."
    missing = [gate.name for gate in picture.gates if not gate.connected and gate.name != "notify_dev"]
    if missing:
        return "open", f"Nobody is connected to {', '.join(map(called, missing))}."
    unprotected = sum(pane.unprotected for pane in panes)
    if any(pane.checkpoint_pending for pane in panes):
        nobody = any(gate.name == "notify_dev" and not gate.connected for gate in picture.gates)
        return "waiting", differing(sum(pane.diverged for pane in panes)) + (
            " Nobody is there to make a checkpoint." if nobody else ""
        )
    if unprotected:
        connections = "connection has" if unprotected == 1 else "connections have"
        return "protected", f"{unprotected:,} {connections} diverged and pass uncompared; all others are compared."
    return "protected", "What both replicas say leaves; nothing waits for a checkpoint."


def differing(count: int) -> str:
    """What waits for a checkpoint."""
    if not count:
        return "Nothing more can be held until a checkpoint is made."
    where = "one connection" if count == 1 else f"{count:,} connections"
    return f"The replicas differ on {where}: what they say there is held. All else is compared, and leaves."


def called(name: str) -> str:
    return f"{name} ({NAMES[name]})" if name in NAMES else name
