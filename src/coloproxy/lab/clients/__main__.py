"""`python -m coloproxy.lab.clients ORDER`: do the work of an order (JSON), and tell what was measured."""

import sys
import threading

import msgspec

from coloproxy.lab.clients.exchange import connections, datagrams, round_trips
from coloproxy.lab.clients.meter import Meter, tell
from coloproxy.lab.clients.order import Order
from coloproxy.lab.clients.ping import pings
from coloproxy.lab.clients.transfer import transfers

WORK = {
    "ftp-get": transfers, "ftp-put": transfers, "http": transfers,
    "many": connections, "rr": round_trips, "udp": datagrams, "ping": pings,
}  # fmt: skip


def main() -> None:
    order = msgspec.json.decode(sys.argv[1], type=Order)
    work, name = WORK[order.workload.name], order.workload.name
    meter = Meter(order.workload, order.workload.count * order.workload.size if work is transfers else 0)
    threads = [
        threading.Thread(target=work, args=(order, meter), name=f"{name} {number}", daemon=True)
        for number in range(order.workload.parallel)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tell(meter.figures())


if __name__ == "__main__":
    main()
