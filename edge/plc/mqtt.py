"""MQTT: every ruling, fault and status as JSON, at least once; the broker itself tells when the gateway has gone."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from edge.plc.conveyor import Ruling
from edge.plc.failsafe import Change
from edge.plc.log import describe
from edge.plc.output import Output, OutputError
from edge.plc.signals import Action, Status
from edge.plc.tables import MqttTable
from edge.publisher import utc
from engines.errors import ConfigError
from engines.extras import import_extra

_QOS = 1
_GOODBYE_S = 2.0


class Mqtt(Output):
    """Publishes under `PREFIX/STATION/`: `result`, `fault`, and, retained, `status` and `online`.

    The library's own thread connects, and connects again; what is published meanwhile waits there.
    """

    def __init__(self, table: MqttTable, station: str) -> None:
        self._table = table
        self._topic = f"{table.prefix}/{station}"
        self._client: Any = None

    def open(self) -> None:
        """Begin to connect; the broker may be absent for now. Raises UsageError or ConfigError (password)."""
        library = import_extra("paho.mqtt.client", "plc")
        versions = import_extra("paho.mqtt.enums", "plc").CallbackAPIVersion
        table = self._table
        client = library.Client(versions.VERSION2, client_id=f"edge-inspect {self._topic}")
        client.max_queued_messages_set(table.waiting)
        client.reconnect_delay_set(min_delay=1, max_delay=30)
        client.on_connect = self._say_online
        client.will_set(f"{self._topic}/online", "0", _QOS, retain=True)
        if table.user is not None:
            client.username_pw_set(table.user, self._password())
        if table.ca is not None:
            client.tls_set(ca_certs=str(table.ca))
        client.connect_async(table.host, table.port, keepalive=max(round(table.keepalive_s), 1))
        client.loop_start()
        self._client = client

    def carry_out(self, action: Action) -> None:
        """Publish one action. Raises OutputError where too many wait for the broker already."""
        names = {Ruling: "result", Status: "status", Change: "fault"}
        name = names.get(type(action))
        if name is None:
            return
        payload = msgspec.json.encode({"at": utc(time.time()), **describe(action)})
        info = self._client.publish(f"{self._topic}/{name}", payload, _QOS, retain=name == "status")
        if info.rc == import_extra("paho.mqtt.client", "plc").MQTT_ERR_QUEUE_SIZE:
            raise OutputError(f"plc.mqtt: {self._table.waiting} messages wait for the broker; a {name} was left out")

    def close(self) -> None:
        """Say good-bye, if the broker is there, and disconnect."""
        client, self._client = self._client, None
        if client is None:
            return
        if client.is_connected():
            client.publish(f"{self._topic}/online", "0", _QOS, retain=True).wait_for_publish(_GOODBYE_S)
        client.disconnect()
        client.loop_stop()

    def _say_online(self, client: Any, *_: Any) -> None:
        client.publish(f"{self._topic}/online", "1", _QOS, retain=True)

    def _password(self) -> str | None:
        path = self._table.password
        if path is None:
            return None
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"plc.mqtt.password: expected a file with the password at {path}: {error}") from None
