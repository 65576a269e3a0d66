// Scores of the last parts against their threshold. Rejects differ by shape, too.
const HEIGHT = 220;
const LEFT = 62;
const RIGHT = 14;
const TOP = 14;
const BOTTOM = 24;

export function drawChart(canvas, note, parts, marks) {
  const width = canvas.clientWidth;
  const ratio = devicePixelRatio;
  canvas.width = width * ratio;
  canvas.height = HEIGHT * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const scored = parts.filter((part) => part.score !== null);
  if (!scored.length) note.textContent = "none so far";
  if (!scored.length || width < 100) return;
  const colours = palette();
  const place = axes(parts, scored, width);
  drawField(context, place, scored, width, colours);
  drawMarks(context, place, parts, marks, colours);
  drawDots(context, place, parts, colours);
  describe(canvas, note, parts);
}

function palette() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ink", "soft", "line", "ok", "bad", "warn", "good-dot", "bad-tint"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function axes(parts, scored, width) {
  const values = scored.flatMap((part) => [part.score, part.threshold]);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const margin = 0.08 * (high - low || 1);
  const step = (width - LEFT - RIGHT) / Math.max(parts.length, 60);
  return {
    low: low - margin,
    high: high + margin,
    x: (index) => width - RIGHT - (parts.length - 0.5 - index) * step,
    y: (score) => TOP + ((high + margin - score) / (high - low + 2 * margin)) * (HEIGHT - TOP - BOTTOM),
  };
}

function drawField(context, place, scored, width, colours) {
  const limit = place.y(scored.at(-1).threshold);
  context.fillStyle = colours["bad-tint"];
  context.fillRect(LEFT, TOP, width - LEFT - RIGHT, limit - TOP);
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const value of ticks(place.low, place.high)) {
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    segment(context, LEFT, place.y(value), width - RIGHT, place.y(value));
    context.fillStyle = colours.soft;
    if (Math.abs(place.y(value) - limit) > 12) context.fillText(String(Number(value.toPrecision(6))), LEFT - 8, place.y(value));
  }
  context.strokeStyle = colours.bad;
  context.lineWidth = 1.5;
  context.setLineDash([6, 4]);
  segment(context, LEFT, limit, width - RIGHT, limit);
  context.setLineDash([]);
  context.fillStyle = colours.bad;
  context.fillText("limit", LEFT - 8, limit);
  context.fillStyle = colours.soft;
  context.fillText("newest", width - RIGHT, HEIGHT - 9);
}

function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((found) => found >= rough * 0.999);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(value);
  return found;
}

function drawMarks(context, place, parts, marks, colours) {
  context.textAlign = "left";
  for (const mark of marks) {
    const index = parts.findIndex((part) => part.session_id === mark.session_id && part.seq >= mark.seq);
    if (index < 0 || parts[index].camera !== mark.camera || parts[index].seq - mark.seq > parts.length) continue;
    context.strokeStyle = context.fillStyle = colours.warn;
    segment(context, place.x(index), TOP, place.x(index), HEIGHT - BOTTOM);
    context.fillText(`drift: ${mark.watch}`, place.x(index) + 4, TOP + 8);
  }
}

function drawDots(context, place, parts, colours) {
  parts.forEach((part, index) => {
    const x = place.x(index);
    if (part.score === null) {
      context.fillStyle = colours.warn;
      context.textAlign = "center";
      context.fillText("?", x, HEIGHT - BOTTOM - 8);
    } else if (part.evaluation === "OK") {
      context.fillStyle = part.review ? colours.warn : colours["good-dot"];
      context.beginPath();
      context.arc(x, place.y(part.score), 2.6, 0, 7);
      context.fill();
    } else {
      context.strokeStyle = colours.bad;
      context.lineWidth = 2;
      const y = place.y(part.score);
      segment(context, x - 4, y - 4, x + 4, y + 4);
      segment(context, x - 4, y + 4, x + 4, y - 4);
    }
  });
}

function segment(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

function describe(canvas, note, parts) {
  const rejected = parts.filter((part) => part.evaluation === "NotOK").length;
  const open = parts.filter((part) => part.evaluation === "NotDecidable").length;
  const text = `last ${parts.length} parts: ${rejected} above the limit${open ? `, ${open} not decided` : ""}`;
  if (note.textContent === text) return;
  note.textContent = text;
  canvas.setAttribute("aria-label", `scores of the ${text}`);
}
