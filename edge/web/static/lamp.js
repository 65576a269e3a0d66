// The lamp: word, shape and colour of the newest verdict. A reject stays for a second, or nobody would see it.
const LOOKS = { OK: ["✔", "ok"], NotOK: ["✖", "bad"], NotDecidable: ["?", "warn"] };
const STAYS_MS = 1000;
// A reader that speaks every part of ten a second says nothing.
const SPEAKS_MS = 3000;
const byId = (id) => document.getElementById(id);
const number = (value) => (value === null ? "–" : Number(value).toPrecision(4));

export class Lamp {
  constructor() {
    this.part = null;
    this.shownAt = -STAYS_MS;
    this.next = 0;
    this.reject = null;
    this.spoken = "";
    this.spokenAt = -SPEAKS_MS;
    this.words = null;
    this.waiting = null;
    setInterval(() => this.age(), 1000);
  }

  // `part` is null where only the state has changed.
  show(state, camera, part) {
    const status = state?.heartbeat?.cameras[camera];
    const down = state?.trouble || (status && status.state !== "Running" && `${status.state}: ${status.reason}`);
    if (part && part.evaluation !== "OK") this.reject = part;
    if (this.reject && this.reject.camera !== camera) this.reject = null;
    this.age();
    if (down && !(part && !state?.trouble)) {
      this.paint("warn", "!", "No verdicts", "", down, null);
      return;
    }
    if (!part) return;
    const left = this.shownAt + STAYS_MS - performance.now();
    clearTimeout(this.next);
    if (part.evaluation === "OK" && this.part?.camera === camera && this.part.evaluation !== "OK" && left > 0) {
      this.next = setTimeout(() => this.show(state, camera, part), left);
      return;
    }
    this.part = part;
    this.shownAt = performance.now();
    const [glyph, look] = LOOKS[part.evaluation];
    this.paint(look, glyph, part.evaluation, part.name, part.review ? "passes, and should be looked at" : part.reason, part);
  }

  paint(look, glyph, word, name, reason, part) {
    byId("lamp").dataset.look = look;
    byId("glyph").textContent = glyph;
    byId("word").textContent = word;
    byId("part").textContent = name;
    byId("reason").textContent = reason;
    byId("score").textContent = part ? `score ${number(part.score)}` : "";
    byId("limit").textContent = part ? `threshold ${number(part.threshold)}` : "";
    this.measure(part);
    this.speak(word, reason);
  }

  // Scores lie around any number: the meter shows how far above or below the threshold, in units of its last parts' span.
  measure(part) {
    const margin = part && part.score !== null ? part.score - part.threshold : null;
    if (margin !== null) this.span = Math.max(Math.abs(margin), (this.span ?? 0) * 0.98, 1e-6);
    const share = margin === null ? 0 : 0.5 + 0.5 * Math.max(-1, Math.min(1, margin / this.span));
    byId("meter").style.width = `${(100 * share).toFixed(1)}%`;
  }

  // What comes too soon waits its turn, and of that the last reject rather than what passed after it.
  speak(word, reason) {
    if (this.waiting && word === "OK") return;
    this.words = { word, text: reason ? `${word}: ${reason}` : word };
    this.waiting ??= setTimeout(() => {
      this.waiting = null;
      this.spokenAt = performance.now();
      if (this.words.word !== this.spoken) byId("spoken").textContent = this.words.text;
      this.spoken = this.words.word;
    }, Math.max(0, this.spokenAt + SPEAKS_MS - performance.now()));
  }

  age() {
    const found = this.reject;
    if (!found) {
      byId("last-reject").textContent = "";
      return;
    }
    const seconds = Math.max(0, Math.round((Date.now() - Date.parse(found.captured_at)) / 1000));
    const ago = seconds < 100 ? `${seconds} s` : seconds < 6000 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
    byId("last-reject").textContent = `Last reject ${ago} ago: ${found.name}`;
  }
}
