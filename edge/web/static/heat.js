// Heat maps over pictures, on one colour scale that is tied to the map's threshold, as in the calibration's report:
// 0 is a quiet place of a good part and 1 the threshold. The same colour is the same value in every picture.

const LEVELS = 1024;
const EDGE = 255;

export class Scale {
  // `stops`: place on the scale, red, green, blue, opacity; ascending.
  constructor(stops) {
    this.top = stops[stops.length - 1][0];
    this.colours = new Uint8ClampedArray(4 * LEVELS);
    for (let level = 0; level < LEVELS; level++) {
      const [red, green, blue, opacity] = between(stops, (level / (LEVELS - 1)) * this.top);
      this.colours.set([red, green, blue, 255 * opacity], 4 * level);
    }
  }

  level(position) {
    return 4 * Math.round((Math.min(Math.max(position, 0), this.top) / this.top) * (LEVELS - 1));
  }

  // A bar of the scale from 0 to its top, so that one knows what a colour means.
  drawBar(canvas) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    for (let x = 0; x < canvas.width; x++) {
      const from = this.level((x / (canvas.width - 1)) * this.top);
      for (let y = 0; y < canvas.height; y++) {
        const to = 4 * (y * canvas.width + x);
        image.data.set(this.colours.subarray(from, from + 3), to);
        image.data[to + 3] = Math.max(this.colours[from + 3] * 1.5, 20);
      }
    }
    context.putImageData(image, 0, 0);
  }
}

function between(stops, position) {
  const above = Math.max(stops.findIndex((stop) => stop[0] >= position), 1);
  const [low, high] = [stops[above - 1], stops[above]];
  const share = (position - low[0]) / (high[0] - low[0] || 1);
  return low.slice(1).map((value, index) => value + share * (high[index + 1] - value));
}

// Draws `picture` on the canvas and, where there is one, `map` over it: its grey values are linear from view.low to
// view.high, and it lies on the frame of `frame.width` by `frame.height` at view.x, y, width, height.
export function drawPart(canvas, picture, map, view, frame, scale, heat) {
  canvas.width = picture.width;
  canvas.height = picture.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  if (!map || !heat) return;
  const zoom = picture.width / frame.width;
  const values = spread(map, view, zoom, canvas);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  blend(image, values, view, scale);
  context.putImageData(image, 0, 0);
}

// The map's grey values at every pixel of the canvas; its alpha is 0 where the network saw nothing.
function spread(map, view, zoom, canvas) {
  const layer = new OffscreenCanvas(canvas.width, canvas.height);
  const context = layer.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(map, view.x * zoom, view.y * zoom, view.width * zoom, view.height * zoom);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
}

function blend(image, values, view, scale) {
  const { data, width, height } = image;
  const quiet = view.quiet ?? view.low;
  const span = Math.max(view.threshold - quiet, 1e-9);
  const levels = Uint16Array.from({ length: 256 }, (_, grey) =>
    scale.level((view.low + (grey / 255) * (view.high - view.low) - quiet) / span));
  const limit = ((view.threshold - view.low) / Math.max(view.high - view.low, 1e-30)) * 255;
  const above = (at) => values[at + 3] > 0 && values[at] > limit;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      mix(data, at, scale.colours, levels[values[at]], values[at + 3] > 0);
      const here = above(at);
      if ((x > 0 && above(at - 4) !== here) || (y > 0 && above(at - 4 * width) !== here)) {
        data[at] = data[at + 1] = data[at + 2] = EDGE;
      }
    }
  }
}

// Muted, so that the colours of the part and those of the scale are told apart; darker where nothing was looked at.
function mix(data, at, colours, level, seen) {
  const grey = 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
  const opacity = seen ? colours[level + 3] / 255 : 0;
  const light = seen ? 1 : 0.45;
  for (let c = 0; c < 3; c++) {
    const base = (0.65 * grey + 0.35 * data[at + c]) * light;
    data[at + c] = base * (1 - opacity) + colours[level + c] * opacity;
  }
}

export function scaleOfPage() {
  return new Scale(JSON.parse(document.body.dataset.stops));
}

// Exact values: a map is no photograph, and its greys are not to be fitted to any screen.
export function decode(blob) {
  return createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}
