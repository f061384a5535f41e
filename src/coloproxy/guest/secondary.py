"""The agent of a secondary: a copy that arrives, and follows."""

from coloproxy.guest import messages
from coloproxy.guest import states as table
from coloproxy.guest.leasing import Leasing
from coloproxy.guest.states import State

E = table.Event


class Secondary(Leasing):
    """Tells the primary where in its output a checkpoint was."""

    def _receive(self) -> None:
        self._forget_pair()
        self._inherited = None
        self.path.secondary()
        self._plug_in(False)
        self._launch("defer", self._ready)

    def _ready(self) -> None:
        if self._colo is not None:
            self._colo.mirror.offer(self._offered)

    def _offered(self) -> None:
        if self.state is State.RECEIVING:
            self._open_channel(self.host, listen=True)
            self._wire.say(messages.Ready())

    def _secondary_stopped(self) -> None:
        if self._colo is None or self._colo.left or self.state not in table.SECONDARY - {State.FAILING_OVER}:
            return
        self.path.last_words()
        self._works.pass_on(self.clock.now())
        self._wire.say(messages.Stopped())
        self.path.gate.close_up()
        self._stopped = True
        if self.state is State.STANDBY:
            self.fire(E.STOPPED)

    def _secondary_resumed(self) -> None:
        if self._colo is None or self._colo.left or self.state not in table.SECONDARY:
            return
        if not self._stopped:  # it runs for the first time
            self._colo.active = True
            self.path.secondary_runs()
            self._wire.say(messages.Running())
            return
        self._stopped = False
        self.path.secondary_barrier(self._inherited)
        self._wire.say(messages.Loaded())
        if self.state is State.LOADING:
            self.fire(E.RESUMED)
        elif self.state is State.RECEIVING:
            self.fire(E.COPIED)
