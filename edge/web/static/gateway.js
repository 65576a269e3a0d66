// The gateway to the PLC, as its own heartbeat tells it: what it lets pass, why not, and what it has sorted.
import { cell, pill } from "/static/station.js";

const STATES = { Ready: ["Ready", "ok"], NotReady: ["Not ready", "warn"], Stopped: ["Stopped", "bad"] };
const LINKS = { up: ["Connected", "ok"], lost: ["Lost", "bad"], frozen: ["Stands still", "bad"], none: ["None", "idle"] };
const byId = (id) => document.getElementById(id);

export function showGateway(gateway) {
  byId("gateway").hidden = !gateway;
  const condition = gateway?.heartbeat?.condition;
  const locked = Boolean(condition?.lockout && !gateway.trouble);
  // With a graver fault the reason is that one's.
  const why = condition?.fault === "lockout" ? `: ${condition.reason}` : "";
  const words = locked ? `Locked out${why}. Every part is rejected until somebody resets it at the PLC.` : "";
  if (byId("lockout").textContent !== words) byId("lockout").textContent = words;
  byId("lockout").hidden = !locked;
  if (gateway) byId("gateway-status").replaceChildren(row(gateway, condition));
}

function row({ heartbeat, trouble }, condition) {
  const made = document.createElement("tr");
  made.append(cell("PLC gateway", "th"), state(condition, trouble));
  if (!heartbeat) {
    made.append(...Array.from({ length: 5 }, () => cell("–")));
    return made;
  }
  const { released, rejected, late } = heartbeat.parts;
  made.append(
    trouble ? cell("–") : pill(...LINKS[condition.plc]), cell(released, "td", "n"), cell(rejected, "td", "n"), cell(late, "td", "n"),
    condition.rate_alarm ? pill("Many rejects", "warn") : cell("none"),
  );
  return made;
}

// What it last said of itself is no news any more once it is silent.
function state(condition, trouble) {
  if (trouble) return pill("Silent", "bad", trouble);
  return condition.lockout ? pill("Locked out", "bad", condition.reason) : pill(...STATES[condition.state], condition.reason);
}
