// The last rejects, as they come, and from the archive with their pictures once they are there.
const MOST = 12;
// The archive writes behind the verdict, in its own time.
const LOOKS_AGAIN_MS = [150, 600, 2500];
const LOOKS = { OK: ["✔", "ok"], NotOK: ["✖", "bad"], NotDecidable: ["?", "warn"] };
const list = document.getElementById("rejects");

export class Rejects {
  constructor(archived) {
    this.archived = archived;
    this.shown = "";
    this.recent = [];
    this.kept = [];
    this.timers = [];
    if (archived) this.load();
  }

  take(parts) {
    if (!parts.length) return;
    this.recent = [...parts.toReversed(), ...this.recent].slice(0, MOST);
    this.show();
    if (!this.archived) return;
    this.timers.forEach(clearTimeout);
    this.timers = LOOKS_AGAIN_MS.map((ms) => setTimeout(() => this.load(), ms));
    // What comes without a pause must not put the first look off for ever.
    if (performance.now() - (this.loadedAt ?? 0) > 1000) this.load();
  }

  async load() {
    this.loadedAt = performance.now();
    const response = await fetch("/rejects").catch(() => null);
    if (!response?.ok) return;
    this.kept = await response.json();
    this.show();
  }

  show() {
    const newest = this.kept[0]?.captured_at ?? "";
    const parts = [...this.recent.filter((part) => part.captured_at > newest), ...this.kept].slice(0, MOST);
    const key = parts.map((part) => part.key ?? `${part.session_id} ${part.seq}`).join();
    if (key === this.shown) return;
    this.shown = key;
    document.getElementById("no-rejects").hidden = parts.length > 0;
    list.replaceChildren(...parts.map(card));
  }
}

function card(part) {
  const item = document.createElement("li");
  const box = element(part.key ? "a" : "div", "card");
  if (part.key) box.href = `/parts/${part.key}`;
  if (part.picture) {
    const image = element("img");
    image.src = `/parts/${part.key}/thumbnail.jpg`;
    image.alt = "";
    box.append(image);
  } else {
    box.append(element("span", "no-picture", "no picture"));
  }
  const about = element("span", "about");
  const [glyph, look] = LOOKS[part.evaluation];
  const badge = element("span", `badge ${look}`);
  const icon = element("i", "", glyph);
  icon.setAttribute("aria-hidden", "true");
  badge.append(icon, part.evaluation);
  const time = new Date(part.captured_at).toLocaleTimeString();
  const score = part.score === null ? part.reason : `score ${part.score.toPrecision(4)}`;
  about.append(element("b", "", part.name), badge, element("span", "soft", `${time}, ${part.camera}`), element("span", "soft", score));
  box.append(about);
  item.append(box);
  return item;
}

// Text only: names of parts come from anywhere.
function element(name, classes = "", text = "") {
  const made = document.createElement(name);
  made.className = classes;
  made.textContent = text;
  return made;
}
