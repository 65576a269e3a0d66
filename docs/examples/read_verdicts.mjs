// Reads the verdicts of a station and says for which parts the reject has to fire. Node.js 18 or later; npm install zeromq
//
//   node read_verdicts.mjs tcp://127.0.0.1:5555 [panel.key]

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// Unlike `import`, this looks into NODE_PATH, too.
const { Subscriber } = createRequire(import.meta.url)("zeromq");

const SILENT_INTERVALS = 3;
const [address, keyFile] = process.argv.slice(2);
if (!address) {
  console.error("usage: node read_verdicts.mjs ADDRESS [KEYFILE]");
  process.exit(2);
}

const say = (word, text) => console.log(`${word}: ${text}`);

/** What of a session has come, and what is missing. One for each station. */
class Sequence {
  session = null;
  last = 0;

  /** Returns false for a verdict that is known already: the last one is repeated for every new reader. */
  take(message) {
    const isVerdict = message.type === "verdict";
    const sent = isVerdict ? message.seq : message.last_seq;
    const before = isVerdict ? sent - 1 : sent;
    if (this.session === null) {
      this.last = before; // joined late: what was sent before was never asked for
    } else if (this.session !== message.session_id) {
      this.last = 0; // the station was started again, and numbers begin anew
    } else if (isVerdict && sent <= this.last) {
      return false;
    }
    this.session = message.session_id;
    if (before > this.last) say("reject", `verdicts ${this.last + 1} to ${before} never came`);
    this.last = Math.max(this.last, sent);
    return true;
  }
}

/** Says once when a station has missed its heartbeats. */
class Silence {
  timer = undefined;

  heard(beat) {
    clearTimeout(this.timer);
    if (beat.state === "Stopped") return;
    const limit = SILENT_INTERVALS * beat.interval_s * 1000;
    this.timer = setTimeout(() => say("reject", `${beat.station} is silent`), limit);
    this.timer.unref();
  }
}

const socket = new Subscriber({ maxMessageSize: 1 << 20 });
if (keyFile) {
  const key = JSON.parse(readFileSync(keyFile, "utf8"));
  socket.curveServerKey = key.station;
  socket.curvePublicKey = key.public;
  socket.curveSecretKey = key.secret;
}
socket.connect(address);
socket.subscribe("");

const stations = new Map();
for await (const [, raw] of socket) {
  const message = JSON.parse(raw.toString());
  if (message.schema !== 1) {
    say("reject", `schema ${message.schema} is not known`);
    continue;
  }
  if (!stations.has(message.station)) stations.set(message.station, [new Sequence(), new Silence()]);
  const [sequence, silence] = stations.get(message.station);
  if (!sequence.take(message)) continue;
  if (message.type === "heartbeat") {
    silence.heard(message);
    if (message.state !== "Running") say("reject", `the station is ${message.state}`);
  } else {
    const word = message.evaluation === "OK" ? "pass" : "reject";
    say(word, `${message.seq} ${message.part_id} ${message.evaluation} ${message.reason}`);
  }
}
