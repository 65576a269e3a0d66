"""Fills a gap with what the daemon still keeps of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from edge.asker import Asker, NoAnswerError
from edge.requests import ReplayReply, ReplayRequest
from edge.sequence import Gap
from edge.verdict import MessageError, Verdict, decode

_log = logging.getLogger(__name__)


class Refill:
    """Asks a daemon's control socket for verdicts that did not come. Use it as a context manager, in one thread."""

    def __init__(self, endpoint: str, key: Path | None) -> None:
        self._endpoint = endpoint
        self._key = key
        self._open = ExitStack()
        self._asker: Asker | None = None

    def __enter__(self) -> Refill:
        self._asker = self._open.enter_context(Asker(self._endpoint, self._key))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._asker = None

    def fetch(self, gap: Gap, limit_s: float) -> Mapping[int, tuple[bytes, Verdict]]:
        """Return what of a gap is still kept, by number, as JSON and decoded. It takes `limit_s` seconds at most."""
        found: dict[int, tuple[bytes, Verdict]] = {}
        deadline = time.monotonic() + limit_s
        first = gap.first
        try:
            while first <= gap.last:
                verdicts = self._ask(gap, first, deadline - time.monotonic())
                if not verdicts:
                    break
                found.update(verdicts)
                first = max(verdicts) + 1
        except NoAnswerError as error:
            _log.warning("no replay: %s", error)
            # The answer may still come, and must not be taken for that to the next question.
            self.__exit__()
            self.__enter__()
        except MessageError as error:
            _log.warning("no replay: %s", error)
        return found

    def _ask(self, gap: Gap, first: int, timeout_s: float) -> dict[int, tuple[bytes, Verdict]]:
        if self._asker is None:
            raise NoAnswerError("a Refill asks inside its `with` block only")
        request = ReplayRequest(session_id=gap.session_id, first=first, last=gap.last)
        reply = self._asker.ask(request, max(timeout_s, 0.0))
        if not isinstance(reply, ReplayReply):
            raise MessageError(f"expected verdicts, found {reply}")
        numbered = enumerate(map(bytes, reply.verdicts), reply.first)
        return {number: (raw, _expected(raw, gap, number)) for number, raw in numbered}


def _expected(raw: bytes, gap: Gap, number: int) -> Verdict:
    message = decode(raw)
    if (
        not isinstance(message, Verdict)
        or (message.station, message.session_id, message.seq) != (gap.station, gap.session_id, number)
        or not gap.first <= number <= gap.last
    ):
        raise MessageError(f"expected verdict {number} of {gap.station} in session {gap.session_id}, found another")
    return message
