"""`edge-inspect watch`: verdicts as lines for people, or as the JSON they came as."""

from __future__ import annotations

import argparse
import sys
import time

from edge.client import GapError, SilenceError, Subscriber
from edge.verdict import Evaluation, Heartbeat, MessageError, State, Verdict
from engines.errors import UsageError

_COLOURS = {
    Evaluation.OK: "\033[32m",
    Evaluation.NOT_OK: "\033[31m",
    Evaluation.NOT_DECIDABLE: "\033[33m",
}
_PLAIN = "\033[0m"
_PATIENCE_S = 0.5
_MARKS = {GapError: "GAP", SilenceError: "SILENCE", MessageError: "FOREIGN"}


class Printer:
    """Turns messages into lines on stdout; what is wrong goes to stderr where stdout carries JSON."""

    def __init__(self, as_json: bool, heartbeats: bool, coloured: bool) -> None:
        self._as_json = as_json
        self._heartbeats = heartbeats
        self._coloured = coloured
        self._states: dict[str, tuple[str, State, str]] = {}

    def show(self, message: Verdict | Heartbeat, raw: bytes) -> None:
        """Print one message, at once: a pipe must not hold a verdict back."""
        if isinstance(message, Verdict):
            print(raw.decode() if self._as_json else self._verdict_line(message), flush=True)
        elif self._heartbeats:
            print(raw.decode() if self._as_json else _clean(_heartbeat_line(message)), flush=True)
        elif not self._as_json:
            self._show_change(message)

    def warn(self, error: GapError | SilenceError | MessageError) -> None:
        """Print what is wrong."""
        line = f"{_MARKS[type(error)]:<9}{error}"
        print(_clean(line), file=sys.stderr if self._as_json else sys.stdout, flush=True)

    def _show_change(self, beat: Heartbeat) -> None:
        now = (beat.session_id, beat.state, beat.reason)
        if self._states.get(beat.station) != now:
            self._states[beat.station] = now
            print(_clean(_heartbeat_line(beat)), flush=True)

    def _verdict_line(self, verdict: Verdict) -> str:
        word = f"{verdict.evaluation.value:<12}"
        score = "       -" if verdict.score is None else f"{verdict.score:8.3f}"
        name = verdict.part_id if verdict.part_id is not None else f"frame {verdict.frame_id}"
        part = f"{verdict.camera}/{name}"
        reason = f"  ({verdict.reason})" if verdict.evaluation is Evaluation.NOT_DECIDABLE else ""
        if verdict.review:
            reason = "  (to be reviewed)"
        before = _clean(f"{_clock(verdict.sent_at)}  {verdict.station}  {verdict.seq:>6}  ")
        after = f"  score {score}  limit {verdict.threshold:8.3f}  {verdict.stage_ms.total:7.1f} ms  {part}{reason}"
        if self._coloured:
            word = f"{_COLOURS[verdict.evaluation]}{word}{_PLAIN}"
        return before + word + _clean(after)


def watch_stations(options: argparse.Namespace) -> int:
    """Print events until `--count` verdicts have come, or Ctrl-C. Raises SilenceError when `--timeout` passes."""
    if options.count is not None and options.count < 1:
        raise UsageError(f"expected --count of at least 1, found {options.count}")
    endpoints = options.connect or ["tcp://127.0.0.1:5555"]
    printer = Printer(options.json, options.heartbeats, coloured=not options.json and sys.stdout.isatty())
    shown = 0
    heard_at = time.monotonic()
    with Subscriber(*endpoints, station=options.station, key=options.key) as subscriber:
        while options.count is None or shown < options.count:
            message = _next(subscriber, printer)
            if message is not None:
                printer.show(message, subscriber.raw)
                heard_at = time.monotonic()
                shown += isinstance(message, Verdict)
            elif options.timeout is not None and time.monotonic() - heard_at > options.timeout:
                raise SilenceError(
                    f"nothing heard from {', '.join(endpoints)} for {options.timeout:g} s; is the daemon running "
                    "there, and does it want a --key?"
                )
    return 0


def _next(subscriber: Subscriber, printer: Printer) -> Verdict | Heartbeat | None:
    try:
        return subscriber.receive(_PATIENCE_S)
    except (GapError, SilenceError, MessageError) as error:
        printer.warn(error)
        return None


def _heartbeat_line(beat: Heartbeat) -> str:
    counters = beat.counters
    dropped = sum(counters.dropped.values())
    reason = f" ({beat.reason})" if beat.reason else ""
    return (
        f"{_clock(beat.sent_at)}  {beat.station}  {beat.state.value}{reason}: {beat.last_seq} verdicts, "
        f"{counters.not_ok} NotOK, {counters.not_decidable} NotDecidable, {dropped} dropped; "
        + ", ".join(f"{name} {each.recipe} on {each.engine} {each.precision}" for name, each in beat.cameras.items())
    )


def _clock(moment: str) -> str:
    return moment[11:23]


def _clean(text: str) -> str:
    # File names and reasons come from outside; none of them may steer the operator's terminal.
    return "".join(letter if letter.isprintable() else "?" for letter in text)
