// One archived part: its picture with the heat map over it.
import { decode, drawPart, scaleOfPage } from "/static/heat.js";

const canvas = document.getElementById("picture");
const button = document.getElementById("heat");

async function fetched(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return decode(await response.blob());
}

async function show() {
  const { picture, map, view } = canvas.dataset;
  const [frame, values] = await Promise.all([fetched(picture), map ? fetched(map) : null]);
  const scale = scaleOfPage();
  const draw = () => {
    const heat = button?.getAttribute("aria-pressed") === "true";
    drawPart(canvas, frame, values, view && JSON.parse(view), frame, scale, heat);
    canvas.dataset.drawn = heat ? "heat" : "plain";
  };
  const bar = document.getElementById("scale");
  if (bar) scale.drawBar(bar);
  button?.addEventListener("click", () => {
    button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
    draw();
  });
  draw();
}

if (canvas) show().catch(() => canvas.setAttribute("aria-label", "the picture is not in the archive any more"));
