"""Whether something else used the processor while a measurement ran, so that a disturbed figure says that it is one.

with Disturbance() as watch:
    measure()
print(watch.remark)
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from engines.errors import UsageError

# Above these a measurement is called disturbed: shares of the machine's CPU time, 0 to 1.
OTHERS_LIMIT = 0.05
STEAL_LIMIT = 0.01

_PROC = Path("/proc")
_IDLE = (3, 4)  # idle and iowait in /proc/stat
_STEAL = 7
_FIELDS = 8  # user, nice, system, idle, iowait, irq, softirq, steal; guest time is in user already


class Disturbance:
    """The CPU time that others used while it is entered. Linux only; raises UsageError elsewhere.

    Ours are this process, its children and theirs, living or ended and waited for. Time is counted in ticks of
    10 ms, so a window should last a second at least.
    """

    def __init__(self) -> None:
        self.others = 0.0
        """Share of the machine's CPU time that other processes and the kernel's interrupts used, 0 to 1."""
        self.steal = 0.0
        """Share that the host of this virtual machine gave to somebody else, 0 to 1."""
        self._machine: list[int] = []
        self._own = 0

    @property
    def share(self) -> float:
        """Share of the machine's CPU time that was not ours and not idle, 0 to 1."""
        return self.others + self.steal

    @property
    def disturbed(self) -> bool:
        """Whether the measurement inside says more about its neighbours than it should."""
        return self.others > OTHERS_LIMIT or self.steal > STEAL_LIMIT

    @property
    def remark(self) -> str:
        """What to write beside the figure; empty where nothing disturbed it."""
        return f"disturbed: others used {self.share:.0%} of the CPU" if self.disturbed else ""

    def __enter__(self) -> Disturbance:
        self._machine, self._own = _machine_ticks(), own_ticks()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        own = own_ticks() - self._own
        spent = [after - before for before, after in zip(self._machine, _machine_ticks(), strict=True)]
        total = max(sum(spent), 1)
        busy = total - sum(spent[field] for field in _IDLE) - spent[_STEAL]
        self.others = max(busy - own, 0) / total
        self.steal = max(spent[_STEAL], 0) / total


def worst(watches: Iterable[Disturbance]) -> Disturbance:
    """The one of several windows in which others used most; an undisturbed one where there is none."""
    return max(watches, key=lambda watch: (watch.disturbed, watch.share), default=Disturbance())


def average(watches: Sequence[Disturbance]) -> Disturbance:
    """Several windows as one; an undisturbed one where there is none."""
    combined = Disturbance()
    if watches:
        combined.others = statistics.fmean(watch.others for watch in watches)
        combined.steal = statistics.fmean(watch.steal for watch in watches)
    return combined


def own_ticks() -> int:
    """CPU time of this process and all below it so far, in ticks (`os.sysconf("SC_CLK_TCK")` a second)."""
    processes = _processes()
    family, todo = 0, [os.getpid()]
    while todo:
        process = todo.pop()
        family += processes[process][1] if process in processes else 0
        todo += [child for child, (parent, _) in processes.items() if parent == process]
    return family


def _processes() -> dict[int, tuple[int, int]]:
    """Parent, and ticks with those of ended children, of every process that can be seen."""
    found = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                fields = stat_fields(folder / "stat")
            except OSError:  # it has ended meanwhile
                continue
            found[int(folder.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    return found


def stat_fields(path: Path) -> list[str]:
    """The fields of a /proc/.../stat file from the third one, the state, on. Raises OSError."""
    # The second one, the name, may hold spaces and brackets.
    return path.read_text(errors="replace").rpartition(")")[2].split()


def _machine_ticks() -> list[int]:
    try:
        line = (_PROC / "stat").read_text().partition("\n")[0]
    except OSError:
        raise UsageError(f"expected the CPU times of Linux in {_PROC / 'stat'}, found none; measure on Linux") from None
    return [int(field) for field in line.split()[1 : 1 + _FIELDS]]
