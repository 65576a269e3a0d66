// The live page. Everything comes from one stream of events; pictures are asked for one by one, as fast as they are drawn.
import { drawChart } from "/static/chart.js";
import { showGateway } from "/static/gateway.js";
import { Lamp } from "/static/lamp.js";
import { Picture } from "/static/picture.js";
import { Rejects } from "/static/rejects.js";
import { showStation, showTiles } from "/static/station.js";

const MOST_PARTS = 300;
const byId = (id) => document.getElementById(id);
const parts = new Map();
const lamp = new Lamp();
const rejects = new Rejects(document.body.dataset.archived === "yes");
const picture = new Picture();
let state = null;
let camera = null;
let drawing = false;
let begun = false;

function choose(name) {
  camera = name;
  for (const button of byId("cameras").children) {
    button.setAttribute("aria-pressed", button.textContent === name);
  }
  picture.follow(name);
  lamp.show(state, camera, parts.get(camera)?.at(-1));
  redraw();
}

function offer(names) {
  const known = [...byId("cameras").children].map((button) => button.textContent);
  if (names.join("\n") === known.join("\n")) return;
  byId("cameras").replaceChildren(...names.map((name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => choose(name));
    return button;
  }));
  choose(names.includes(camera) ? camera : names[0]);
}

function take(found) {
  for (const part of found) {
    const known = parts.get(part.camera) ?? [];
    known.push(part);
    parts.set(part.camera, known.slice(-MOST_PARTS));
  }
  const mine = found.filter((part) => part.camera === camera);
  // What had come before this page was opened is no news.
  const worst = (begun && mine.findLast((part) => part.evaluation !== "OK")) || mine.at(-1);
  begun = true;
  if (worst) lamp.show(state, camera, worst);
  rejects.take(found.filter((part) => part.evaluation !== "OK"));
  redraw();
}

// At most once a frame of the screen, however much comes.
function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawChart(byId("chart"), byId("chart-note"), parts.get(camera) ?? [], state?.marks ?? []);
  });
}

function look(shown) {
  state = shown;
  offer(Object.keys(shown.heartbeat?.cameras ?? {}));
  showStation(shown);
  showTiles(shown, camera);
  showGateway(shown.gateway);
  lamp.show(state, camera, null);
}

const stream = new EventSource("/events");
stream.addEventListener("state", (event) => look(JSON.parse(event.data)));
stream.addEventListener("parts", (event) => take(JSON.parse(event.data)));
stream.addEventListener("error", () => {
  look({ ...(state ?? { heartbeat: null, paces: {}, marks: [], missed: 0, gateway: null }), trouble: "no connection to the page's server" });
  // A login that has ended is answered with no stream at all, and the browser gives up then.
  if (stream.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 3000);
});
addEventListener("themechange", redraw);
addEventListener("resize", redraw);
