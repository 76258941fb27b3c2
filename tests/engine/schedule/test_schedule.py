"""
When each request is due, and in which order, against a naive list that cannot be wrong.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from onehouse_tracker._engine.schedule.schedule import TICK, Schedule
from onehouse_tracker._engine.tracked import Tracked
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker.policy import PollPolicy

WAIT = Wait()
# A coarse grid, so that equal times are common.
TIMES = st.integers(-20, 200).map(lambda number: number / 4)


def _tracked(name: str = "r", *, born: float = 0.0) -> Tracked:
    return Tracked(name, label=None, born=born, now=0.0, wait=WAIT)


def _schedule() -> Schedule:
    return Schedule(PollPolicy(order="due", gap_coefficient=0, gap_min=1, gap_max=1))


def _drain(schedule: Schedule) -> list[str]:
    names = []
    while (tracked := schedule.pop(1e12)) is not None:
        names.append(tracked.request_id)

    return names


def test_an_empty_schedule_has_nothing_to_say() -> None:
    """
    The dispatcher asks before the first request comes.
    """
    schedule = _schedule()

    assert len(schedule) == 0
    assert schedule.next_due() is None
    assert schedule.pop(1e9) is None
    schedule.forgive(_tracked(), 0)
    schedule.finished(_tracked(), 0)


def test_what_is_due_longest_goes_first_and_ties_keep_their_order() -> None:
    """
    Nobody overtakes: equal times are served as they came.
    """
    schedule = _schedule()
    for name, due in (("c", 2), ("a", 1), ("d", 2), ("b", 1), ("e", 2)):
        schedule.add(_tracked(name), due)

    assert _drain(schedule) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("now", "is_due"), [(9.0, False), (9.9989, False), (9.9991, True), (10.0, True), (99, True)]
)
def test_due_means_within_a_millisecond(now: float, *, is_due: bool) -> None:
    """
    Timers end a floating-point remainder early; to wait for that would spin.
    """
    schedule = _schedule()
    tracked = _tracked()
    schedule.add(tracked, 10.0)

    assert schedule.next_due() == 10.0
    assert schedule.pop(now) is (tracked if is_due else None)
    assert len(schedule) == (0 if is_due else 1)


def test_the_gap_runs_from_the_sending() -> None:
    """
    A slow reply must not make the questions rarer; one slower than its gap is due at once.
    """
    schedule = Schedule(PollPolicy(order="due"))
    young, slow = _tracked(born=92.0), _tracked(born=92.0)

    schedule.pending(young, 100.0, 100.5)  # 8 s old: a gap of 0.6 s
    assert schedule.next_due() == pytest.approx(100.6)
    schedule.remove(young)
    schedule.pending(slow, 100.0, 130.0)
    assert schedule.next_due() == 130.0


@pytest.mark.parametrize(("born", "due"), [(1e9, 100.4), (-1e18, 110.0), (100.0, 100.4)])
def test_absurd_ages_give_ordinary_gaps(born: float, due: float) -> None:
    """
    A date of submission may be wrong by centuries, in both directions.
    """
    schedule = Schedule(PollPolicy(order="due"))

    schedule.pending(_tracked(born=born), 100.0, 100.0)

    assert schedule.next_due() == pytest.approx(due)


def test_a_clock_that_goes_back_changes_no_order() -> None:
    """
    Times are arguments: nothing is remembered of an earlier "now".
    """
    schedule = _schedule()
    first, second = _tracked("first"), _tracked("second")
    schedule.add(first, 50)
    schedule.add(second, 60)

    assert schedule.pop(100) is first
    assert schedule.pop(40) is None
    schedule.pending(first, 40, 40)
    assert schedule.next_due() == 41
    assert _drain(schedule) == ["first", "second"]


def test_a_removed_request_does_not_come_up() -> None:
    """
    Nobody waits for it any more; to ask would waste a slot.
    """
    schedule = _schedule()
    gone, stays = _tracked("gone"), _tracked("stays")
    schedule.add(gone, 1)
    schedule.add(stays, 2)

    schedule.remove(gone)
    schedule.remove(gone)
    schedule.remove(_tracked("never was here"))

    assert len(schedule) == 1
    assert schedule.next_due() == 2
    assert _drain(schedule) == ["stays"]


def test_pushing_twice_moves_a_request() -> None:
    """
    A request is here at most once, whatever the caller does; the later word counts.
    """
    schedule = _schedule()
    tracked = _tracked()
    schedule.again(tracked, 30)

    schedule.add(tracked, 20)

    assert len(schedule) == 1
    assert schedule.next_due() == 20
    schedule.forgive(tracked, 10)
    assert schedule.next_due() == 20
    assert _drain(schedule) == ["r"]
    assert len(schedule) == 0


def test_forgiving_moves_only_what_failed() -> None:
    """
    After an outage failed requests go at once; a pending one keeps its gap.
    """
    schedule = _schedule()
    tracked = [_tracked(name) for name in ("slow", "slower", "pending", "new", "sick")]
    schedule.again(tracked[0], 30)
    schedule.again(tracked[1], 30)
    schedule.pending(tracked[2], 10, 10)
    schedule.add(tracked[3], 10)
    schedule.again(tracked[4], 30)

    for one in tracked[:4]:
        schedule.forgive(one, 10)

    assert schedule.next_due() == 10
    assert _drain(schedule) == ["new", "slow", "slower", "pending", "sick"]


def test_forgiving_never_makes_anything_later() -> None:
    """
    What failed and is overdue keeps its place.
    """
    schedule = _schedule()
    due, overdue, failed = _tracked("due"), _tracked("overdue"), _tracked("failed")
    schedule.add(due, 9)
    schedule.again(overdue, 8)
    schedule.again(failed, 30)

    for tracked in (due, overdue, failed):
        schedule.forgive(tracked, 10)

    assert schedule.next_due() == 8
    assert _drain(schedule) == ["overdue", "due", "failed"]


def test_a_backoff_ends_when_the_request_is_taken() -> None:
    """
    What failed once and is pending now has a gap, and no backoff to be cleared.
    """
    schedule = _schedule()
    tracked = _tracked()
    schedule.again(tracked, 5)
    assert schedule.pop(5) is tracked
    schedule.pending(tracked, 5, 5)

    schedule.forgive(tracked, 5.1)

    assert schedule.next_due() == 6


def test_dead_entries_do_not_pile_up() -> None:
    """
    A service that starts and cancels waits all day must not grow.
    """
    schedule = _schedule()
    stays = [_tracked(f"s{number}") for number in range(10)]
    for number, tracked in enumerate(stays):
        schedule.add(tracked, 1000 - number)

    most = 0
    for number in range(20_000):
        tracked = _tracked()
        schedule.add(tracked, 1 + number % 7)
        schedule.remove(tracked)
        most = max(most, len(schedule._heap))

    assert most <= 1020 + 1
    assert len(schedule) == 10
    assert _drain(schedule) == [f"s{number}" for number in reversed(range(10))]


class Model(RuleBasedStateMachine):
    """
    The schedule beside a plain list of (due, order, request), searched anew each time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.schedule = _schedule()
        self.waiting: list[tuple[float, int, Tracked]] = []
        self.out: list[Tracked] = [_tracked(f"r{number}") for number in range(12)]
        self.backing_off: set[Tracked] = set()
        self.order = 0

    def _expect(self, tracked: Tracked, due: float) -> None:
        self.order += 1
        self.waiting.append((due, self.order, tracked))

    def _forget(self, tracked: Tracked) -> None:
        self.waiting = [entry for entry in self.waiting if entry[2] is not tracked]
        self.backing_off.discard(tracked)

    @rule(due=TIMES, data=st.data())
    def add(self, due: float, data: st.DataObject) -> None:
        """A request joins."""
        if self.out:
            tracked = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
            self.schedule.add(tracked, due)
            self._expect(tracked, due)

    @rule(due=TIMES, data=st.data())
    def again(self, due: float, data: st.DataObject) -> None:
        """A poll failed."""
        if self.out:
            tracked = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
            self.schedule.again(tracked, due)
            self._expect(tracked, due)
            self.backing_off.add(tracked)

    @rule(sent_at=TIMES, took=st.sampled_from([0, 0.25, 1, 3]), data=st.data())
    def pending(self, sent_at: float, took: float, data: st.DataObject) -> None:
        """A poll said PENDING."""
        if self.out:
            tracked = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
            self.schedule.pending(tracked, sent_at, sent_at + took)
            self._expect(tracked, max(sent_at + 1, sent_at + took))

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Nobody waits any more."""
        if self.waiting:
            tracked = self.waiting[data.draw(st.integers(0, len(self.waiting) - 1))][2]
            self.schedule.remove(tracked)
            self._forget(tracked)
            self.out.append(tracked)

    @rule(now=TIMES)
    def pop(self, now: float) -> None:
        """A slot, at any time, earlier than the last one too."""
        first = min(self.waiting, default=None, key=lambda entry: entry[:2])
        expected = None if first is None or first[0] > now + TICK else first[2]
        assert self.schedule.pop(now) is expected
        if expected is not None:
            self._forget(expected)
            self.out.append(expected)

    @rule(now=TIMES, which=st.integers(0, 12))
    def forgive(self, now: float, which: int) -> None:
        """An outage is over: what failed in it waits no longer than until now."""
        for due, _, tracked in sorted(self.waiting, key=lambda entry: entry[1])[which:]:
            self.schedule.forgive(tracked, now)
            if tracked in self.backing_off and due > now:
                self.waiting = [entry for entry in self.waiting if entry[2] is not tracked]
                self._expect(tracked, now)
            self.backing_off.discard(tracked)

    @invariant()
    def same_size_and_same_next(self) -> None:
        """Both sides agree at each step."""
        assert len(self.schedule) == len(self.waiting)
        assert self.schedule.next_due() == min((due for due, _, _ in self.waiting), default=None)


Model.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestAgainstAList = Model.TestCase


@given(st.lists(st.tuples(TIMES, st.booleans()), max_size=300), st.integers(0, 5))
def test_each_request_comes_up_once_in_order(
    requests: list[tuple[float, bool]], compactions: int
) -> None:
    """
    Removing some, with compactions on the way, neither loses nor repeats any other.
    """
    schedule = _schedule()
    kept: list[tuple[float, int]] = []
    for number, (due, is_removed) in enumerate(requests):
        tracked = _tracked(str(number))
        schedule.add(tracked, due)
        if is_removed:
            schedule.remove(tracked)
        else:
            kept.append((due, number))
    for _ in range(compactions * 300):
        noise = _tracked("noise")
        schedule.add(noise, 1e6)
        schedule.remove(noise)

    assert _drain(schedule) == [str(number) for _, number in sorted(kept)]
