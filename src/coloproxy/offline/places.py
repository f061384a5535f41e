"""Places of a stream, as whole numbers that do not wrap: which have been seen, and ranges of them."""

from bisect import bisect_left, bisect_right

Range = tuple[int, int]  # from, up to and without


class Ranges:
    """Ranges that neither overlap nor touch, in order. total: how many places there are in all."""

    __slots__ = ("ranges", "total")

    def __init__(self) -> None:
        self.ranges: list[Range] = []
        self.total = 0

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def add(self, low: int, high: int) -> None:
        """Add low..high; what it overlaps or touches becomes one with it."""
        first = bisect_left(self.ranges, low, key=_end)
        last = bisect_right(self.ranges, high, key=_begin)
        if first < last:
            low, high = min(low, self.ranges[first][0]), max(high, self.ranges[last - 1][1])
            self.total -= sum(b - a for a, b in self.ranges[first:last])
        self.ranges[first:last] = [(low, high)]
        self.total += high - low

    def within(self, low: int, high: int) -> list[Range]:
        """The parts of low..high that are covered."""
        first = bisect_right(self.ranges, low, key=_end)
        last = bisect_left(self.ranges, high, key=_begin)
        return [(max(low, a), min(high, b)) for a, b in self.ranges[first:last]]

    def outside(self, low: int, high: int) -> list[Range]:
        """The parts of low..high that are not covered."""
        parts = []
        for a, b in self.within(low, high):
            if low < a:
                parts.append((low, a))
            low = b
        if low < high:
            parts.append((low, high))
        return parts

    def before(self, place: int) -> int:
        """How many ranges end at or before a place."""
        return bisect_right(self.ranges, place, key=_end)

    def move(self, places: int) -> None:
        """Move all of them."""
        self.ranges = [(low + places, high + places) for low, high in self.ranges]

    def drop(self, place: int) -> None:
        """Forget what lies before a place."""
        self.ranges = [(max(low, place), high) for low, high in self.ranges if high > place]
        self.total = sum(high - low for low, high in self.ranges)

    def drop_first(self) -> None:
        """Forget the first of them."""
        low, high = self.ranges.pop(0)
        self.total -= high - low


class Places:
    """The places that were seen: all before `next`, and some `ahead` of it."""

    __slots__ = ("ahead", "next")

    def __init__(self, first: int) -> None:
        self.next = first
        self.ahead = Ranges()

    def see(self, low: int, high: int) -> list[Range]:
        """Note low..high as seen; the parts of it that are new, in order."""
        low = max(low, self.next)
        if low >= high:
            return []
        new = self.ahead.outside(low, high)
        self.ahead.add(low, high)
        begin, end = self.ahead.ranges[0]
        if begin <= self.next:
            self.next = end
            self.ahead.drop_first()
        return new


def _begin(entry: Range) -> int:
    return entry[0]


def _end(entry: Range) -> int:
    return entry[1]
