"""`edge-inspect control`: asks a running daemon something over its control socket."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import msgspec
import zmq

from edge.audit.recorder import here
from edge.requests import (
    LONGEST_TEXT,
    AnyReply,
    Done,
    RecipeRequest,
    Refused,
    ReloadRequest,
    Request,
    SelfTestReply,
    SelfTestRequest,
    StatusReply,
    StatusRequest,
    Triggered,
    TriggerRequest,
    decode_reply,
    encode,
)
from edge.sockets import LONGEST_MESSAGE, connect
from engines.errors import InspectError, UsageError


class NoAnswerError(InspectError):
    """A daemon that does not answer in time."""


class Asker:
    """A connection to one daemon's control socket. Use it as a context manager, in one thread.

    `key` is the file that `edge-inspect keys new` made for this client.
    """

    def __init__(self, endpoint: str, key: Path | None = None) -> None:
        self._endpoint = endpoint
        self._key = key
        self._open = ExitStack()
        self._socket: zmq.Socket[bytes] | None = None

    def __enter__(self) -> Asker:
        context: zmq.Context[zmq.Socket[bytes]] = self._open.enter_context(zmq.Context())
        self._socket = self._open.enter_context(context.socket(zmq.DEALER))
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, LONGEST_MESSAGE)
        try:
            connect(self._socket, [self._endpoint], self._key)
        except InspectError:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket. Calling it twice is harmless."""
        self._open.close()
        self._socket = None

    def ask(self, request: Request, timeout_s: float) -> AnyReply:
        """Send one request and return its reply. Raises NoAnswerError where none comes, MessageError for foreign bytes.

        After a NoAnswerError open another one: the reply may still come, and be taken for that of the next request.
        """
        if self._socket is None:
            raise UsageError("an Asker asks inside its `with` block only")
        self._socket.send(encode(request))
        if not self._socket.poll(int(1000 * timeout_s)):
            raise NoAnswerError(
                f"{self._endpoint} has not answered within {timeout_s:g} s; is the daemon running there, with "
                "[control] bind in its station file?"
            )
        return decode_reply(self._socket.recv_multipart()[-1])


def ask_station(options: argparse.Namespace) -> int:
    """Ask what the command line says, print the answer, and return the exit code: 1 where it was refused."""
    with Asker(options.connect, options.key) as asker:
        request = msgspec.structs.replace(_request(options), asked_by=here()[:LONGEST_TEXT])
        reply = asker.ask(request, options.timeout)
    if isinstance(reply, Refused):
        print(f"refused: {reply.reason}", file=sys.stderr)
        return 1
    if isinstance(reply, StatusReply):
        print(msgspec.json.format(msgspec.json.encode(reply.status)).decode())
    elif isinstance(reply, Triggered):
        print(f"trigger {reply.trigger_id}")
    elif isinstance(reply, Done):
        print(reply.message)
    elif isinstance(reply, SelfTestReply):
        for name, result in reply.recipes.items():
            print(f"{name}: {'passed' if result.passed else 'FAILED'}, {result.reason}")
        return 0 if reply.passed else 1
    else:
        print(msgspec.json.format(encode(reply)).decode())
    return 0


def _request(options: argparse.Namespace) -> Request:
    if options.request == "trigger":
        return TriggerRequest(camera=options.camera, part_id=options.part_id, encoder=options.encoder)
    if options.request == "reload":
        return ReloadRequest()
    if options.request == "recipe":
        return RecipeRequest(camera=options.camera, recipe=options.recipe, job=options.job)
    return SelfTestRequest() if options.request == "self-test" else StatusRequest()
