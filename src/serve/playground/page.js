// The page: which model is picked, what it is given, what comes back.

const state = {
  models: [], id: null, version: "", language: "curl", given: new Map(), value: null, history: new Map(), last: null, running: null,
};
const model = () => state.models.find((each) => each.id === state.id);
// What a model takes, known once it is loaded.
const takes = (it) => JSON.stringify([it?.gpux.sources, it?.gpux.inputs]);
const historyOf = () => state.history.get(state.id) ?? [];
const tell = (text, isBad = false) => {
  byId("told").textContent = text;
  byId("told").className = isBad ? "callout" : "soft";
};

// ---- Models ----

async function refresh() {
  try {
    const found = await models();
    state.models = found;
    const ready = found.filter((each) => each.gpux.state === "READY").length;
    byId("server").textContent = `${ready} of ${found.length} ${found.length === 1 ? "model" : "models"} ready`;
    listModels();
    const asked = new URLSearchParams(location.hash.slice(1)).get("m");
    if (!model()) pick((found.find((each) => each.id === asked) ?? found[0])?.id ?? null);
    else if (state.takes !== takes(model())) pick(state.id);
    else describe();
  } catch (error) {
    byId("server").textContent = error.status === 401 ? "the server asks for a token" : error.message;
    if (error.status === 401 && !token.value) byId("access").open = true;
  }
}

function listModels() {
  const rows = state.models.map((each) => `${each.id} ${each.gpux.state} ${each.gpux.provider}`).join();
  if (byId("models").dataset.rows === rows) return;
  byId("models").dataset.rows = rows;
  byId("models").replaceChildren(...state.models.map((each) => {
    const radio = make("input", { type: "radio", name: "model", value: each.id, className: "hide", checked: each.id === state.id });
    radio.addEventListener("change", () => pick(each.id));
    const word = { READY: each.gpux.provider, LOADING: "loading", ASLEEP: "asleep", UNAVAILABLE: "not available" }[each.gpux.state];
    const small = make("small", {}, make("i", { className: `dot ${each.gpux.state}`, ariaHidden: "true" }), word ?? each.gpux.state);
    return make("label", { className: "pick" }, radio, make("b", {}, each.id), small);
  }));
}

function pick(id) {
  stop();
  Object.assign(state, { id, version: "", value: null, last: null });
  state.takes = takes(model());
  state.given = new Map();
  for (const radio of document.querySelectorAll("#models input")) radio.checked = radio.value === id;
  byId("answer").replaceChildren();
  tell(id ? "Nothing was asked yet." : "No model is served to you.");
  if (id) history.replaceState(null, "", `#${new URLSearchParams({ m: id })}`);
  document.title = id ? `${id} · gpux` : "gpux";
  describe();
  offer();
}

// Says what the picked model is; called again whenever the server was asked.
function describe() {
  const it = model();
  byId("run").disabled = !it || it.gpux.state === "UNAVAILABLE" || it.gpux.state === "LOADING";
  byId("burst").disabled = byId("run").disabled || !state.last;
  if (!it) return;
  const of = it.gpux;
  byId("name").textContent = it.id;
  const facts = [of.provider && `runs on ${of.provider}`, of.version && `version ${of.version}`, of.digest?.slice(0, 19)];
  byId("facts").textContent = facts.filter(Boolean).join(" · ");
  const reason = { UNAVAILABLE: of.reason || "The model is not available.", LOADING: "The model is being loaded.", ASLEEP: "" }[of.state];
  byId("reason").textContent = reason ?? "";
  byId("reason").hidden = !reason;
  for (const card of document.querySelectorAll("main > :not(#about)")) card.hidden = Boolean(reason) && !of.inputs.length;
  byId("versions").hidden = of.versions.length < 2;
  if (byId("version").dataset.of !== `${it.id} ${of.versions}`) {
    byId("version").dataset.of = `${it.id} ${of.versions}`;
    byId("version").replaceChildren(...of.versions.map((version) => make("option", { value: version, selected: version === of.version }, version)));
  }
  signature(it);
  gauges(byId("gauges"), it, historyOf().findLast((each) => each.ok));
}

function signature(it) {
  const ports = (title, list) => {
    const lines = list.slice(0, 8).map((port) => make("li", {}, port.name, make("em", {}, port.datatype), make("span", {}, `[${port.shape.map((size) => (size < 0 ? "?" : size)).join(", ")}]`)));
    if (list.length > 8) lines.push(make("li", {}, make("span", {}, `and ${list.length - 8} more`)));
    return make("div", {}, make("h4", {}, title), make("ul", {}, ...lines));
  };
  const words = { image: "a picture", sound: "a sound", text: "a text" };
  const takes = it.gpux.sources.map((source) => words[source.kind]).join(" and ");
  byId("signature").hidden = !it.gpux.inputs.length;
  byId("signature").replaceChildren(ports(takes ? `Takes ${takes}, as` : "Takes", it.gpux.inputs), ports("Gives", it.gpux.outputs));
}

// ---- What is given ----

function offer() {
  const it = model();
  byId("sources").replaceChildren(...(it ? (it.gpux.sources.length ? it.gpux.sources.map(source) : [editor(it)]) : []));
  byId("most").hidden = !it || !speaks(it);
  byId("plot").isConnected && plot(byId("plot"), historyOf());
  showExample();
}

function source(of, at) {
  const key = keyOf(of, at);
  const isAlone = model().gpux.sources.length === 1;
  const title = make("span", { id: `source-${at}` }, of.name ?? { image: "Picture", sound: "Sound", text: "Text" }[of.kind]);
  const body = of.kind === "text" ? texts(key, isAlone, title.id) : files(key, of.kind, isAlone, title.id);
  if (isAlone) title.className = "hide";
  return make("div", { className: "source", role: "group", "aria-labelledby": title.id }, title, ...body);
}

function texts(key, isAlone, title) {
  const items = make("div", { className: "items" });
  const keep = () => {
    const found = [...items.querySelectorAll("textarea")].map((area) => area.value).filter((text) => text.trim());
    state.given.set(key, found);
    showExample();
  };
  const add = (isFirst) => {
    const area = make("textarea", { rows: isFirst && !speaks(model()) ? 3 : isFirst ? 5 : 2, spellcheck: false, "aria-labelledby": title, placeholder: isFirst ? "Type a text" : "Another text, to compare" });
    const item = make("div", { className: "item" }, area);
    if (!isFirst) {
      const off = make("button", { type: "button", className: "off plain", ariaLabel: "Remove this text" }, "×");
      off.addEventListener("click", () => { item.remove(); keep(); items.querySelector("textarea").focus(); });
      item.append(off);
    }
    area.addEventListener("input", keep);
    items.append(item);
    return area;
  };
  add(true);
  if (!isAlone || speaks(model())) return [items];
  const more = make("button", { type: "button", className: "link" }, "Add another text");
  more.addEventListener("click", () => add(false).focus());
  return [items, make("div", {}, more)];
}

const ICONS = {
  image: "M3.5 5.5h17v13h-17zM3.5 16l5-5 4.5 4.5 2.5-2.5 5 5M15.5 9.5h.01",
  sound: "M5 10v4M8.5 7v10M12 4.5v15M15.5 8v8M19 10.5v3",
};

function files(key, kind, isAlone, title) {
  const items = make("div", { className: "items" });
  const input = make("input", { type: "file", className: "hide", multiple: isAlone, accept: `${kind === "image" ? "image" : "audio"}/*`, "aria-labelledby": title, id: `file-${key}` });
  const icon = draw("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" });
  icon.append(draw("path", { d: ICONS[kind] }));
  const word = kind === "image" ? "picture" : "sound";
  const drop = make("label", { className: "drop" }, icon, make("b", {}, `Drop a ${word} here, or choose one`), make("span", { className: "soft" }, kind === "image" ? "PNG, JPEG, WebP, GIF, BMP, TIFF; or paste it" : "WAV, FLAC, MP3, Ogg Vorbis, AAC"), input);
  const take = async (list) => {
    const found = [...list].slice(0, isAlone ? 16 : 1);
    if (!found.length) return;
    for (const old of items.querySelectorAll("audio")) URL.revokeObjectURL(old.src);
    state.given.set(key, found);
    drop.classList.add("small");
    items.replaceChildren(...(await Promise.all(found.map((file) => preview(file, kind)))));
    showExample();
    submit();
  };
  input.addEventListener("change", () => take(input.files));
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files); });
  items.take = take;
  items.dataset.kind = kind;
  return [items, drop];
}

async function preview(file, kind) {
  if (kind === "sound") {
    const player = make("audio", { controls: true, src: URL.createObjectURL(file), ariaLabel: file.name });
    return make("div", { className: "item" }, make("span", { className: "soft of" }, file.name), player);
  }
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) return make("p", { className: "soft" }, `${file.name}: this browser cannot show it, the server may read it.`);
  const { canvas } = canvasOf(bitmap, 900);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", file.name);
  return make("div", { className: "item" }, canvas);
}

function editor(it) {
  const count = countOf(it);
  const area = make("textarea", { className: "code", spellcheck: false, id: "value" });
  const set = (value) => {
    state.value = value;
    area.readOnly = count > 4096;
    area.value = area.readOnly ? `${count.toLocaleString("en")} numbers, not shown` : pretty(value);
    showExample();
  };
  area.addEventListener("input", () => { state.value = undefined; showExample(); });
  const button = (name, isRandom) => {
    const made = make("button", { type: "button", className: "link" }, name);
    made.addEventListener("click", () => set(tensors(it, isRandom)));
    return made;
  };
  const title = make("div", { className: "title" }, make("label", { htmlFor: "value" }, it.gpux.inputs.length === 1 ? "Nested numbers" : "By input, nested numbers"), make("span", {}, button("Zeros", false), button("Random", true)));
  queueMicrotask(() => set(tensors(it, true)));
  return make("div", { className: "source" }, title, area);
}

// JSON whose innermost lists stand on one line each.
function pretty(value, indent = "") {
  if (Array.isArray(value) && value.some((each) => typeof each === "object")) {
    return `[\n${value.map((each) => `${indent}  ${pretty(each, `${indent}  `)}`).join(",\n")}\n${indent}]`;
  }
  if (value && typeof value === "object" && !Array.isArray(value)) {
    return `{\n${Object.entries(value).map(([name, each]) => `${indent}  ${JSON.stringify(name)}: ${pretty(each, `${indent}  `)}`).join(",\n")}\n${indent}}`;
  }
  return JSON.stringify(value, null, 1)?.replaceAll(/\n\s*/g, " ").replaceAll("[ ", "[").replaceAll(" ]", "]");
}

// What is given now; throws where something is missing.
function given() {
  const it = model();
  if (!it.gpux.sources.length) {
    if (state.value !== undefined && state.value !== null) return { json: state.value };
    return { json: JSON.parse(byId("value").value) };
  }
  const sources = Object.fromEntries(it.gpux.sources.map((of, at) => [keyOf(of, at), state.given.get(keyOf(of, at)) ?? []]));
  for (const [at, of] of it.gpux.sources.entries()) {
    if (!sources[keyOf(of, at)].length) throw new Error(`Give ${{ image: "a picture", sound: "a sound", text: "a text" }[of.kind]} first.`);
  }
  return { sources };
}

function showExample() {
  const it = model();
  if (!it) return;
  let what = {};
  try { what = given(); } catch { /* The example has a thing of its own. */ }
  byId("example").firstElementChild.textContent = example(it, state.version, what, state.language, Number(byId("most-tokens").value));
}

// ---- Asking ----

async function submit() {
  if (byId("run").disabled || state.running) return;
  const it = model();
  let what;
  try { what = given(); } catch (error) {
    return tell(error instanceof SyntaxError ? `This is no JSON: ${error.message}` : error.message, true);
  }
  state.running = new AbortController();
  byId("stop").hidden = false;
  byId("answer").ariaBusy = "true";
  tell("Asking …");
  try {
    if (speaks(it)) await say(it, Object.values(what.sources)[0][0]);
    else {
      state.last = request(it, state.version, what);
      await show(await send(state.last), what, it.id);
    }
  } catch (error) {
    if (error.name === "AbortError") tell("Stopped.");
    else {
      byId("answer").replaceChildren();
      tell(error.message, true);
      if (error.status === 401) byId("access").open = true;
    }
  }
  state.running = null;
  byId("stop").hidden = true;
  byId("answer").ariaBusy = "false";
  refresh();
}

// Sends a request and keeps its times; of one among many the browser's own queue is left out.
async function send({ path, options }, isOneOfMany) {
  const [id, began] = [state.id, performance.now()];
  const entry = { ok: false, parts: {}, trip: 0, error: "" };
  try {
    const answer = await ask(path, { ...options, signal: state.running?.signal });
    const body = await answer.json();
    Object.assign(entry, { ok: true, parts: body.timing_ms ?? {}, rows: body.rows });
    return body;
  } catch (error) {
    entry.error = error.message;
    throw error;
  } finally {
    entry.trip = isOneOfMany && entry.ok ? entry.parts.total : performance.now() - began;
    if (entry.error !== "signal is aborted without reason") record(id, entry);
  }
}

function record(id, entry) {
  const list = state.history.get(id) ?? [];
  state.history.set(id, [...list, entry].slice(-BARS));
  if (id === state.id) {
    plot(byId("plot"), historyOf());
    gauges(byId("gauges"), model(), historyOf().findLast((each) => each.ok));
  }
}

async function show(body, what, id) {
  const things = what.sources ? Object.values(what.sources) : [];
  const names = body.answers.map((each, at) => (typeof things[0]?.[at] === "string" ? things[0][at] : each.input ?? things[0]?.[at]?.name ?? `input ${at + 1}`));
  const pictures = things.find((each) => each[0] instanceof File && each[0].type.startsWith("image/")) ?? [];
  const bitmaps = await Promise.all(pictures.map((file) => createImageBitmap(file).catch(() => null)));
  const parts = await answersOf(body, names, bitmaps);
  if (id !== state.id) return;
  byId("answer").replaceChildren(...parts);
  tell(`${sentence(body)} in ${time(body.timing_ms?.total ?? historyOf().at(-1).trip)}, version ${body.version} on ${body.provider}.`);
}

// Lets a model continue a text.
async function say(it, prompt) {
  const said = make("p", { className: "said busy" }, make("span", { className: "soft said" }, prompt));
  byId("answer").replaceChildren(said);
  const began = performance.now();
  const entry = { ok: false, parts: {}, trip: 0, error: "" };
  let [count, first] = [0, 0];
  try {
    await complete(it, prompt, Number(byId("most-tokens").value), state.running.signal, (text) => {
      if (!count++) first = performance.now() - began;
      said.append(text);
    });
    entry.ok = true;
  } catch (error) {
    entry.error = error.message;
    if (error.name !== "AbortError") throw error;
  } finally {
    said.classList.remove("busy");
    entry.trip = performance.now() - began;
    record(it.id, entry);
  }
  tell(count ? `The first piece came after ${time(first)}; ${count} pieces in ${time(entry.trip)}, ${(count / entry.trip * 1000).toFixed(1)} a second.` : "It had nothing to say.");
}

function stop() { state.running?.abort(); }

// The last request many times, as many at once as the browser has connections: requests that meet in the queue are joined.
async function burst() {
  const { last } = state;
  byId("burst").disabled = true;
  const outcomes = await Promise.allSettled(Array.from({ length: 32 }, () => send(last, true)));
  const failed = outcomes.filter((each) => each.status === "rejected");
  const most = Math.max(0, ...outcomes.map((each) => each.value?.rows ?? 0));
  tell(`${32 - failed.length} of 32 answered, up to ${most} rows in one call.${failed.length ? ` ${failed[0].reason.message}` : ""}`, failed.length > 0);
  refresh();
}

// ---- Wiring ----

byId("give").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
byId("stop").addEventListener("click", stop);
byId("burst").addEventListener("click", burst);
byId("most-tokens").addEventListener("input", showExample);
byId("version").addEventListener("change", () => { state.version = byId("version").value; state.last = null; showExample(); describe(); });
byId("keys").textContent = /Mac|iP/.test(navigator.platform) ? "⌘ ⏎" : "Ctrl + Enter";

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); submit(); }
  if (event.key === "Escape") { stop(); byId("access").open = false; }
});
document.addEventListener("paste", (event) => {
  const zone = document.querySelector(".items[data-kind=image]");
  const found = [...event.clipboardData.files].filter((file) => file.type.startsWith("image/"));
  if (zone && found.length) { event.preventDefault(); zone.take(found); }
});
// A file that misses its place must not replace the page.
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token.value = byId("token").value.trim();
  if (byId("token-keep").checked && token.value) sessionStorage.setItem("token", token.value);
  else sessionStorage.removeItem("token");
  byId("token").value = "";
  byId("access").open = false;
  byId("access").classList.toggle("set", Boolean(token.value));
  byId("access").firstElementChild.focus();
  showExample();
  refresh();
});
byId("access").classList.toggle("set", Boolean(token.value));
byId("access").addEventListener("toggle", () => byId("access").open && byId("token").focus());

const tabs = [byId("tab-curl"), byId("tab-python")];
function tab(chosen) {
  for (const each of tabs) {
    each.ariaSelected = String(each === chosen);
    each.tabIndex = each === chosen ? 0 : -1;
  }
  byId("example").setAttribute("aria-labelledby", chosen.id);
  state.language = chosen.id === "tab-curl" ? "curl" : "python";
  showExample();
}
for (const [at, each] of tabs.entries()) {
  each.addEventListener("click", () => tab(each));
  each.addEventListener("keydown", (event) => {
    if (!/^Arrow(Left|Right)$/.test(event.key)) return;
    tab(tabs[1 - at]);
    tabs[1 - at].focus();
  });
}
byId("copy").addEventListener("click", async () => {
  const text = byId("example").textContent;
  const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  if (!done) getSelection().selectAllChildren(byId("example"));
  byId("copy").textContent = done ? "Copied" : "Selected";
  setTimeout(() => { byId("copy").textContent = "Copy"; }, 1500);
});

legend(byId("legend"));
plot(byId("plot"), []);
refresh();
// Slowly, and only while somebody looks.
setInterval(() => { if (document.visibilityState === "visible" && !state.running) refresh(); }, 3000);
