// Draws a chart from the table behind it, so that the two always agree.
const charts = new WeakMap(); // the chart's element -> { plot, observer, key }

const HEIGHT = 232;
const WHOLE_STEPS = Array.from({ length: 15 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const palette = () => Array.from({ length: 8 }, (_, index) => css(`--series-${index + 1}`));

const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const plain = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const axisNumber = (value) => (Math.abs(value) >= 10_000 ? compact : plain).format(value);

const month = new Intl.DateTimeFormat(undefined, { month: "short", timeZone: "UTC" });
const monthAndYear = new Intl.DateTimeFormat(undefined, { month: "short", year: "numeric", timeZone: "UTC" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });
const localDay = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const year = new Intl.DateTimeFormat(undefined, { year: "numeric", timeZone: "UTC" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayAndClock = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

// From rows to uPlot's columns: one x, one or several y.
const readTable = (tile, table) => {
  const heads = [...table.tHead.rows[0].cells];
  const at = (key) => heads.findIndex((head) => head.dataset.key === key);
  const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.dataset.value));
  const xAt = at(tile.dataset.x);
  const xKind = heads[xAt].dataset.kind;
  const xs = [...new Set(rows.map((row) => row[xAt]))];
  if (xKind === "time" || xKind === "date") xs.sort();
  else if (xKind === "number") xs.sort((a, b) => a - b);
  const place = new Map(xs.map((x, index) => [x, index]));
  const series = new Map();
  const put = (name, x, value) => {
    if (!series.has(name)) series.set(name, new Array(xs.length).fill(null));
    series.get(name)[place.get(x)] = value === "" ? null : Number(value);
  };
  const ys = tile.dataset.y.split(" ");
  for (const row of rows) {
    if (tile.dataset.series) put(row[at(tile.dataset.series)], row[xAt], row[at(ys[0])]);
    else for (const y of ys) put(y.replaceAll("_", " "), row[xAt], row[at(y)]);
  }
  const names = inOrder([...series.keys()], tile.dataset.series ? rows.map((row) => [row[xAt], row[at(tile.dataset.series)]]) : []);
  return { xs, xKind, xKey: tile.dataset.x, names, values: names.map((name) => series.get(name)) };
};

// Series as the query orders them, which the fullest x shows best: the first one may lack some.
const inOrder = (names, pairs) => {
  const at = new Map();
  for (const [x, name] of pairs) at.set(x, [...(at.get(x) ?? []), name]);
  const fullest = [...at.values()].reduce((best, here) => (here.length > best.length ? here : best), []);
  return [...new Set([...fullest, ...names])];
};

const seconds = (text) => Date.parse(text.length === 10 ? `${text}T00:00:00Z` : text) / 1000;

// How a place on a stepped x axis is called, on the axis and in the tooltip.
const labelsOf = ({ xs, xKind, xKey }) => {
  if (xKind === "date") {
    const monthly = xKey === "month" || (xs.length > 1 && xs.every((x) => x.endsWith("-01")));
    return xs.map((x) => ({ axis: (monthly ? month : day).format(new Date(x)), full: (monthly ? monthAndYear : day).format(new Date(x)) }));
  }
  if (xKind === "time") return xs.map((x) => ({ axis: clock.format(new Date(x)), full: dayAndClock.format(new Date(x)) }));
  return xs.map((x) => ({ axis: x, full: x }));
};

const BAR_PIXELS_MAX = 52;
const groupedBars = (count) => {
  const group = count > 1 ? 0.72 : 0.6;
  const width = (u) => Math.min(group / count, (BAR_PIXELS_MAX * u.data[0].length) / u.over.clientWidth);
  return (index) => uPlot.paths.bars({
    radius: 0.08,
    disp: {
      x0: { unit: 1, values: (u) => u.data[0].map((x) => x + (index - count / 2) * width(u)) },
      size: { unit: 1, values: (u) => u.data[0].map(() => width(u) * (count > 1 ? 0.92 : 1)) },
    },
  });
};

// Times along an axis: as fine as the step between them, with the coarser part below where it changes.
const DAY_S = 86_400;
const timeLabels = (isDate) => (u, splits, axis, space, step) => {
  const [fine, coarse] = step >= 27 * DAY_S ? [month, year] : step >= DAY_S ? [isDate ? day : localDay, year] : [clock, localDay];
  let before = null;
  return splits.map((at) => {
    const moment = new Date(at * 1000);
    const below = coarse.format(moment);
    const text = below === before ? fine.format(moment) : `${fine.format(moment)}\n${below}`;
    before = below;
    return text;
  });
};

const tooltip = (describe) => {
  let box;
  return {
    hooks: {
      init: (u) => {
        box = document.createElement("div");
        box.className = "tooltip";
        box.hidden = true;
        u.over.append(box);
        u.over.addEventListener("mouseleave", () => { box.hidden = true; });
      },
      setCursor: (u) => {
        const { idx, left } = u.cursor;
        if (idx == null || left < 0) { box.hidden = true; return; }
        const { title, lines } = describe(u, idx);
        box.replaceChildren(...[title, ...lines].map((line, number) => {
          const row = document.createElement(number ? "div" : "strong");
          if (number) {
            const swatch = document.createElement("i");
            swatch.style.background = line.color;
            row.append(swatch, line.text);
          } else row.append(line);
          return row;
        }));
        box.hidden = false;
        const point = u.valToPos(u.data[0][idx], "x");
        const flip = point > u.over.clientWidth / 2;
        box.style.transform = `translate(${Math.round(point + (flip ? -12 : 12))}px, 0) translateX(${flip ? -100 : 0}%)`;
      },
    },
  };
};

const legendOf = (names, colors) => {
  const list = document.createElement("ul");
  list.className = "legend";
  for (const [index, name] of names.entries()) {
    const item = document.createElement("li");
    const swatch = document.createElement("i");
    swatch.style.background = colors[index % colors.length];
    item.append(swatch, name);
    list.append(item);
  }
  return list;
};

const optionsFor = (tile, read, width) => {
  const bars = tile.dataset.kind === "bar";
  const stepped = bars || read.xKind === "text";
  const labels = stepped ? labelsOf(read) : null;
  const colors = palette();
  const unit = tile.dataset.unit ? ` ${tile.dataset.unit}` : "";
  const single = read.names.length === 1;
  const paths = bars ? groupedBars(read.names.length) : null;
  const whole = read.values.every((values) => values.every((value) => Number.isInteger(value ?? 0)));
  const axis = { stroke: css("--muted"), font: `12px ${css("--sans")}`, ticks: { show: false } };
  const title = (u, idx) => {
    if (labels) return labels[idx].full;
    if (read.xKind === "number") return plain.format(u.data[0][idx]);
    const moment = new Date(u.data[0][idx] * 1000);
    return (read.xKind === "date" ? day : dayAndClock).format(moment);
  };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    padding: [10, 18, 0, 0],
    tzDate: (ts) => (read.xKind === "date" ? uPlot.tzDate(new Date(ts * 1000), "Etc/UTC") : new Date(ts * 1000)),
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 7, width: 2 } },
    scales: {
      x: stepped
        ? { time: false, range: [-0.5, read.xs.length - 0.5] }
        : { time: read.xKind !== "number" },
      y: { range: (u, low, high) => bars ? uPlot.rangeNum(0, Math.max(high ?? 1, Number.EPSILON), 0.1, true) : uPlot.rangeNum(low ?? 0, high ?? 1, { min: { pad: 0.15, soft: 0, mode: 3 }, max: { pad: 0.1 } }) },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: stepped || read.xKind === "number" ? 30 : 44,
        space: 70,
        ...(!stepped && read.xKind !== "number" && { values: timeLabels(read.xKind === "date") }),
        ...(stepped && {
          splits: (u) => everyNth(read.xs.length, u.bbox.width / devicePixelRatio, labels),
          values: (u, splits) => splits.map((at) => labels[at]?.axis ?? ""),
        }),
      },
      { ...axis, grid: { stroke: css("--line"), width: 1 }, size: 46, gap: 6, ...(whole && { incrs: WHOLE_STEPS }), values: (u, splits) => splits.map(axisNumber) },
    ],
    series: [
      {},
      ...read.names.map((name, index) => ({
        label: name,
        stroke: colors[index % colors.length],
        width: bars ? 0 : single ? 1.75 : 1.5,
        fill: bars ? colors[index % colors.length] : undefined,
        points: { show: !bars && read.xs.length === 1 },
        spanGaps: true,
        ...(bars && { paths: paths(index) }),
      })),
    ],
    plugins: [tooltip((u, idx) => ({
      title: title(u, idx),
      lines: read.names
        .map((name, index) => ({ name, value: u.data[index + 1][idx], color: colors[index % colors.length] }))
        .filter(({ value }) => value != null)
        .map(({ name, value, color }) => ({ color, text: `${single ? "" : `${name}: `}${plain.format(value)}${unit}` })),
    }))],
  };
};

// As many labels of a stepped axis as fit beside each other.
const everyNth = (count, width, labels) => {
  const widest = Math.max(...labels.map((label) => label.axis.length)) * 7 + 14;
  const step = Math.max(1, Math.ceil((count * widest) / width));
  return Array.from({ length: Math.ceil(count / step) }, (_, index) => index * step);
};

export const drawChart = (tile, element, table) => {
  const before = charts.get(element);
  if (!table) {
    before?.destroy();
    charts.delete(element);
    element.hidden = true;
    return;
  }
  const read = readTable(tile, table);
  const stepped = tile.dataset.kind === "bar" || read.xKind === "text";
  const data = [stepped ? read.xs.map((_, index) => index) : read.xs.map((x) => (read.xKind === "number" ? Number(x) : seconds(x))), ...read.values];
  // The same series on the same theme only need new numbers; anything else needs a new chart.
  const key = JSON.stringify([read.names, read.xKind, stepped && read.xs, css("--line")]);
  if (before?.key === key) {
    before.plot.setData(data);
    return;
  }
  before?.destroy();
  element.hidden = false;
  const options = optionsFor(tile, read, element.clientWidth);
  const plot = new uPlot(options, data, element);
  if (read.names.length > 1) element.append(legendOf(read.names, palette()));
  const observer = new ResizeObserver(() => {
    if (element.clientWidth && element.clientWidth !== plot.width) plot.setSize({ width: element.clientWidth, height: HEIGHT });
  });
  observer.observe(element);
  charts.set(element, { plot, key, destroy: () => { observer.disconnect(); plot.destroy(); element.replaceChildren(); } });
};
