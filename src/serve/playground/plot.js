// The times of the last requests, each a bar of its stages; the line above it is what the page itself measured.

const STAGES = ["preprocess", "queue", "infer", "postprocess"];
const BARS = 60;

// A round number not below another one: 1, 2 or 5 times a power of ten.
function round(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= most);
}

const quantile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];

function plot(svg, history) {
  const last = history.slice(-BARS);
  const good = last.filter((each) => each.ok);
  svg.replaceChildren();
  const [left, top, width, height] = [46, 8, 590, 140];
  const most = round(Math.max(0.1, ...last.map((each) => each.trip)));
  for (const share of [0, 0.5, 1]) {
    const y = top + height * (1 - share);
    svg.append(draw("line", { x1: left, x2: left + width, y1: y, y2: y }));
    svg.append(draw("text", { x: left - 7, y: y + 3.5, "text-anchor": "end" }, history.length || !share ? time(most * share).replace(".00", "").replace(".0 ", " ") : ""));
  }
  const step = width / BARS;
  for (const [at, each] of last.entries()) {
    const x = left + width - (last.length - at) * step;
    const bar = draw("g", {});
    bar.append(draw("title", {}, each.ok
      ? `${time(each.trip)} there and back; ${STAGES.map((stage) => `${stage} ${time(each.parts[stage] ?? 0)}`).join(", ")}; ${each.rows ?? 1} rows`
      : each.error));
    let y = top + height;
    for (const stage of STAGES) {
      const tall = ((each.parts[stage] ?? 0) / most) * height;
      if (tall <= 0) continue;
      y -= tall;
      bar.append(draw("rect", { x: x + 1, y, width: step - 2, height: tall, rx: Math.min(1.5, tall / 2), fill: `var(--${stage})` }));
    }
    const trip = top + height * (1 - each.trip / most);
    if (each.ok) bar.append(draw("line", { class: "trip", x1: x + 1, x2: x + step - 1, y1: trip, y2: trip }));
    else bar.append(draw("path", { class: "bad", d: `M${x + step / 2} ${top + height - 12}l4 10h-8z` }));
    svg.append(bar);
  }
  const trips = good.map((each) => each.trip).sort((one, other) => one - other);
  const summary = trips.length
    ? `median ${time(quantile(trips, 0.5))}, 95 % within ${time(quantile(trips, 0.95))}, of the last ${last.length}`
    : "No requests yet";
  svg.append(draw("text", { x: left + width, y: top + height + 19, "text-anchor": "end" }, trips.length ? summary : ""));
  svg.setAttribute("aria-label", `Time of each request: ${summary}`);
}

function legend(to) {
  const entries = STAGES.map((stage) => {
    const key = make("i", { className: "key" });
    key.style.background = `var(--${stage})`;
    return make("span", {}, key, stage);
  });
  const line = make("i", { className: "key" });
  line.style.cssText = "height:2px;background:var(--ink);vertical-align:4px";
  to.replaceChildren(...entries, make("span", {}, line, "there and back"));
}

function gauges(to, model, last) {
  const of = model.gpux;
  const gauge = (name, value, most, text) => {
    const fill = make("i");
    fill.style.width = `${most > 0 ? Math.min(1, value / most) * 100 : 0}%`;
    return make("div", {}, make("dt", {}, name), make("dd", {}, text), make("div", { className: "track", ariaHidden: "true" }, fill));
  };
  const rows = last?.rows ?? 0;
  to.replaceChildren(
    gauge("Rows of the last call", rows, Math.max(of.max_batch_size, rows), rows ? `${rows} of ${Math.max(of.max_batch_size, rows)}` : `up to ${of.max_batch_size}`),
    gauge("Waiting now", of.waiting, Math.max(8, of.waiting), String(of.waiting)),
    make("div", {}, make("dt", {}, "Sessions"), make("dd", {}, String(of.instances))),
  );
}
