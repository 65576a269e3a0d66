"""Whether messages of a station are missing, repeated or late: numbers and times, no sockets."""

from __future__ import annotations

from dataclasses import dataclass

from edge.verdict import Heartbeat, State, Verdict

SILENT_INTERVALS = 3


@dataclass(frozen=True)
class Gap:
    """Verdicts `first` to `last` of a station's session that were sent and have not come."""

    station: str
    session_id: str
    first: int
    last: int


@dataclass(frozen=True)
class Silence:
    """A station that has not sent a heartbeat for `seconds`."""

    station: str
    seconds: float


@dataclass
class _Station:
    session_id: str
    last_seq: int
    interval_s: float
    heard_at: float
    expected: bool = True
    # Joined by a heartbeat: the verdict that it names may follow, since the publisher repeats it.
    welcome_seq: int = 0


class SequenceWatch:
    """Checks the messages of any number of stations for gaps and silence. Times are monotonic, in seconds."""

    def __init__(self) -> None:
        self._stations: dict[str, _Station] = {}

    def repeated(self, message: Verdict | Heartbeat) -> bool:
        """Whether it is a verdict that has been noted already: a publisher repeats its last one for new readers."""
        known = self._stations.get(message.station)
        return (
            isinstance(message, Verdict)
            and known is not None
            and known.session_id == message.session_id
            and message.seq <= known.last_seq
            and message.seq != known.welcome_seq
        )

    def note(self, message: Verdict | Heartbeat, now: float) -> Gap | None:
        """Take one message into account; return what is missing before it."""
        known = self._stations.get(message.station)
        sent = message.seq if isinstance(message, Verdict) else message.last_seq
        before = sent - 1 if isinstance(message, Verdict) else sent
        if known is None:
            # Joined late: what was sent before is not missing, it was never asked for.
            known = _Station(message.session_id, before, interval_s=0.0, heard_at=now, welcome_seq=before)
            self._stations[message.station] = known
        elif known.session_id != message.session_id:
            known.session_id, known.last_seq, known.welcome_seq = message.session_id, 0, 0
        gap = None
        if before > known.last_seq:
            gap = Gap(message.station, message.session_id, known.last_seq + 1, before)
        known.last_seq = max(known.last_seq, sent)
        if isinstance(message, Verdict):
            known.welcome_seq = 0
        else:
            known.interval_s, known.heard_at = message.interval_s, now
            known.expected = message.state is not State.STOPPED
        return gap

    def silent(self, now: float) -> list[Silence]:
        """Stations that have just become silent, each told once; one that said Stopped owes nothing more."""
        found = []
        for name, station in self._stations.items():
            quiet_s = now - station.heard_at
            if station.expected and station.interval_s and quiet_s > SILENT_INTERVALS * station.interval_s:
                station.expected = False
                found.append(Silence(name, quiet_s))
        return found
