// How the server is spoken to, and what the same call is for curl and for Python.

const token = { value: sessionStorage.getItem("token") ?? "" };

// What went wrong, in the server's words, with its status.
class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token.value) headers.Authorization = `Bearer ${token.value}`;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer.");
  }
  if (answer.ok) return answer;
  const text = await answer.text();
  let message = text;
  try {
    const { error } = JSON.parse(text);
    message = error?.message ?? error ?? text;
  } catch { /* Not JSON: what came is what is shown. */ }
  throw new Refused(answer.status, String(message || `The server answered ${answer.status}.`));
}

// Of a model that is not ready, the server says little.
const UNKNOWN = { provider: "", digest: "", sources: [], inputs: [], outputs: [], generates: false, apis: [], waiting: 0, instances: 0, max_batch_size: 1 };

async function models() {
  const { data } = await (await ask("/v1/models")).json();
  return data.map((each) => ({ ...each, gpux: { ...UNKNOWN, ...each.gpux } }));
}

const pathOf = (model, version) =>
  `/v1/models/${encodeURIComponent(model.id)}${version ? `/versions/${encodeURIComponent(version)}` : ""}/predict`;

// One request: for each source its things, a text or a file each; or the value of a tensor model as `json`.
function request(model, version, given) {
  const path = pathOf(model, version);
  if (given.json !== undefined) return { path, options: json({ input: given.json }) };
  const sources = Object.entries(given.sources);
  const [name, things] = sources[0];
  const isText = sources.every(([, each]) => each.every((thing) => typeof thing === "string"));
  if (isText && sources.length === 1) {
    return { path, options: json(things.length === 1 ? { input: things[0] } : { inputs: things }) };
  }
  if (isText) {
    const value = Object.fromEntries(sources.map(([each, [thing]]) => [each, thing]));
    return { path, options: json({ input: value }) };
  }
  if (sources.length === 1 && things.length === 1) {
    return { path, options: { method: "POST", headers: { "Content-Type": typeOf(things[0]) }, body: things[0] } };
  }
  const body = new FormData();
  for (const [each, values] of sources) for (const value of values) body.append(sources.length === 1 ? "input" : each, value);
  return { path, options: { method: "POST", body }, name };
}

const json = (value) =>
  ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });

const typeOf = (file) => (/^(image|audio)\//.test(file.type) ? file.type : "application/octet-stream");

// Continues a prompt, and hands on each piece of text as it comes.
async function complete(model, prompt, most, signal, hear) {
  const options = json({ model: model.id, prompt, max_tokens: most, stream: true });
  const answer = await ask("/v1/completions", { ...options, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += value.replaceAll("\r", "");
    for (let end; (end = buffer.indexOf("\n\n")) >= 0; buffer = buffer.slice(end + 2)) {
      const lines = buffer.slice(0, end).split("\n").filter((line) => line.startsWith("data:"));
      const data = lines.map((line) => line.slice(5).trimStart()).join("\n");
      if (data === "[DONE]") return;
      if (!data) continue;
      const event = JSON.parse(data);
      if (event.error) throw new Refused(500, event.error.message ?? String(event.error));
      hear(event.choices?.[0]?.text ?? "");
    }
  }
}

// A value of a shape; open dimensions are 1.
function fill(shape, value) {
  const [size, ...rest] = shape;
  if (size === undefined) return value();
  return Array.from({ length: size < 0 ? 1 : size }, () => fill(rest, value));
}

const sizeOf = (shape) => shape.reduce((all, size) => all * (size < 0 ? 1 : size), 1);

function element(datatype, isRandom) {
  if (datatype === "BOOL") return isRandom ? Math.random() < 0.5 : false;
  if (datatype === "BYTES") return "text";
  if (/^U?INT/.test(datatype)) return isRandom ? Math.floor(Math.random() * 4) : 0;
  return isRandom ? Math.round(Math.random() * 1e4) / 1e4 : 0;
}

// What a tensor model takes, as zeros or at random: bare where there is one input, else by name.
function tensors(model, isRandom) {
  const one = (input) => fill(input.shape, () => element(input.datatype, isRandom));
  const inputs = model.gpux.inputs;
  return inputs.length === 1 ? one(inputs[0]) : Object.fromEntries(inputs.map((input) => [input.name, one(input)]));
}

const countOf = (model) => model.gpux.inputs.reduce((all, input) => all + sizeOf(input.shape), 0);

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

// Writes a value as Python does.
function python(value) {
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (value && typeof value === "object") {
    return `{${Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${python(each)}`).join(", ")}}`;
  }
  return { true: "True", false: "False", null: "None" }[String(value)] ?? JSON.stringify(value);
}

// Writes the call that the page makes, or would make of a first file, for another client.
function example(model, version, given, language, most) {
  const isCurl = language === "curl";
  const bearer = token.value ? (isCurl ? ' \\\n  -H "Authorization: Bearer $TOKEN"' : "") : "";
  const headers = (type) => {
    const all = [type && `"Content-Type": "${type}"`, token.value && '"Authorization": f"Bearer {token}"'].filter(Boolean);
    return all.length ? `, headers={${all.join(", ")}}` : "";
  };
  const start = token.value ? 'import os, requests\n\ntoken = os.environ["TOKEN"]\n' : "import requests\n\n";
  const post = (url, rest) => `${start}answer = requests.post(\n    "${url}",\n    ${rest})\nprint(answer.json())`;
  const call = (path, value) => {
    const url = location.origin + path;
    if (isCurl) return `curl ${url}${bearer} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify(value))}`;
    return post(url, `json=${python(value)}${headers()}`);
  };
  const path = pathOf(model, version);
  const sources = model.gpux.sources;
  if (speaks(model)) {
    const prompt = given.sources ? Object.values(given.sources)[0][0] : "Once upon a time";
    const value = { model: model.id, prompt, max_tokens: most };
    return isCurl ? call("/v1/completions", { ...value, stream: true }).replace("curl", "curl -N") : call("/v1/completions", value);
  }
  if (!sources.length) {
    if (countOf(model) <= 256) return call(path, { input: given.json ?? tensors(model, false) });
    const url = location.origin + path;
    if (isCurl) return `# input.json: {"input": …}\ncurl ${url}${bearer} \\\n  -H 'Content-Type: application/json' \\\n  -d @input.json`;
    const zeros = (input) => `numpy.zeros(${JSON.stringify(input.shape.map((size) => Math.max(size, 1)))}).tolist()`;
    const [first, ...rest] = model.gpux.inputs;
    const all = model.gpux.inputs.map((input) => `${JSON.stringify(input.name)}: ${zeros(input)}`);
    const value = rest.length ? `{${all.join(", ")}}` : zeros(first);
    return `import numpy\n${post(url, `json={"input": ${value}}${headers()}`)}`;
  }
  const texts = given.sources ?? {};
  const sample = (source, at) => texts[keyOf(source, at)]?.filter((thing) => typeof thing === "string") ?? [];
  if (sources.every((source) => source.kind === "text")) {
    if (sources.length > 1) {
      const value = Object.fromEntries(sources.map((source, at) => [keyOf(source, at), sample(source, at)[0] ?? "a text"]));
      return call(path, { input: value });
    }
    const found = sample(sources[0], 0);
    return call(path, found.length > 1 ? { inputs: found } : { input: found[0] ?? "a sentence" });
  }
  const url = location.origin + path;
  const fileOf = (source, at) => texts[keyOf(source, at)]?.[0]?.name ?? { image: "cat.jpg", sound: "speech.wav" }[source.kind];
  if (sources.length === 1) {
    const file = fileOf(sources[0], 0);
    const given = Object.values(texts)[0]?.[0];
    const type = given ? typeOf(given) : { image: "image/jpeg", sound: "audio/wav" }[sources[0].kind];
    if (isCurl) return `curl ${url}${bearer} \\\n  -H 'Content-Type: ${type}' \\\n  --data-binary @${quoted(file)}`;
    return post(url, `data=open(${JSON.stringify(file)}, "rb")${headers(type)}`);
  }
  const parts = sources.map((source, at) => {
    const name = keyOf(source, at);
    const text = sample(source, at)[0] ?? "a text";
    if (isCurl) return source.kind === "text" ? ` \\\n  -F ${quoted(`${name}=${text}`)}` : ` \\\n  -F ${quoted(`${name}=@${fileOf(source, at)}`)}`;
    return `${JSON.stringify(name)}: ${source.kind === "text" ? `(None, ${JSON.stringify(text)})` : `open(${JSON.stringify(fileOf(source, at))}, "rb")`}`;
  });
  return isCurl ? `curl ${url}${bearer}${parts.join("")}` : post(url, `files={${parts.join(", ")}}${headers()}`);
}

const keyOf = (source, at) => source.name ?? (at ? `${source.kind}-${at}` : source.kind);

// Whether a model continues a text, word by word.
const speaks = (model) =>
  model.gpux.generates && model.gpux.apis.includes("completions") && model.gpux.sources.every((source) => source.kind === "text");
