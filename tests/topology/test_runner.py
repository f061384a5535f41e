"""What a topology does at its end, in this process."""

import select
import threading
from pathlib import Path

from coloproxy.link.log import EventLog
from coloproxy.link.vhost.device import RECEIVE
from coloproxy.topology.config import load
from coloproxy.topology.runner import Runner
from support import frames
from support.flow import numbered
from support.vhost import HIGH, Driver, Front, Memory
from support.wire import Peer, connect

BUFFERS, SIZE = HIGH + 0x8000, 0x1000
NUM = 8  # buffers that the guest has
MANY = 10 * NUM
HEADER = 12
NOT_TOLD = 1.0  # seconds after which a guest that is told nothing is not going to be


class Guest(threading.Thread):
    """Takes frames as drivers do: when it is told that there are some, and only then it makes room for more. Ends the
    topology when its buffers are full for the first time, and more frames wait."""

    def __init__(self, folder: Path, memory: Memory, runner: Runner) -> None:
        super().__init__()
        self.folder, self.memory, self.runner = folder, memory, runner
        self.got: list[bytes] = []

    def run(self) -> None:
        driver = Driver(self.memory, HIGH, NUM)
        front = Front(connect(str(self.folder / "card")), self.memory)
        front.features()
        front.table()
        for number in range(NUM):
            driver.give(BUFFERS + SIZE * number, SIZE)
        front.start(RECEIVE, driver, base=0)
        front.ask(1)  # whoever answers has heard all of it
        front.called(RECEIVE)
        sender = Peer(connect(str(self.folder / "a"))).send(*map(frames.udp, numbered(MANY)))
        while len(self.got) < MANY and select.select([front.calls[RECEIVE]], [], [], NOT_TOLD)[0]:
            front.called(RECEIVE)
            self.runner.stop()
            for head, size in driver.returned():
                self.got.append(self.memory.read(BUFFERS + SIZE * head, size)[HEADER:])
                driver.offer(head)
            front.kick(RECEIVE)
        sender.close()
        front.close()


def test_what_waits_for_a_guest_at_the_end_reaches_it_though_it_makes_room_only_when_told(tmp_path: Path) -> None:
    file = tmp_path / "topology.toml"
    file.write_text(
        f'wires = ["a -> card"]\n[port.a]\nsocket = "unix:{tmp_path}/a,server"\n'
        f'[port.card]\nvhost_user = "unix:{tmp_path}/card,server"\n'
    )
    memory = Memory()
    runner = Runner(load(file), EventLog(None))
    guest = Guest(tmp_path, memory, runner)
    guest.start()
    runner.run()
    guest.join()
    memory.close()
    assert guest.got == [frames.udp(each) for each in numbered(MANY)]
