"""A guest's agent, as its page shows it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from coloproxy.guest import states
from coloproxy.guest.agent import Agent
from coloproxy.guest.states import State
from coloproxy.link.log import EventLog
from coloproxy.watch.host import Host, of_pieces
from coloproxy.watch.launch import Service, TakenError
from coloproxy.watch.messages import Guest

RETRY = 0.5  # seconds


class Look(NamedTuple):
    """How a state is shown. looks: as one of a proxy's (`watch.service.protection`)."""

    looks: str
    title: str
    why: str


LOOKS: dict[State, Look] = {
    State.WAITING: Look("idle", "No guest here", "This host waits to be the secondary."),
    State.STARTING: Look("open", "Starting", "The guest is being started."),
    State.ALONE: Look("alone", "Not protected", "The guest runs here alone; what it says leaves uncompared."),
    State.SILENCED: Look("open", "Silenced", "The lease could not be renewed: what the guest says does not leave."),
    State.COPYING: Look("alone", "Being copied", "Not protected yet: the guest is copied to {other}."),
    State.PAIRING: Look("alone", "Being paired", "The copy on {other} is in step; the lease does not name it yet."),
    State.PROTECTED: Look("protected", "Protected", "The guest runs here; its copy on {other} is in step."),
    State.CHECKPOINTING: Look("protected", "Protected", "The guest runs here; its copy on {other} is in step."),
    State.DECIDING: Look("waiting", "Deciding", "{other} is lost: the lease is asked who may go on."),
    State.RECEIVING: Look("waiting", "Being copied", "Not protected yet: the guest is copied from {other}."),
    State.STANDBY: Look("protected", "Protected", "The guest runs on {other}; its copy here is in step."),
    State.LOADING: Look("protected", "Protected", "The guest runs on {other}; its copy here is in step."),
    State.TAKING_OVER: Look("waiting", "Deciding", "{other} is lost: the lease is asked who may go on."),
    State.FAILING_OVER: Look("waiting", "Taking over", "The copy that is here becomes the guest."),
    State.FAILED: Look("open", "Failed", "The guest is gone, or must not run here; `guest up` starts it."),
}  # fmt: skip


class Shown:
    """The page of an agent. The guest does not wait for it: an address that is taken, as it is for a moment when an
    agent is started anew, is tried again. Raises ColoproxyError if the address is none. said: told when it is there.
    """

    def __init__(
        self, agent: Agent, log: EventLog, address: str, hosts: list[str], said: Callable[[Service], None]
    ) -> None:
        self._agent, self._log, self._address, self._hosts, self._said = agent, log, address, hosts, said
        self._service: Service | None = None
        self._told = False
        self._try()

    def close(self) -> None:
        """No page any more."""
        if self._service is not None:
            self._service.close()

    def _try(self) -> None:
        try:
            self._service = Service(self._address, hosts=self._hosts)
        except TakenError as error:
            if not self._told:
                self._agent.warn(str(error))
                self._told = True
            self._agent.loop.after(RETRY, self._try)
            return
        self._service.show(of_agent(self._agent, self._log), self._log)
        self._said(self._service)


def of_agent(agent: Agent, log: EventLog) -> Host:
    """`coloproxy guest agent`."""

    def guest() -> Guest:
        told = agent.status()
        look = LOOKS[agent.state]
        return Guest(
            host=agent.host, other=agent.other, state=agent.state, role=states.role(agent.state), peer=told["peer"],
            generation=agent.generation, checkpoints=told["checkpoints"], looks=look.looks, title=look.title,
            why=look.why.format(other=agent.other) + progress(told),
        )  # fmt: skip

    name = f"{agent.file.name} on {agent.host}"
    return of_pieces(agent.path.pieces, name, "guest", agent.loop, agent.clock, log)._replace(guest=guest)


def progress(told: Mapping[str, Any]) -> str:
    """How far the first copy has come."""
    copy = told["copy"]
    if told["state"] is not State.COPYING or copy is None or not copy["total"]:
        return ""
    return f" {100 * (1 - copy['remaining'] / copy['total']):.0f} % of the {copy['what']} has arrived."
