// What came back, made visible. Text of the server is text and never markup.

function make(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made && key !== "list") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function draw(name, properties, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(properties)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const byId = (id) => document.getElementById(id);
const hue = (index) => (index * 137.508 + 160) % 360;
const colour = (index) => `hsl(${hue(index)} 62% 52%)`;
const labelOf = (label) => label.label ?? `class ${label.index}`;
const shade = (index) => `hsl(${hue(index)} 60% 30%)`;

function percent(score) {
  if (score < 0 || score > 1) return score.toPrecision(4);
  return score > 0 && score < 0.0005 ? "< 0.1 %" : `${(score * 100).toFixed(1).replace(".0", "")} %`;
}

const short = (number) => (Number.isInteger(number) ? String(number) : Number(number).toPrecision(4));

function time(ms) {
  if (ms >= 10000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms.toFixed(ms < 10 ? 2 : ms < 100 ? 1 : 0)} ms`;
}

// Puts a bitmap on a canvas in the sharpness of the screen; gives the canvas and how its pixels relate to the picture's.
function canvasOf(bitmap, most = 1200) {
  const scale = Math.min(most / Math.max(bitmap.width, bitmap.height), bitmap.width < 128 ? 420 / Math.max(bitmap.width, bitmap.height) : 1);
  const canvas = make("canvas", { width: Math.max(1, Math.round(bitmap.width * scale)), height: Math.max(1, Math.round(bitmap.height * scale)) });
  if (scale > 1) canvas.className = "crisp";
  const brush = canvas.getContext("2d");
  brush.imageSmoothingEnabled = scale <= 1;
  brush.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return { canvas, brush, scale };
}

function labels(found, isColoured) {
  const most = Math.max(1, ...found.map((label) => Math.abs(label.score)));
  const list = make("ul", { className: "labels" });
  for (const label of found) {
    const fill = make("i");
    fill.style.width = `${Math.max(0, label.score / most) * 100}%`;
    if (isColoured) fill.style.background = colour(label.index);
    const name = make("b", {}, labelOf(label));
    list.append(make("li", {}, name, make("output", {}, percent(label.score)), make("div", { className: "track", ariaHidden: "true" }, fill)));
  }
  return list;
}

function boxes(answer, bitmap) {
  const parts = [];
  if (bitmap) {
    const { canvas, brush } = canvasOf(bitmap);
    const [across, down] = [canvas.width / answer.width, canvas.height / answer.height];
    const unit = Math.max(1, canvas.width / 640);
    brush.lineWidth = 2.5 * unit;
    brush.font = `600 ${13 * unit}px system-ui, sans-serif`;
    for (const found of answer.boxes.toReversed()) {
      const [left, top, right, bottom] = found.box;
      brush.strokeStyle = colour(found.index);
      brush.strokeRect(left * across, top * down, (right - left) * across, (bottom - top) * down);
      const text = `${labelOf(found)} ${percent(found.score)}`;
      const width = brush.measureText(text).width + 10 * unit;
      const at = Math.max(0, top * down - 20 * unit);
      brush.fillStyle = shade(found.index);
      brush.fillRect(left * across - brush.lineWidth / 2, at, width, 20 * unit);
      brush.fillStyle = "#fff";
      brush.fillText(text, left * across + 4 * unit, at + 14.5 * unit);
    }
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `The picture with ${answer.boxes.length} boxes on it`);
    parts.push(canvas);
  }
  parts.push(answer.boxes.length ? labels(answer.boxes, true) : make("p", { className: "soft" }, "Nothing was found in it."));
  return parts;
}

async function mask(answer, bitmap) {
  const bytes = Uint8Array.from(atob(answer.png), (letter) => letter.charCodeAt(0));
  const classes = await createImageBitmap(new Blob([bytes], { type: "image/png" }), { colorSpaceConversion: "none" });
  const overlay = make("canvas", { width: classes.width, height: classes.height });
  const over = overlay.getContext("2d");
  over.drawImage(classes, 0, 0);
  const pixels = over.getImageData(0, 0, classes.width, classes.height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    const index = pixels.data[at];
    const [red, green, blue] = rgb(hue(index));
    pixels.data.set([red, green, blue, 255], at);
  }
  over.putImageData(pixels, 0, 0);
  const { canvas, brush } = canvasOf(bitmap ?? overlay);
  const slider = make("input", { type: "range", min: 0, max: 100, value: bitmap ? 55 : 100 });
  const paint = () => {
    brush.globalAlpha = 1;
    brush.clearRect(0, 0, canvas.width, canvas.height);
    if (bitmap) brush.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    brush.globalAlpha = slider.value / 100;
    brush.imageSmoothingEnabled = false;
    brush.drawImage(overlay, 0, 0, canvas.width, canvas.height);
  };
  slider.addEventListener("input", paint);
  paint();
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "The picture with its classes in colour");
  return [canvas, make("label", { className: "row soft" }, "Strength", slider), labels(answer.labels, true)];
}

// 62 % saturation and 52 % lightness, as `colour` has them.
function rgb(degrees) {
  const part = (shift) => {
    const turn = (shift + degrees / 30) % 12;
    return Math.round(255 * (0.52 - 0.2976 * Math.max(-1, Math.min(turn - 3, 9 - turn, 1))));
  };
  return [part(0), part(8), part(4)];
}

// The first numbers, and all of them as a strip of shades.
function numbers(shape, values, type = "") {
  if (values.length === 1) return [make("p", { className: "said" }, String(values[0]))];
  const first = values.slice(0, 256).map((value) => (typeof value === "number" ? short(value) : JSON.stringify(value)));
  const parts = [];
  if (values.length >= 16 && values.every((value) => typeof value === "number")) {
    const canvas = make("canvas", { className: "strip crisp", width: Math.min(values.length, 1024), height: 1, ariaHidden: "true" });
    const brush = canvas.getContext("2d");
    const most = values.reduce((found, value) => Math.max(found, Math.abs(value)), 1e-12);
    for (let at = 0; at < canvas.width; at++) {
      const value = values[Math.floor((at * values.length) / canvas.width)];
      brush.fillStyle = `hsl(${value < 0 ? 28 : 164} 50% 50% / ${Math.abs(value) / most})`;
      brush.fillRect(at, 0, 1, 1);
    }
    parts.push(canvas);
  }
  const all = make("p", { className: "numbers", tabIndex: 0 }, first.join("  "), values.length > first.length ? "  …" : "");
  const head = make("summary", {}, [`${values.length.toLocaleString("en")} values`, type, `[${shape.join(", ")}]`].filter(Boolean).join(" "));
  parts.push(make("details", { className: "more", open: values.length <= 64 }, head, all));
  return parts;
}

const flat = (data) => (Array.isArray(data) ? data.flat(Infinity) : [data]);

function matrix(names, rows) {
  const head = make("tr", {}, make("td"), ...names.map((name, at) => make("th", { scope: "col", title: name }, String(at + 1))));
  const lines = rows.map((row, at) => make("tr", {}, make("th", { scope: "row", title: names[at] }, `${at + 1}  ${names[at]}`), ...row.map((value) => {
    const cell = make("td", {}, value.toFixed(2));
    cell.style.background = `color-mix(in oklab, var(--accent) ${Math.max(0, value) * 100}%, var(--tint))`;
    if (value > 0.6) cell.style.color = "var(--on-accent)";
    return cell;
  })));
  const caption = make("caption", { className: "hide" }, "How alike they are, 1 being the same");
  return make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Similarity" }, make("table", { className: "matrix" }, caption, make("thead", {}, head), make("tbody", {}, ...lines)));
}

function cosine(one, other) {
  let [dot, left, right] = [0, 0, 0];
  for (let at = 0; at < one.length; at++) {
    dot += one[at] * other[at];
    left += one[at] ** 2;
    right += other[at] ** 2;
  }
  return dot / (Math.sqrt(left * right) || 1);
}

// How alike all answers are, for each output that says so: by its own numbers or by the cosine of its vectors.
function alike(answers, names) {
  if (answers.length < 2 || answers.some((each) => each.error)) return [];
  return Object.keys(answers[0].answer).flatMap((output) => {
    const each = answers.map(({ answer }) => answer[output]);
    const values = each.map((found) => found?.values);
    if (each.every((found) => found?.kind === "similarities")) return [matrix(names, values)];
    const isVector = each.every((found) => found?.kind === "numbers" && found.values.length > 8 && found.values.length === values[0].length);
    return isVector ? [matrix(names, values.map((one) => values.map((other) => cosine(one, other))))] : [];
  });
}

async function shown(answer, bitmap) {
  switch (answer.kind) {
    case "labels": return [labels(answer.labels, false)];
    case "boxes": return boxes(answer, bitmap);
    case "mask": return mask(answer, bitmap);
    case "text": return [make("p", { className: "said" }, answer.text)];
    case "numbers": return numbers(answer.shape, answer.values);
    case "similarities": return [];
    case "tensor": return numbers(answer.shape, flat(answer.data), answer.dtype);
    default: return [make("pre", {}, JSON.stringify(answer, null, 1))];
  }
}

// Everything that an answer of predict holds; `bitmaps` are the pictures that were given.
async function answersOf(body, names, bitmaps) {
  const parts = alike(body.answers, names);
  const [first] = body.answers;
  const isShort = body.answers.length > 6 && parts.length > 0;
  for (const [at, { answer, error }] of (isShort ? [first] : body.answers).entries()) {
    const one = make("div", { className: "one" });
    if (body.answers.length > 1) one.append(make("p", { className: "of", title: names[at] }, names[at]));
    if (error) one.append(make("p", { className: "callout" }, error));
    const outputs = Object.entries(answer ?? {});
    for (const [output, found] of outputs) {
      const inside = await shown(found, bitmaps[at]);
      if (inside.length && (outputs.length > 1 || found.kind === "numbers" || found.kind === "tensor")) one.append(make("p", { className: "output" }, output));
      one.append(...inside);
    }
    if (one.childElementCount > (body.answers.length > 1 ? 1 : 0)) parts.push(one);
  }
  return parts;
}

// One sentence for those who hear the page.
function sentence(body) {
  const [first] = body.answers;
  if (!first.answer) return first.error ?? "";
  const found = Object.values(first.answer)[0];
  const best = { labels: found?.labels?.[0], mask: found?.labels?.[0] }[found?.kind];
  if (best) return `${labelOf(best)}, ${percent(best.score)}`;
  if (found?.kind === "boxes") return `${found.boxes.length} found`;
  return body.answers.length > 1 ? `${body.answers.length} answers` : "Answered";
}
