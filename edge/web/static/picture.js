// The live picture: asked for anew as soon as the last one is drawn, so that a slow screen gets fewer and always the newest.
import { decode, drawPart, scaleOfPage } from "/static/heat.js";

const AGAIN_MS = 2000;
const byId = (id) => document.getElementById(id);

export class Picture {
  constructor() {
    this.camera = null;
    this.shown = null;
    this.asking = null;
    this.scale = scaleOfPage();
    this.scale.drawBar(byId("scale"));
    byId("heat").addEventListener("click", () => this.press("heat"));
    byId("hold").addEventListener("click", () => this.press("hold"));
    document.addEventListener("visibilitychange", () => this.restart());
  }

  follow(camera) {
    this.camera = camera;
    this.shown = null;
    byId("stage").dataset.empty = "yes";
    this.restart();
  }

  press(id) {
    byId(id).setAttribute("aria-pressed", byId(id).getAttribute("aria-pressed") !== "true");
    if (id === "heat") this.draw();
    else this.restart();
  }

  // Nobody looks at a hidden tab or wants pictures while one is held: then nothing is asked for.
  restart() {
    this.asking?.abort();
    this.asking = null;
    const held = byId("hold").getAttribute("aria-pressed") === "true";
    if (!this.camera || document.hidden || (held && this.shown)) return;
    this.asking = new AbortController();
    this.loop(this.camera, this.asking.signal);
  }

  async loop(camera, signal) {
    let number = 0;
    while (!signal.aborted) {
      try {
        const response = await fetch(`/live/${encodeURIComponent(camera)}?after=${number}`, { signal });
        if (response.status === 200) number = await this.take(response);
        else if (response.status !== 204) await this.explain(await response.text());
      } catch (error) {
        if (!signal.aborted) await this.explain("no connection to the page's server");
      }
    }
  }

  async explain(what) {
    byId("no-picture").textContent = what;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }

  // Four bytes for the length of the head, the head in JSON, the JPEG, and the map's PNG if there is one.
  async take(response) {
    const buffer = await response.arrayBuffer();
    const length = new DataView(buffer).getUint32(0);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    const [picture, map] = [4 + length, 4 + length + head.picture_bytes];
    const frame = await decode(new Blob([buffer.slice(picture, map)], { type: "image/jpeg" }));
    const values = map < buffer.byteLength ? await decode(new Blob([buffer.slice(map)], { type: "image/png" })) : null;
    this.shown?.frame.close();
    this.shown?.values?.close();
    this.shown = { head, frame, values };
    this.draw();
    return head.number;
  }

  draw() {
    if (!this.shown) return;
    const { head, frame, values } = this.shown;
    const heat = byId("heat").getAttribute("aria-pressed") === "true";
    drawPart(byId("picture"), frame, values, head.view, head, this.scale, heat);
    byId("stage").dataset.empty = "no";
    byId("picture").dataset.number = head.number;
    const name = head.part_id ?? `frame ${head.frame_id}`;
    byId("picture").setAttribute("aria-label", `live picture of ${head.camera}: ${name}, ${head.evaluation}`);
  }
}
