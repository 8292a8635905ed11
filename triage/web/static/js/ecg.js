/**
 * A strip of ECG as on paper: 25 mm/s, 10 mm/mV, scrolled over as many minutes as there are.
 *
 * Contract
 *   <figure class="ecg" data-url="URL"><figcaption>...</figcaption></figure>   the figcaption says what the strip shows
 *   <body data-zone="Europe/Paris">   the zone of times
 *
 * JSON at URL: one window of some tens of seconds
 *   {"rate_hz": 250, "start_ms": ms UTC of samples[0], "gain_uv": microvolts of one unit,
 *    "samples": [int | null ...], "beats": [[i, "N"], ...], "marks": [[from_i, to_i, "Fibrillation atriale"], ...],
 *    "next": URL of the following window, or null}
 * null breaks the line. Windows are placed by their start, so that a hole between two of them is seen. The following
 * window is asked for before it comes into view.
 *
 * Only what is in view is drawn, on one canvas that stays while the track under it scrolls. A millimetre is a CSS mm.
 * Keyboard, on the focused strip: left and right one second, page up and down one screen, home and end.
 */

const MM = 96 / 25.4;
const SECOND_PX = 25 * MM;
const MV_PX = 10 * MM;
const HEIGHT = 236;
const MARK_Y = 4;
const MARK_HEIGHT = 17;
const BEAT_Y = 36;
const TOP = 42;
const AHEAD_VIEWS = 3;
const RETRY_MS = 3000;

const zone = document.body.dataset.zone ?? "Europe/Paris";
const clock = new Intl.DateTimeFormat("fr-FR", { timeZone: zone, hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("fr-FR", { timeZone: zone, day: "2-digit", month: "2-digit", year: "numeric" });

/** Draw every strip of the page. */
export function startEcg() {
  for (const figure of document.querySelectorAll("figure.ecg[data-url]")) new Strip(figure);
}

class Strip {
  /** @param {HTMLElement} figure */
  constructor(figure) {
    this.figure = figure;
    /** Windows in the order of time, each with `x`, its left edge on the track in px. */
    this.windows = [];
    this.next = figure.dataset.url;
    this.loading = false;
    this.baseline = 0;
    this.frame = 0;
    this.build();
    this.more();
  }

  build() {
    const make = (/** @type {string} */ tag, /** @type {string} */ name) => Object.assign(document.createElement(tag), { className: name });
    this.scroll = make("div", "ecg-scroll");
    this.track = make("div", "ecg-track");
    this.canvas = make("canvas", "ecg-canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.track.append(this.canvas);
    this.scroll.append(this.track);
    this.scroll.tabIndex = 0;
    this.scroll.setAttribute("role", "group");
    this.scroll.setAttribute("aria-label", "Tracé ECG\u00a0: flèches gauche et droite pour défiler");
    const foot = make("div", "ecg-foot");
    this.where = make("p", "ecg-where");
    const scale = Object.assign(document.createElement("span"), { textContent: "25 mm/s · 10 mm/mV" });
    const button = (/** @type {string} */ text, /** @type {string} */ label, /** @type {number} */ by) => {
      const made = make("button", "btn no-print");
      made.type = "button";
      made.textContent = text;
      made.setAttribute("aria-label", label);
      made.addEventListener("click", () => this.by(by * this.scroll.clientWidth * 0.9));
      return made;
    };
    foot.append(button("◀", "Tracé précédent", -1), button("▶", "Tracé suivant", 1), this.where, scale);
    this.figure.append(this.scroll, foot);
    this.scroll.addEventListener("scroll", () => this.moved(), { passive: true });
    this.scroll.addEventListener("keydown", (event) => this.keyed(event));
    new ResizeObserver(() => this.moved()).observe(this.scroll);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.moved());
  }

  /** Ask for the following window if the view comes near the end of what is there. */
  async more() {
    const view = this.scroll.clientWidth || 1000;
    if (!this.next || this.loading || this.end() - this.scroll.scrollLeft > (1 + AHEAD_VIEWS) * view) return;
    this.loading = true;
    try {
      const answer = await fetch(this.next, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      this.add(await answer.json());
      this.failed = false;
      this.loading = false;
    } catch (error) {
      console.warn(this.next, error);
      this.failed = true;
      setTimeout(() => {
        this.loading = false;
        this.more();
      }, RETRY_MS);
    }
    this.moved();
  }

  /** @param {any} given One window, see above. */
  add(given) {
    if (!this.windows.length) {
      const sorted = given.samples.filter((/** @type {any} */ v) => v !== null).sort((/** @type {number} */ a, /** @type {number} */ b) => a - b);
      // Leads have an offset of their own, that means nothing: the paper is centred on the first window's median.
      this.baseline = sorted[sorted.length >> 1] ?? 0;
      this.from = given.start_ms;
    }
    this.windows.push({ ...given, x: ((given.start_ms - this.from) / 1000) * SECOND_PX, px: SECOND_PX / given.rate_hz });
    this.next = given.next;
    this.track.style.width = `${Math.ceil(this.end())}px`;
  }

  /** @returns {number} Right edge of what is there, px on the track. */
  end() {
    const last = this.windows.at(-1);
    return last ? last.x + last.samples.length * last.px : 0;
  }

  moved() {
    this.more();
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.draw());
  }

  /** @param {number} px */
  by(px) {
    this.scroll.scrollLeft += px;
  }

  /** @param {KeyboardEvent} event */
  keyed(event) {
    const page = this.scroll.clientWidth * 0.9;
    const steps = { ArrowLeft: -SECOND_PX, ArrowRight: SECOND_PX, PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    if (Number.isFinite(step)) this.by(step);
    else this.scroll.scrollLeft = step < 0 ? 0 : this.end();
  }

  draw() {
    const width = this.scroll.clientWidth;
    if (!width || !this.windows.length) {
      this.where.textContent = this.failed ? "Tracé indisponible, nouvel essai…" : "";
      return;
    }
    const dpr = devicePixelRatio;
    if (this.canvas.width !== Math.round(width * dpr)) {
      this.canvas.width = Math.round(width * dpr);
      this.canvas.height = Math.round(HEIGHT * dpr);
      this.canvas.style.width = `${width}px`;
    }
    const style = getComputedStyle(this.figure);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(`--ecg-${name}`).trim();
    const ctx = this.canvas.getContext("2d");
    const left = this.scroll.scrollLeft;
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.fillStyle = colour("paper");
    ctx.fillRect(0, 0, width, HEIGHT);
    ctx.translate(-left, 0);
    this.paper(ctx, left, width, colour);
    const inView = this.windows.filter((w) => w.x < left + width && w.x + w.samples.length * w.px > left);
    this.trace(ctx, inView, left, width, colour);
    for (const w of inView) this.beats(ctx, w, left, width, colour);
    const said = inView.flatMap((w) => this.marks(ctx, w, left, width, colour));
    this.times(ctx, left, width, colour);
    this.say(left, width, said);
  }

  /** The grid: each millimetre, and each five. It moves with the signal. */
  paper(ctx, left, width, colour) {
    const middle = TOP + (HEIGHT - TOP) / 2;
    for (const [every, name] of [[1, "fine"], [5, "heavy"]]) {
      const step = every * MM;
      ctx.strokeStyle = colour(name);
      ctx.lineWidth = every === 1 ? 0.7 : 1;
      ctx.beginPath();
      for (let i = Math.ceil(left / step); i * step <= left + width; i += 1) {
        ctx.moveTo(i * step, TOP);
        ctx.lineTo(i * step, HEIGHT);
      }
      const rows = Math.floor((HEIGHT - TOP) / 2 / step);
      for (let i = -rows; i <= rows; i += 1) {
        ctx.moveTo(left, middle + i * step);
        ctx.lineTo(left + width, middle + i * step);
      }
      ctx.stroke();
    }
  }

  trace(ctx, windows, left, width, colour) {
    const middle = TOP + (HEIGHT - TOP) / 2;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, TOP, width, HEIGHT - TOP);
    ctx.clip();
    ctx.strokeStyle = colour("trace");
    ctx.lineWidth = 1.25;
    ctx.lineJoin = "round";
    ctx.beginPath();
    let pen = null;
    for (const w of windows) {
      const y = (/** @type {number} */ v) => middle - ((v - this.baseline) * w.gain_uv * MV_PX) / 1000;
      const first = Math.max(0, Math.floor((left - w.x) / w.px) - 1);
      const last = Math.min(w.samples.length - 1, Math.ceil((left + width - w.x) / w.px) + 1);
      for (let i = first; i <= last; i += 1) {
        const v = w.samples[i];
        if (v === null) {
          pen = null;
          continue;
        }
        const x = w.x + i * w.px;
        // The first sample of a window goes on from the one before, unless time is missing between the two.
        if (pen === null || x - pen > 1.5 * w.px) ctx.moveTo(x, y(v));
        else ctx.lineTo(x, y(v));
        pen = x;
      }
    }
    ctx.stroke();
    ctx.restore();
  }

  /** The class of each beat over it; what is not N stands out by its weight and its tick. */
  beats(ctx, w, left, width, colour) {
    ctx.textAlign = "center";
    for (const [i, kind] of w.beats ?? []) {
      const x = w.x + i * w.px;
      if (x < left - 10 || x > left + width + 10) continue;
      const usual = kind === "N";
      ctx.fillStyle = colour(usual ? "text" : "ectopic");
      ctx.font = usual ? "12px system-ui, sans-serif" : "bold 15px system-ui, sans-serif";
      ctx.fillText(kind, x, BEAT_Y);
      if (!usual) ctx.fillRect(x - 1, BEAT_Y + 3, 2, 6);
    }
  }

  /** Rhythms as bars on top; a word stays in view as long as its bar does. */
  marks(ctx, w, left, width, colour) {
    const said = [];
    ctx.font = "600 12px system-ui, sans-serif";
    ctx.textAlign = "left";
    for (const [from, to, text] of w.marks ?? []) {
      const begin = Math.max(w.x + from * w.px, left);
      const end = Math.min(w.x + to * w.px, left + width);
      if (end <= begin) continue;
      said.push(text);
      ctx.fillStyle = colour("mark");
      ctx.fillRect(begin, MARK_Y, end - begin, MARK_HEIGHT);
      ctx.save();
      ctx.beginPath();
      ctx.rect(begin, MARK_Y, end - begin, MARK_HEIGHT);
      ctx.clip();
      ctx.fillStyle = colour("on-mark");
      ctx.fillText(text, begin + 6, MARK_Y + 13);
      ctx.restore();
    }
    return said;
  }

  times(ctx, left, width, colour) {
    ctx.font = "11px system-ui, sans-serif";
    ctx.textAlign = "left";
    const first = Math.ceil((left / SECOND_PX) / 5) * 5;
    for (let s = first; s * SECOND_PX < left + width; s += 5) {
      const text = clock.format(this.from + s * 1000);
      ctx.fillStyle = colour("paper");
      ctx.fillRect(s * SECOND_PX + 1, HEIGHT - 16, ctx.measureText(text).width + 6, 15);
      ctx.fillStyle = colour("text");
      ctx.fillText(text, s * SECOND_PX + 4, HEIGHT - 5);
    }
  }

  say(left, width, marks) {
    const at = (/** @type {number} */ px) => this.from + (px / SECOND_PX) * 1000;
    const to = Math.min(left + width, this.end());
    const rhythm = [...new Set(marks)].join(", ");
    const trouble = this.failed ? " · suite indisponible, nouvel essai…" : "";
    this.where.textContent = `${day.format(at(left))} ${clock.format(at(left))} – ${clock.format(at(to))}${rhythm && ` · ${rhythm}`}${trouble}`;
  }
}
