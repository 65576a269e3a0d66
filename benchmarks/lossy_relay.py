"""A way from publisher to subscriber on which some verdicts are lost, as in a switch that is too busy."""

from __future__ import annotations

import random
import threading

import zmq

from edge.worker import Job


class LossyRelay(Job):
    """Passes messages on, but for the share `loss` of the verdicts. Heartbeats and subscriptions always go through."""

    def __init__(self, source: str, bind: str, loss: float) -> None:
        self.lost = 0
        self.loss = loss
        self._source = source
        self._bind = bind
        self._random = random.Random(11)

    def setup(self) -> None:
        """Connect to the publisher and bind for the subscriber."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._from = self._context.socket(zmq.XSUB)
        self._to = self._context.socket(zmq.XPUB)
        self._from.connect(self._source)
        self._to.bind(self._bind)
        self._poller = zmq.Poller()
        for each in (self._from, self._to):
            self._poller.register(each, zmq.POLLIN)

    def step(self, stopping: threading.Event) -> bool:
        """Pass on what has come."""
        ready = dict(self._poller.poll(50))
        if self._to in ready:
            self._from.send(self._to.recv())
        if self._from in ready:
            message = self._from.recv_multipart()
            if message[0].endswith(b"/verdict") and self._random.random() < self.loss:
                self.lost += 1
            else:
                self._to.send_multipart(message)
        return True

    def teardown(self) -> None:
        """Close both sockets."""
        self._context.destroy(linger=0)
