"""Reads the verdicts of a station and says for which parts the reject has to fire.

python read_verdicts.py tcp://127.0.0.1:5555 [--control tcp://127.0.0.1:5556] [--key panel.key]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.client import GapError, SilenceError, Subscriber
from edge.verdict import Evaluation, MessageError, State, Verdict


def main() -> None:
    """Print one line for every part, until Ctrl-C."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("address")
    parser.add_argument("--control", help="fill gaps from here")
    parser.add_argument("--key", type=Path, help="key file of this client")
    options = parser.parse_args()
    with Subscriber(options.address, control=options.control, key=options.key) as subscriber:
        while True:
            try:
                message = subscriber.receive(timeout_s=1.0)
            except (GapError, SilenceError, MessageError) as error:
                print(f"reject: {error}", flush=True)
                continue
            if isinstance(message, Verdict):
                word = "pass" if message.evaluation is Evaluation.OK else "reject"
                print(
                    f"{word}: {message.seq} {message.part_id} {message.evaluation.value} {message.reason}", flush=True
                )
            elif message is not None and message.state is not State.RUNNING:
                print(f"reject: the station is {message.state.value}", flush=True)


if __name__ == "__main__":
    main()
