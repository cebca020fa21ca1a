// Makes the server's page live: charts over its tables, times in the viewer's zone, one feed of updates.
// Everything shown comes from the server as escaped HTML; nothing here builds markup from data.
const script = document.querySelector("script[data-live]");
const { drawChart } = await import(script.dataset.chart);

const STALLED_AFTER_S = 10;
const time = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

const localise = (root) => {
  for (const node of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(node.dateTime);
    if (!Number.isNaN(moment.valueOf())) node.textContent = time.format(moment);
  }
};

// Tiles ---------------------------------------------------------------------------------------------------------

const showTile = (tile) => {
  const answer = tile.querySelector("[data-answer]");
  localise(answer);
  const chart = tile.querySelector("[data-chart]");
  if (chart) drawChart(tile, chart, answer.querySelector("table"));
};

const updateTile = ({ id, state, html }) => {
  const tile = document.getElementById(id);
  const answer = tile?.querySelector("[data-answer]");
  if (!answer || answer.dataset.html === html) return;
  const twin = answer.querySelector("details.twin");
  const scrolled = answer.querySelector(".scroll")?.scrollTop ?? 0;
  const focused = answer.contains(document.activeElement) ? document.activeElement.tagName : null;
  answer.dataset.html = html;
  answer.dataset.state = state;
  answer.innerHTML = html;
  const fresh = answer.querySelector("details.twin");
  if (fresh) fresh.open = twin ? twin.open : false;
  if (focused) answer.querySelector(focused === "SUMMARY" ? "summary" : ".scroll")?.focus({ preventScroll: true });
  const scroll = answer.querySelector(".scroll");
  if (scroll) scroll.scrollTop = scrolled;
  showTile(tile);
};

for (const tile of document.querySelectorAll("[data-tile]")) {
  const twin = tile.querySelector("[data-twin]");
  if (twin) twin.open = false;
  showTile(tile);
}
localise(document.querySelector("footer.bottom"));
document.addEventListener("headrace-theme", () => document.querySelectorAll("[data-tile]").forEach(showTile));

// The time range ------------------------------------------------------------------------------------------------

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
for (const node of document.querySelectorAll("[data-zone]")) node.textContent = zone;
for (const node of document.querySelectorAll("[data-origin]")) node.textContent = location.origin;

const asLocalInput = (moment) => {
  const shifted = new Date(moment.valueOf() - moment.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 16);
};
for (const form of document.querySelectorAll("form[data-range]")) {
  const inputs = form.querySelectorAll("input[data-utc]");
  for (const input of inputs) input.value = asLocalInput(new Date(input.dataset.utc));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const sent = new URLSearchParams(new FormData(form));
    for (const input of inputs) sent.set(input.name, new Date(input.value).toISOString());
    for (const [name, value] of [...sent]) if (!value) sent.delete(name);
    location.search = sent.toString();
  });
}

// The feed and the lag ------------------------------------------------------------------------------------------

const status = document.querySelector("[data-status]");
const word = document.querySelector("[data-status-word]");
const lagText = document.querySelector("[data-lag]");
const watermark = document.querySelector("[data-watermark]");
let lag = null; // { age_s, at }: the age that the server told, and when

const say = (state, text) => {
  if (status.dataset.state === state) return;
  status.dataset.state = state;
  word.textContent = text; // only when it changes: a screen reader hears every write
};

const readable = (seconds) => {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
};

const tick = () => {
  if (!lag || source.readyState !== EventSource.OPEN) return;
  if (lag.age_s === null) {
    say("stalled", "Waiting");
    lagText.textContent = "nothing loaded yet";
    return;
  }
  const age = lag.age_s + (performance.now() - lag.at) / 1000;
  if (age > STALLED_AFTER_S) say("stalled", "Stalled");
  else say("live", "Live");
  lagText.textContent = age > STALLED_AFTER_S ? `nothing new for ${readable(age)}` : `${readable(age)} behind`;
};

const source = new EventSource(script.dataset.live);
source.addEventListener("open", () => { if (!lag) say("live", "Live"); });
source.addEventListener("tile", (event) => updateTile(JSON.parse(event.data)));
source.addEventListener("lag", (event) => {
  const told = JSON.parse(event.data);
  lag = { age_s: told.age_s, at: performance.now() };
  if (watermark) watermark.textContent = told.watermark;
  tick();
});
source.addEventListener("error", () => {
  if (source.readyState === EventSource.CLOSED) say("closed", "Not live; reload the page");
  else say("reconnecting", "Reconnecting");
});
setInterval(tick, 1000);
addEventListener("pagehide", () => source.close());
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
