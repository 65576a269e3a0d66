"""Triggers on their way to vision: one that is not confirmed in time may take the picture of another part."""

from __future__ import annotations

from edge.requests import Refused, Reply, Triggered, TriggerRequest

_KIND = "trigger"


class PendingTriggers:
    """Who has to confirm what until when. Times are monotonic, in seconds."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._until: dict[str, tuple[float, int]] = {}

    def ask(self, number: int, camera: str, encoder: int, now: float) -> TriggerRequest:
        """The request for one part and camera."""
        request_id = f"{_KIND} {number} {camera}"
        self._until[request_id] = (now + self._limit_s, number)
        return TriggerRequest(camera=camera, part_id=str(number), encoder=encoder, request_id=request_id)

    def settle(self, reply: Reply) -> tuple[int, str] | None:
        """Take an answer; return number and reason of a part whose picture is not taken."""
        _, number = self._until.pop(reply.request_id, (0.0, None))
        if number is None or isinstance(reply, Triggered):
            return None
        return number, reply.reason if isinstance(reply, Refused) else f"vision answered {type(reply).__name__}"

    def overdue(self, now: float) -> list[int]:
        """Numbers of the parts whose triggers nobody has confirmed in time, each once."""
        gone = [request_id for request_id, (until, _) in self._until.items() if until <= now]
        return [self._until.pop(request_id)[1] for request_id in gone]
