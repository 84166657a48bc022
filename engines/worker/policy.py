"""BatchPolicy: how many items the next engine call takes, on how many cores, and whether to wait for more."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

SAMPLES_NEEDED = 3  # before a time counts as known; the first call with a new shape is always slow
_SAMPLES_KEPT = 9
# Of a serial call's rate, where parallel ones are possible: its threads spin while they wait for each
# other, which costs the preparation of the next requests what the call's own time does not show.
_SERIAL_WORTH = 0.9
# Calls after which an arm is learned anew, because machines change. That takes time, and for each trial of a
# large batch memory, so a busy server must not do it all the time.
_STALE_AFTER = 2000
_AS_GOOD = 0.97  # of the best rate: less than a measurement's noise, so the quicker answer wins
# Times the best known rate: what a size must promise before it is tried, because the runtime takes memory for
# it. A forecast is off by several times its samples' noise, so a small promise has to rest on more of them.
_WORTH_TRYING = 1.05
_SURELY_WORTH_TRYING = 1.2
_AS_QUICK = 1.1  # times a single item's time: what a call may take whatever the target is
DEMAND_FOR_PARALLEL = 0.75  # items in the system for each core, from which parallel calls can fill the cores


class Arm(NamedTuple):
    """One way to make an engine call."""

    parallel: bool  # on one core, beside other such calls; else alone on all cores
    size: int  # items, a power of two


class _Record:
    """What one arm took lately."""

    def __init__(self) -> None:
        self.times_ms: deque[float] = deque(maxlen=_SAMPLES_KEPT)
        self.median_ms: float | None = None  # once it is known; kept, for every choice asks many times
        self.last_seen = 0

    def add(self, elapsed_ms: float) -> None:
        self.times_ms.append(elapsed_ms)
        if len(self.times_ms) >= SAMPLES_NEEDED:
            self.median_ms = statistics.median(self.times_ms)


class BatchPolicy:
    """Learns an engine's time for each batch size and picks the best of them; pure, knows no clock.

    Batch sizes are powers of two, so that a runtime sees few shapes. A call is either serial, alone on
    all cores, which answers soonest, or parallel, one of several on a core each, which on most
    engines gets more done. Sizes and parallel calls are tried when there is enough to do, smallest
    first, and no further than they promise to beat the best; whatever is within a few per cent of the
    best rate counts as equal, and then the shorter call wins. So an engine that gains nothing from
    company never waits for it, nor takes the memory of large batches.
    """

    def __init__(self, *, cores: int, max_batch_size: int, target_p95_ms: float) -> None:
        """Know nothing yet.

        Args:
            cores: parallel calls at a time.
            max_batch_size: items per call.
            target_p95_ms: what 95 of 100 requests should not exceed; an item may wait for one call
                and run in the next, so a call may take half of it.
        """
        self._cores = cores
        self._sizes: list[int] = []
        self.limit(max_batch_size)
        self._max_call_ms = target_p95_ms / 2
        self._records: dict[Arm, _Record] = {}
        self._calls = 0

    def limit(self, max_batch_size: int) -> None:
        """Change how many items a call may take; what was learned stays."""
        self._max_size = max_batch_size
        # No size is forgotten: a call of it may be about to start.
        largest = max([max_batch_size, *self._sizes])
        self._sizes = [2**power for power in range(largest.bit_length())]

    def observe(self, arm: Arm, elapsed_ms: float) -> None:
        """Learn what one call took; a parallel one only if the cores were busy meanwhile."""
        if self._is_stale(arm):  # what it took long ago tells nothing any more
            del self._records[arm]
        self._calls += 1
        record = self._records.setdefault(arm, _Record())
        record.add(elapsed_ms)
        record.last_seen = self._calls

    def call_ms(self, arm: Arm) -> float | None:
        """Return the median time of an arm's last calls; None until it is known."""
        record = self._records.get(arm)
        return None if record is None else record.median_ms

    def rate(self, arm: Arm, items: int | None = None) -> float | None:
        """Return the items a second of calls like this, which need not be full; None until it is known."""
        elapsed_ms = self.call_ms(arm)
        if elapsed_ms is None:
            return None
        return self._rate(arm, elapsed_ms, arm.size if items is None else items)

    def choose(self, waiting: int, demand: float, *, parallel: bool) -> Arm:
        """Return how to call the engine now.

        Args:
            waiting: items in the queue, at least one.
            demand: items in the queue and in calls, now or on average over the last moments.
            parallel: whether the engine can make parallel calls.
        """
        arms = self._arms(waiting, demand, parallel)
        return self._untried(arms) or self._best(arms, waiting)

    def choose_short(self, waiting: int, demand: float, *, parallel: bool, within_ms: float) -> Arm:
        """Return how to call the engine now for items that others may have to wait behind.

        Args:
            waiting: as for `choose`.
            demand: as for `choose`.
            parallel: as for `choose`.
            within_ms: what the call may take as far as times are known; twice that for a single item
                where that gets more done, and else no less than the quickest call for one.
        """
        arms = self._arms(waiting, demand, parallel)
        quickest_ms = _AS_QUICK * min(self._expected_ms(arm) for arm in arms if arm.size == 1)
        # A single item on one core: of such calls, the first to end makes room long before the last.
        limits_ms = {arm: max(within_ms * (2 if arm.size == 1 else 1), quickest_ms) for arm in arms}
        short = [arm for arm in arms if self._expected_ms(arm) <= limits_ms[arm]]
        return self._untried(short) or self._best(short, waiting, within_ms)

    def sizes_from(self, arm: Arm) -> list[int]:
        """Return the batch sizes up to an arm's, smallest first."""
        return [size for size in self._sizes if size <= arm.size]

    def wait_ms(self, waiting: int, gap_ms: float) -> float:
        """Return how long it pays to hold the queue back for one more item.

        That is what a call of twice the size saves each of the two over one after the other, if
        somebody is likely to come within that time; a client that waits for its answer never is.

        Args:
            waiting: items in the queue.
            gap_ms: the usual time between two arrivals.
        """
        size = self._usable_sizes(waiting)[-1]
        single, double = self.call_ms(Arm(False, size)), self.call_ms(Arm(False, 2 * size))
        if single is None or double is None:
            return 0.0
        saved_ms = 1.5 * single - double  # alone they would take 1 and 2 calls, 1.5 on average
        pays = double < 2 * single * _AS_GOOD and gap_ms < saved_ms and double <= self._max_call_ms
        return saved_ms if pays else 0.0

    def _rate(self, arm: Arm, elapsed_ms: float, items: int) -> float:
        return 1000 * items * (self._cores if arm.parallel else 1) / max(elapsed_ms, 1e-6)

    def _arms(self, waiting: int, demand: float, parallel: bool) -> list[Arm]:
        arms = [Arm(False, size) for size in self._usable_sizes(waiting)]
        if parallel and demand >= DEMAND_FOR_PARALLEL * self._cores:
            share = -(-waiting // self._cores)
            arms += [Arm(True, size) for size in self._usable_sizes(share)]
        return arms

    def _usable_sizes(self, items: int) -> list[int]:
        most = min(items, self._max_size)
        return [size for size in self._sizes if size <= most] or self._sizes[:1]

    def _untried(self, arms: list[Arm]) -> Arm | None:
        """Return an arm to learn about: one that promises more than the best, or what that rests on."""
        best = max(self._candidates(arms).values(), default=0.0)
        contested = _contested(arms)
        for arm in sorted(arms, key=lambda arm: (arm.size, arm.parallel)):
            if self.call_ms(arm) is None or self._is_stale(arm):
                promise = self._promise(arm, contested, best)
                if promise >= _SURELY_WORTH_TRYING:
                    return arm
                if promise >= _WORTH_TRYING:
                    kin = (Arm(arm.parallel, arm.size // 4), Arm(arm.parallel, arm.size // 2), arm)
                    return next(each for each in kin if each is arm or not self._is_settled(each))
        return None

    def _is_stale(self, arm: Arm) -> bool:
        record = self._records.get(arm)
        return record is not None and self._calls - record.last_seen > _STALE_AFTER

    def _is_settled(self, arm: Arm) -> bool:
        record = self._records.get(arm)
        return record is not None and len(record.times_ms) == _SAMPLES_KEPT

    def _promise(self, arm: Arm, contested: bool, best: float) -> float:
        """Return how many times the best rate an arm could reach, as far as its smaller kin tell.

        There is no hope in going on from a size that is not the best itself.
        """
        if arm.size == 1:
            return math.inf
        half = Arm(arm.parallel, arm.size // 2)
        half_ms = self.call_ms(half)
        if half_ms is None:
            return 0.0
        if arm.size == 2:  # nothing tells yet what a second item takes
            return math.inf
        forecast_ms = self._forecast_ms(arm)
        if self._worth(half, half_ms, contested) < best or forecast_ms > self._allowed_ms(arm):
            return 0.0
        return self._worth(arm, forecast_ms, contested) / best

    def _expected_ms(self, arm: Arm) -> float:
        known_ms = None if self._is_stale(arm) else self.call_ms(arm)
        return self._forecast_ms(arm) if known_ms is None else known_ms

    def _forecast_ms(self, arm: Arm) -> float:
        """Return what an arm's smaller kin let expect of it; 0.0 where they are not known."""
        half_ms = self.call_ms(Arm(arm.parallel, arm.size // 2)) if arm.size > 1 else None
        if half_ms is None:
            return 0.0
        quarter_ms = self.call_ms(Arm(arm.parallel, arm.size // 4)) if arm.size > 2 else None
        # Each item more takes about the same; the first one may bring a call's fixed costs along.
        return 2 * half_ms if quarter_ms is None else half_ms + 2 * max(half_ms - quarter_ms, 0.0)

    def _best(self, arms: list[Arm], waiting: int, within_ms: float = math.inf) -> Arm:
        candidates = self._candidates(arms)
        if not candidates:
            return arms[0]
        enough = max(candidates.values()) * _AS_GOOD
        arm = min((arm for arm, worth in candidates.items() if worth >= enough), key=self._known_ms)
        return self._padded(arm, waiting, within_ms)

    def _candidates(self, arms: list[Arm]) -> dict[Arm, float]:
        """Return what is known of the arms that keep the target, or of all where none does."""
        contested = _contested(arms)
        known = {
            arm: self._worth(arm, elapsed_ms, contested)
            for arm in arms
            if (elapsed_ms := self.call_ms(arm)) is not None
        }
        return {arm: worth for arm, worth in known.items() if self._is_in_time(arm)} or known

    def _worth(self, arm: Arm, elapsed_ms: float, contested: bool) -> float:
        """Return the items a second of calls that take so long, as they count beside other arms."""
        rate = self._rate(arm, elapsed_ms, arm.size)
        return rate * _SERIAL_WORTH if contested and not arm.parallel else rate

    def _padded(self, arm: Arm, waiting: int, within_ms: float) -> Arm:
        """Return the next size up where one call that is not full beats a full one and the rest."""
        larger = Arm(False, 2 * arm.size)
        if arm.parallel or larger.size > self._max_size or not arm.size < waiting < larger.size:
            return arm
        if self._known_ms(larger) > within_ms:
            return arm
        rate, full_rate = self.rate(larger, waiting), self.rate(arm)
        pays = rate is not None and full_rate is not None and rate > full_rate and self._is_in_time(larger)
        return larger if pays else arm

    def _is_in_time(self, arm: Arm) -> bool:
        return arm.size == 1 or self._known_ms(arm) <= self._allowed_ms(arm)

    def _allowed_ms(self, arm: Arm) -> float:
        """Return the longest that a call may take; where one item takes too long, no less than it takes."""
        return max(self._max_call_ms, _AS_QUICK * self._known_ms(Arm(arm.parallel, 1)))

    def _known_ms(self, arm: Arm) -> float:
        elapsed_ms = self.call_ms(arm)
        return float("inf") if elapsed_ms is None else elapsed_ms


def _contested(arms: Iterable[Arm]) -> bool:
    """Tell whether serial calls compete with parallel ones."""
    return any(arm.parallel for arm in arms)
