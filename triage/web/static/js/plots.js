/**
 * Curves of readings, drawn by uPlot.
 *
 * Contract
 *   <div class="plots"> figures whose cursors and zooms go together
 *   <figure class="plot" data-url="URL"><figcaption>...</figcaption></figure>
 *       the figcaption says in a sentence what the curve shows; it is there without scripts too
 *   <body data-zone="Europe/Paris">   the zone of dates
 * The page loads vendor/uPlot.min.css and vendor/uPlot.iife.min.js (defer) before main.js.
 *
 * JSON at URL, times in ms UTC and ascending
 *   {"t": [ms...],
 *    "series": [{"label": "Poids", "unit": "kg", "values": [81.2, null, ...], "late": [false, ...], "refused": [...]}],
 *    "limits": [{"label": "Limite", "unit": "kg", "steps": [[ms, 82.0], [ms, null], ...]}],
 *    "gaps":   [[from_ms, to_ms], ...],
 *    "marks":  [{"t_ms": ms, "label": "Appel"}]}
 * `late`: came too late to count, drawn hollow; `refused`: in quarantine, drawn as a cross; `steps`: the limit from that
 * moment on, null for none; `gaps`: no data, hatched, the line is broken there. late, refused, limits, gaps, marks may be
 * absent.
 *
 * Mouse: drag to zoom, double click for all of it. Keyboard, on the focused curve: left and right for values, + and - to
 * zoom, 0 for all of it.
 */

const HEIGHT = 196;
const DAY = 86_400_000;
const FONT = "12px system-ui, sans-serif";
const DASHES = [[], [6, 3], [2, 3]];

const zone = document.body.dataset.zone ?? "Europe/Paris";
const dates = (/** @type {Intl.DateTimeFormatOptions} */ options) => {
  const format = new Intl.DateTimeFormat("fr-FR", { timeZone: zone, ...options });
  return (/** @type {number} */ ms) => format.format(ms);
};
const dayMonth = dates({ day: "2-digit", month: "2-digit" });
const hour = dates({ hour: "2-digit", minute: "2-digit" });
const year = dates({ year: "numeric" });
const moment = dates({ day: "2-digit", month: "2-digit", year: "numeric", hour: "2-digit", minute: "2-digit" });
const number = new Intl.NumberFormat("fr-FR", { maximumFractionDigits: 2 });

/** Curves that are drawn, by figure. @type {Map<HTMLElement, any>} */
const drawn = new Map();

/** Draw every figure of the page, and again when the palette changes. */
export function startPlots() {
  const figures = [...document.querySelectorAll("figure.plot[data-url]")];
  for (const figure of figures) load(figure);
  if (!figures.length) return;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const figure of drawn.keys()) draw(figure, drawn.get(figure).given);
  });
}

/** @param {HTMLElement} figure */
async function load(figure) {
  const area = document.createElement("div");
  area.className = "plot-area";
  figure.append(area);
  try {
    const answer = await fetch(figure.dataset.url, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    draw(figure, await answer.json());
  } catch (error) {
    area.className = "plot-failed";
    area.textContent = "Courbe indisponible\u00a0: rechargez la page.";
    console.warn(figure.dataset.url, error);
  }
}

/**
 * @param {HTMLElement} figure
 * @param {any} given The JSON, see above.
 */
function draw(figure, given) {
  const area = figure.querySelector(".plot-area");
  drawn.get(figure)?.plot.destroy();
  if (!given.t.length) {
    area.className = "plot-failed";
    area.textContent = "Aucune mesure sur cette période.";
    return;
  }
  const style = getComputedStyle(figure);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(`--plot-${name}`).trim();
  const { data, at } = table(given);
  const limits = given.limits ?? [];
  const axis = { stroke: colour("axis"), font: FONT, grid: { stroke: colour("grid"), width: 1 }, ticks: { show: false } };
  const sync = figure.closest(".plots");
  const options = {
    width: area.clientWidth,
    height: HEIGHT,
    ms: 1,
    tzDate: (/** @type {number} */ ms) => uPlot.tzDate(new Date(ms), zone),
    cursor: { drag: { x: true, y: false }, ...(sync && { sync: { key: sync.id || "plots", scales: ["x", null] } }) },
    scales: { x: { time: true } },
    axes: [
      { ...axis, size: 40, space: 74, values: xTexts },
      { ...axis, size: 52, values: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits.map((v) => number.format(v)) },
    ],
    series: [
      { label: "Date", value: (/** @type {any} */ _, /** @type {number} */ ms) => (ms == null ? "–" : moment(ms)) },
      ...given.series.map((/** @type {any} */ series, /** @type {number} */ i) => ({
        label: series.label,
        stroke: colour(String((i % 4) + 1)),
        width: 1.8,
        points: { show: false },
        value: value(series.unit),
      })),
      ...limits.map((/** @type {any} */ limit, /** @type {number} */ i) => ({
        label: limit.label,
        stroke: colour("limit"),
        width: 1.4,
        dash: DASHES[1 + (i % 2)],
        paths: uPlot.paths.stepped({ align: 1 }),
        points: { show: false },
        value: value(limit.unit ?? given.series[0]?.unit),
      })),
    ],
    hooks: {
      drawClear: [(/** @type {any} */ plot) => hatch(plot, given.gaps ?? [], colour)],
      draw: [
        (/** @type {any} */ plot) => marks(plot, given.marks ?? [], colour),
        (/** @type {any} */ plot) => points(plot, given, at, colour),
      ],
      setScale: [() => zoomed(figure)],
    },
  };
  const plot = new uPlot(options, data, area);
  drawn.set(figure, { plot, given, full: [data[0][0], data[0].at(-1)] });
  dress(figure, area, given);
}

/**
 * Lay readings, limits and gaps on one axis of times, as uPlot wants them: null breaks the line, undefined does not.
 * @param {any} given
 * @returns {{data: any[][], at: number[]}} `at`: where each time of given.t is on the axis.
 */
function table(given) {
  const gaps = given.gaps ?? [];
  const limits = given.limits ?? [];
  const first = given.t[0];
  const breaks = gaps.map(([from, to]) => Math.round((from + to) / 2));
  const steps = limits.flatMap((limit) => limit.steps.map(([t]) => t)).filter((t) => t > first);
  // A gap that reaches until now makes the axis reach until now: silence is seen.
  const x = [...new Set([...given.t, ...gaps.flat(), ...breaks, ...steps])].sort((a, b) => a - b);
  const where = new Map(x.map((t, i) => [t, i]));
  const at = given.t.map((t) => where.get(t));
  const readings = given.series.map(({ values }) => {
    const column = new Array(x.length).fill(undefined);
    // A value that is missing at one time is not a gap: another signal of the same device was measured then.
    values.forEach((v, i) => (column[at[i]] = v ?? undefined));
    for (const t of breaks) column[where.get(t)] ??= null;
    return column;
  });
  const held = limits.map(({ steps: changes }) => {
    let next = 0;
    let now = null;
    return x.map((t) => {
      while (next < changes.length && changes[next][0] <= t) now = changes[next++][1];
      return now;
    });
  });
  return { data: [x, ...readings, ...held], at };
}

/** @param {string | undefined} unit */
const value = (unit) => (/** @type {any} */ _, /** @type {number | null} */ v) =>
  v == null ? "–" : `${number.format(v)} ${unit ?? ""}`.trim();

/** Hours within days, else dates; the first, and the first of another day or year, say which. */
function xTexts(_plot, splits, _axis, _space, step) {
  let before = "";
  return splits.map((t) => {
    const [main, larger] = step < DAY ? [hour(t), dayMonth(t)] : [dayMonth(t), year(t)];
    const text = larger === before ? main : `${main}\n${larger}`;
    before = larger;
    return text;
  });
}

/** Where there are no data, say so: hatched, over the whole height. */
function hatch(plot, gaps, colour) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const [from, to] of gaps) {
    const left = plot.valToPos(from, "x", true);
    const width = plot.valToPos(to, "x", true) - left;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, bbox.top, width, bbox.height);
    ctx.clip();
    ctx.fillStyle = colour("gap");
    ctx.fill();
    ctx.strokeStyle = colour("gap-hatch");
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    // From a fixed origin, so that hatches do not swim when the view moves.
    for (let x = left - bbox.height; x < left + width; x += 8 * devicePixelRatio) {
      ctx.moveTo(x, bbox.top + bbox.height);
      ctx.lineTo(x + bbox.height, bbox.top);
    }
    ctx.stroke();
    ctx.restore();
  }
  ctx.restore();
}

/** Calls, notes and changes: a thin line with its word on top. */
function marks(plot, given, colour) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour("mark");
  ctx.lineWidth = devicePixelRatio;
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
  for (const { t_ms: t, label } of given) {
    const x = plot.valToPos(t, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    const right = x + 4 * devicePixelRatio + ctx.measureText(label).width > bbox.left + bbox.width;
    ctx.textAlign = right ? "right" : "left";
    ctx.fillText(label, x + (right ? -4 : 4) * devicePixelRatio, bbox.top + 11 * devicePixelRatio);
  }
  ctx.restore();
}

/** Readings: full, hollow if late, a cross if refused. Where they are too dense for dots, only the two last kinds. */
function points(plot, given, at, colour) {
  const { ctx, bbox } = plot;
  const dpr = devicePixelRatio;
  const r = 2.6 * dpr;
  const { min, max } = plot.scales.x;
  const shown = given.t.filter((t) => t >= min && t <= max).length;
  const dense = shown > bbox.width / dpr / 5;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left - r, bbox.top - r, bbox.width + 2 * r, bbox.height + 2 * r);
  ctx.clip();
  ctx.lineWidth = 1.5 * dpr;
  // What was drawn last may have been a dashed limit.
  ctx.setLineDash([]);
  given.series.forEach((series, s) => {
    if (!plot.series[s + 1].show) return;
    ctx.strokeStyle = colour(String((s % 4) + 1));
    series.values.forEach((v, i) => {
      const late = series.late?.[i];
      const refused = series.refused?.[i];
      if (v == null || given.t[i] < min || given.t[i] > max || (dense && !late && !refused)) return;
      const x = plot.valToPos(plot.data[0][at[i]], "x", true);
      const y = plot.valToPos(v, "y", true);
      ctx.beginPath();
      if (refused) {
        ctx.moveTo(x - r, y - r);
        ctx.lineTo(x + r, y + r);
        ctx.moveTo(x - r, y + r);
        ctx.lineTo(x + r, y - r);
      } else {
        ctx.arc(x, y, late ? r * 1.5 : r, 0, 2 * Math.PI);
        ctx.fillStyle = late ? colour("paper") : ctx.strokeStyle;
        ctx.fill();
      }
      ctx.stroke();
    });
  });
  ctx.restore();
}

/** Once a figure has its curve: what signs mean, the keyboard, a button to see all of it, and its width. */
function dress(figure, area, given) {
  if (figure.dataset.dressed) return;
  figure.dataset.dressed = "yes";
  const any = (/** @type {string} */ kind) => given.series.some((series) => series[kind]?.some(Boolean));
  const signs = [];
  if (any("late")) signs.push("○ reçue en retard");
  if (any("refused")) signs.push("× en quarantaine");
  if (given.gaps?.length) signs.push("▨ sans données");
  if (given.limits?.length) signs.push("╌ limite en vigueur");
  if (signs.length) {
    const key = document.createElement("p");
    key.className = "plot-key";
    key.append(...signs.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
    figure.append(key);
  }
  const all = document.createElement("button");
  all.type = "button";
  all.className = "btn plot-all no-print";
  all.textContent = "Tout voir";
  all.hidden = true;
  all.addEventListener("click", () => {
    view(figure);
    area.focus();
  });
  figure.querySelector("figcaption").append(all);
  const said = document.createElement("div");
  said.className = "visually-hidden";
  said.setAttribute("aria-live", "polite");
  figure.append(said);
  area.tabIndex = 0;
  area.setAttribute("role", "group");
  area.setAttribute("aria-label", "Courbe\u00a0: flèches pour les valeurs, + et − pour zoomer, 0 pour tout voir");
  area.addEventListener("keydown", (event) => keyed(event, figure, said));
  new ResizeObserver(() => {
    const { plot } = drawn.get(figure);
    if (area.clientWidth && area.clientWidth !== plot.width) plot.setSize({ width: area.clientWidth, height: HEIGHT });
  }).observe(area);
}

/** @param {KeyboardEvent} event */
function keyed(event, figure, said) {
  const { plot, given, full } = drawn.get(figure);
  const { min, max } = plot.scales.x;
  const middle = plot.cursor.idx == null ? (min + max) / 2 : plot.data[0][plot.cursor.idx];
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    const step = event.key === "ArrowLeft" ? -1 : 1;
    const readings = plot.data.slice(1, given.series.length + 1);
    let idx = (plot.cursor.idx ?? (step > 0 ? -1 : plot.data[0].length)) + step;
    // From reading to reading: on the axis are also the times at which a limit changed or a gap began.
    while (plot.data[0][idx] !== undefined && readings.every((column) => column[idx] == null)) idx += step;
    const t = plot.data[0][idx];
    if (t === undefined) return;
    if (t < min || t > max) view(figure, min + (t - middle), max + (t - middle));
    plot.setCursor({ left: plot.valToPos(t, "x"), top: 8 });
    said.textContent = plot.series
      .map((series, i) => series.value(plot, plot.data[i][idx]))
      .filter((text) => text !== "–")
      .join(", ");
  } else if (event.key === "+") view(figure, middle - (max - min) / 4, middle + (max - min) / 4);
  else if (event.key === "-") view(figure, Math.max(full[0], middle - (max - min)), Math.min(full[1], middle + (max - min)));
  else if (event.key === "0") view(figure);
  else return;
  event.preventDefault();
}

/** Show these times in this figure and in those beside it; without times, all that each has. */
function view(figure, min, max) {
  const group = figure.closest(".plots");
  for (const [other, { plot, full }] of drawn) {
    if (other === figure || group?.contains(other)) plot.setScale("x", { min: min ?? full[0], max: max ?? full[1] });
  }
}

function zoomed(figure) {
  const entry = drawn.get(figure);
  const button = figure.querySelector(".plot-all");
  if (!entry || !button) return;
  const { min, max } = entry.plot.scales.x;
  button.hidden = min <= entry.full[0] && max >= entry.full[1];
}
