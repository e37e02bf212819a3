from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploy.session.reading import read_virtual
from stream.timeline.packets import Bound, Item


class ListSource:
    """A readable source over a list of event times, one item a read."""

    def __init__(self, name: str, times_ns: list[int]) -> None:
        self.name = name
        self.position_ns = 0
        self.compressed_bytes = 1
        self._times_ns = times_ns
        self.ended = False

    def read(self) -> list[Item]:
        if not self._times_ns:
            self.ended = True
            return []
        self.position_ns = max(self.position_ns, self._times_ns[0])
        return [Bound(stream=self.name, bound_ns=self._times_ns.pop(0))]


def test_the_source_that_is_furthest_behind_is_read_and_sets_the_arrival() -> None:
    reads = list(read_virtual([ListSource("a", [10, 20, 30]), ListSource("b", [5, 40])]))
    assert [(r.items[0].stream, r.arrival_ns) for r in reads] == [("a", 0), ("b", 5), ("b", 10), ("a", 20), ("a", 30)]


times = st.lists(st.integers(0, 1_000), max_size=20).map(sorted)


@given(first=times, second=times)
def test_all_is_read_arrivals_grow_strictly_and_are_a_function_of_the_sources(first: list[int], second: list[int]) -> None:
    runs = [list(read_virtual([ListSource("a", list(first)), ListSource("b", list(second))])) for _ in range(2)]
    stamps = [[(r.arrival_ns, r.items[0].stream, r.items[0].bound_ns) for r in run] for run in runs]
    assert stamps[0] == stamps[1]
    assert len(stamps[0]) == len(first) + len(second)
    assert all(left[0] < right[0] for left, right in zip(stamps[0], stamps[0][1:], strict=False))


@given(first=times, second=times)
def test_no_source_is_read_ahead_of_another_that_has_not_ended(first: list[int], second: list[int]) -> None:
    sources = [ListSource("a", list(first)), ListSource("b", list(second))]
    before = [0, 0]
    for read in read_virtual(sources):
        which = [s.name for s in sources].index(read.items[0].stream)
        other = sources[1 - which]
        assert before[which] <= other.position_ns or other.ended
        before = [s.position_ns for s in sources]
