"""Writes small models of four kinds with what they should answer, by ONNX Runtime and NumPy alone.

usage: models.py OUT_DIR [LAYERS]

Each kind has a folder with a GPUXfile, its model, something to ask, and golden.json. Weights are random, of a fixed seed.
BERT has the sizes of bert-base-uncased but LAYERS of its twelve layers, one without it, and fewer words.
"""

import json
import pathlib
import struct
import sys
import zlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T, helper as h, numpy_helper as nh

RNG = np.random.default_rng(7)
LABELS = ["cat", "dog", "bicycle"]


class Graph:
    """Nodes and weights in the making; every node gives one tensor, named after itself."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def weight(self, array):
        name = f"w{len(self.weights)}"
        self.weights.append(nh.from_array(np.array(array, order="C"), name))
        return name

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [f"{kind.lower()}{len(self.nodes)}_{at}" for at in range(outputs)]
        inputs = [self.weight(x) if isinstance(x, (np.ndarray, np.generic)) else x for x in inputs]
        self.nodes.append(h.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def save(self, path, inputs, output, shape):
        self.nodes.append(h.make_node("Identity", [output], ["y"]))
        ports = [h.make_tensor_value_info(name, kind, dims) for name, kind, dims in inputs]
        graph = h.make_graph(self.nodes, path.parent.name, ports, [h.make_tensor_value_info("y", T.FLOAT, shape)], self.weights)
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8, producer_name="gpux tests")
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def floats(*shape, scale=1.0):
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


def png(path, pixels):
    """Writes [height, width, 3] bytes as a PNG."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def picture(folder, side):
    """Writes a picture of slopes and squares; gives it as a network takes it, from 0 to 1."""
    y, x = np.mgrid[0:side, 0:side]
    pixels = np.stack([x * 255 // side, y * 255 // side, (x // 9 + y // 7) % 2 * 200], -1).astype(np.uint8)
    png(folder / "picture.png", pixels)
    return (pixels.astype(np.float32) / 255).transpose(2, 0, 1)[None]


def folder_of(out, name, gpuxfile, golden=None):
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "GPUXfile").write_text(f"name: {name}\nversion: 1.0.0\nmodel: model.onnx\n{gpuxfile}")
    if golden is not None:
        (folder / "golden.json").write_text(json.dumps(golden))
    return folder


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    return both / (area(a) + area(b) - both)


def detection(out):
    """A detector in the form of YOLOv8: a cell of eight pixels says where a thing lies around it, and what it is."""
    side, cells = 64, 8
    folder = folder_of(out, "yolo", f"outputs: {{y: {{labels: {json.dumps(LABELS)}}}}}\n"
                       f"preprocessing: [{{resize: {{letterbox: {side}}}}}, rescale]\n"
                       "postprocessing: {y: {detect: {form: yolov8, score: 0.6, iou: 0.3}}}\n")
    g = Graph()
    raw = g.op("Conv", "x", floats(7, 3, 8, 8, scale=0.25), floats(7), kernel_shape=[8, 8], strides=[8, 8])
    raw = g.op("Sigmoid", g.op("Reshape", raw, np.array([1, 7, cells * cells], np.int64)))
    center, size, scores = g.op("Split", raw, np.array([2, 2, 3], np.int64), outputs=3, axis=1)
    rows, columns = np.mgrid[0:cells, 0:cells].reshape(2, -1)
    middles = np.stack([columns, rows])[None].astype(np.float32) * 8 + 4
    center = g.op("Add", g.op("Mul", center, np.float32([8])), middles - 4)
    size = g.op("Add", g.op("Mul", size, np.float32([30])), np.float32([6]))
    session = g.save(folder / "model.onnx", [("x", T.FLOAT, [1, 3, side, side])],
                     g.op("Concat", center, size, scores, axis=1), [1, 7, cells * cells])
    y = session.run(None, {"x": picture(folder, side)})[0][0]
    found = []
    for column in y.T:
        cls = int(column[4:].argmax())
        x, z, w, h_ = column[:4].astype(float)
        sides = [min(max(v, 0.0), side) for v in (x - w / 2, z - h_ / 2, x + w / 2, z + h_ / 2)]
        whole = (x - w / 2, z - h_ / 2, x + w / 2, z + h_ / 2)
        if column[4 + cls] >= 0.6:
            found.append((float(column[4 + cls]), cls, sides, whole))
    found.sort(key=lambda one: -one[0])
    kept = []
    for one in found:
        if all(other[1] != one[1] or overlap(other[3], one[3]) <= 0.3 for other in kept):
            kept.append(one)
    assert 3 <= len(kept) < len(found), (len(kept), len(found))
    golden = [{"index": cls, "label": LABELS[cls], "score": score, "box": sides} for score, cls, sides, _ in kept]
    (folder / "golden.json").write_text(json.dumps(golden))


def segmentation(out):
    """Scores of three classes at half the sides of the picture."""
    side = 32
    folder = folder_of(out, "segment", f"outputs: {{y: {{labels: {json.dumps(LABELS)}}}}}\n"
                       f"preprocessing: [{{resize: {{size: {side}}}}}, rescale, {{normalize: half}}]\npostprocessing: {{y: mask}}\n")
    g = Graph()
    hidden = g.op("Relu", g.op("Conv", "x", floats(8, 3, 3, 3), floats(8), kernel_shape=[3, 3], pads=[1, 1, 1, 1],
                                strides=[2, 2]))
    session = g.save(folder / "model.onnx", [("x", T.FLOAT, ["N", 3, side, side])],
                     g.op("Conv", hidden, floats(3, 8, 1, 1), floats(3), kernel_shape=[1, 1]), ["N", 3, side // 2, side // 2])
    x = (picture(folder, side) - 0.5) / 0.5
    classes = session.run(None, {"x": x.astype(np.float32)})[0][0].argmax(0)
    classes = classes.repeat(2, 0).repeat(2, 1)
    (folder / "golden.json").write_text(json.dumps(classes.tolist()))


def ctc(out):
    """A recognizer of letters: frames of samples in, scores of letters out."""
    letters = ["_", "|", *"aeionst"]
    folder = folder_of(out, "ctc", f"outputs: {{y: {{labels: {json.dumps(letters)}}}}}\n"
                       "preprocessing: [{sound: 8000}, {frames: {size: 160}}]\npostprocessing: {y: {ctc: {delimiter: '|'}}}\n")
    g = Graph()
    hidden = g.op("Tanh", g.op("MatMul", "x", floats(160, 24, scale=1.5)))
    session = g.save(folder / "model.onnx", [("x", T.FLOAT, [1, "T", 160])], g.op("MatMul", hidden, floats(24, 9)), [1, "T", 9])
    time = np.arange(8000) / 8000
    samples = (12000 * np.sin(2 * np.pi * (200 + 900 * time) * time) * np.sin(9 * time) ** 2).astype(np.int16)
    data = samples.tobytes()
    (folder / "sound.wav").write_bytes(
        struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", len(data)) + data)
    frames = (samples.astype(np.float32) / 32768).reshape(1, -1, 160)
    best = session.run(None, {"x": frames})[0][0].argmax(-1)
    text = [letters[c] for at, c in enumerate(best) if c != 0 and (at == 0 or best[at - 1] != c)]
    (folder / "golden.json").write_text(json.dumps("".join(text).replace("|", " ")))


def bert(out, layers):
    """BERT with a head of three classes, as bert-base is but for the number of layers and words."""
    hidden, heads, inner, words = 768, 12, 3072, 2000
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}
    for word in "the a man woman cat dog is was eating reading some food book bread under tree . ? who what".split():
        vocabulary[word] = len(vocabulary)
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                       "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": None,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                  "vocab": vocabulary},
    }
    folder = folder_of(out, "bert", f"outputs: {{y: {{labels: {json.dumps(LABELS)}}}}}\n"
                       "preprocessing: {tokenizer: tokenizer.json, max_length: 64}\npostprocessing: {y: [softmax, {top_k: 3}]}\n")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    g = Graph()
    weight = lambda *shape: floats(*shape, scale=0.04)
    linear = lambda x, rows, columns: g.op("Add", g.op("MatMul", x, weight(rows, columns)), weight(columns))
    norm = lambda x: g.op("LayerNormalization", x, np.ones(hidden, np.float32), weight(hidden), axis=-1, epsilon=1e-12)
    length = g.op("Squeeze", g.op("Shape", "input_ids", start=1, end=2))
    positions = g.op("Range", np.array(0, np.int64), length, np.array(1, np.int64))
    x = g.op("Add", g.op("Gather", weight(words, hidden), "input_ids"), g.op("Gather", weight(2, hidden), "token_type_ids"))
    x = norm(g.op("Add", x, g.op("Gather", weight(512, hidden), positions)))
    mask = g.op("Cast", g.op("Unsqueeze", "attention_mask", np.array([1, 2], np.int64)), to=T.FLOAT)
    mask = g.op("Mul", g.op("Sub", np.float32(1), mask), np.float32(-1e9))
    split, merge = (np.array(shape, np.int64) for shape in ([0, 0, heads, hidden // heads], [0, 0, hidden]))
    for _ in range(layers):
        project = lambda perm: g.op("Transpose", g.op("Reshape", linear(x, hidden, hidden), split), perm=perm)
        query, key, value = project([0, 2, 1, 3]), project([0, 2, 3, 1]), project([0, 2, 1, 3])
        scores = g.op("Div", g.op("MatMul", query, key), np.float32((hidden // heads) ** 0.5))
        mixed = g.op("MatMul", g.op("Softmax", g.op("Add", scores, mask), axis=-1), value)
        mixed = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), merge)
        x = norm(g.op("Add", linear(mixed, hidden, hidden), x))
        y = linear(x, hidden, inner)
        gelu = g.op("Mul", g.op("Mul", y, np.float32(0.5)),
                    g.op("Add", g.op("Erf", g.op("Div", y, np.float32(2 ** 0.5))), np.float32(1)))
        x = norm(g.op("Add", linear(gelu, inner, hidden), x))
    first = g.op("Gather", x, np.array(0, np.int64), axis=1)
    pooled = g.op("Tanh", linear(first, hidden, hidden))
    ports = [(name, T.INT64, ["batch", "sequence"]) for name in ("input_ids", "attention_mask", "token_type_ids")]
    session = g.save(folder / "model.onnx", ports, linear(pooled, hidden, 3), ["batch", 3])
    golden = []
    for first, second in [("The man is eating bread.", None), ("Who was under the tree?", "a cat was under the tree"),
                          ("a dog", "is reading some book?")]:
        ids, types = [2], [0]
        for at, text in enumerate(text for text in (first, second) if text):
            for mark in ".?":
                text = text.replace(mark, f" {mark}")
            tokens = [vocabulary[word] for word in text.lower().split()]
            ids += [*tokens, 3]
            types += [at] * (len(tokens) + 1)
        row = lambda values: np.array([values], np.int64)
        scores = session.run(None, {"input_ids": row(ids), "attention_mask": row([1] * len(ids)), "token_type_ids": row(types)})[0][0]
        shares = np.exp(scores - scores.max())
        golden.append({"texts": [text for text in (first, second) if text], "shares": (shares / shares.sum()).tolist()})
    (folder / "golden.json").write_text(json.dumps(golden))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    target = pathlib.Path(sys.argv[1])
    detection(target)
    segmentation(target)
    ctc(target)
    bert(target, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
