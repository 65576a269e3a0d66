// State, figures and cameras of the station, as its heartbeat tells them.
const LOOKS = { Running: "ok", Starting: "idle", Degraded: "warn", Disarmed: "bad", Stopping: "warn", Stopped: "bad" };
const byId = (id) => document.getElementById(id);
const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);
const rounded = (value, digits = 1) => (value === null || value === undefined ? "–" : value.toFixed(digits));

export function showStation(shown) {
  const beat = shown.heartbeat;
  const state = shown.trouble ? "Silent" : (beat?.state ?? "Connecting");
  byId("state").dataset.look = shown.trouble ? "bad" : (LOOKS[state] ?? "idle");
  byId("state").lastElementChild.textContent = state;
  const trouble = shown.trouble || beat?.reason || "";
  if (byId("trouble").textContent !== trouble) byId("trouble").textContent = trouble;
  byId("trouble").hidden = !trouble;
  if (!beat) return;
  const recipes = new Set(Object.values(beat.cameras).map((camera) => camera.recipe));
  byId("recipe").textContent = `Recipe ${[...recipes].join(", ")}`;
  const rows = Object.entries(beat.cameras).map(([name, camera]) => row(name, camera));
  byId("status").replaceChildren(...rows);
  byId("station-note").textContent = notes(shown).join(" · ");
}

function row(name, camera) {
  const { ok, not_ok, not_decidable, dropped } = camera.counters;
  const drift = Object.entries(camera.drift).filter(([, watch]) => watch.alarm).map(([watch]) => watch);
  const made = document.createElement("tr");
  made.append(
    cell(name, "th"), pill(camera.state, LOOKS[camera.state] ?? "idle", camera.reason), cell(camera.recipe), cell(ok, "td", "n"), cell(not_ok, "td", "n"),
    cell(not_decidable, "td", "n"), cell(sum(dropped), "td", "n"), cell(drift.join(", ") || "none"),
  );
  return made;
}

// A cell with a word, its colour and shape, and the reason for it.
export function pill(word, look, reason = "") {
  const made = cell("");
  const shown = document.createElement("span");
  shown.className = "pill small";
  shown.dataset.look = look;
  shown.append(document.createElement("i"), document.createElement("b"));
  shown.lastElementChild.textContent = word;
  made.append(shown);
  if (reason) made.append(` ${reason}`);
  return made;
}

export function cell(text, name = "td", classes = "") {
  const made = document.createElement(name);
  if (name === "th") made.scope = "row";
  made.className = classes;
  made.textContent = text;
  return made;
}

function notes(shown) {
  const { counters, archive } = shown.heartbeat;
  const found = [];
  if (archive) {
    const used = `${(archive.bytes / 1e9).toFixed(2)} of ${(archive.limit_bytes / 1e9).toFixed(0)} GB`;
    found.push(`Archive ${archive.state}: ${archive.parts} parts, ${used}${archive.reason ? `; ${archive.reason}` : ""}`);
  }
  if (counters.reconnects) found.push(`${counters.reconnects} reconnects of cameras`);
  if (sum(counters.restarts)) found.push(`${sum(counters.restarts)} workers started again`);
  if (shown.missed) found.push(`this page missed ${shown.missed} verdicts`);
  return found;
}

export function showTiles(shown, camera) {
  const status = shown.heartbeat?.cameras[camera];
  const pace = shown.paces[camera];
  byId("rate").textContent = rounded(pace?.parts_a_minute, 0);
  byId("latency").textContent = rounded(pace?.p50_ms);
  byId("latency-note").textContent = `ms to the verdict; 99 % within ${rounded(pace?.p99_ms)}`;
  if (!status) return;
  const { ok, not_ok, not_decidable, dropped } = status.counters;
  const all = ok + not_ok + not_decidable;
  byId("rejected").textContent = not_ok + not_decidable;
  byId("rejected-note").textContent = all ? `rejected of ${all}, ${((100 * (not_ok + not_decidable)) / all).toFixed(1)} %` : "rejected";
  byId("dropped").textContent = sum(dropped);
  const causes = Object.entries(dropped).map(([cause, count]) => `${count} ${cause}`);
  byId("dropped-note").textContent = causes.length ? `dropped: ${causes.join(", ")}` : "dropped";
}
