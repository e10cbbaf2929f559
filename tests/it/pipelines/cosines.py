#!/usr/bin/env python3
"""Prints the cosines of pairs of texts, as the tokens kept beside the pairs and the onnxruntime package give them.

usage: cosines.py MODEL.onnx PAIRS.json           prints a JSON list
       cosines.py --tokens TOKENIZER.json PAIRS.json     writes the tokens into PAIRS.json; needs: pip install tokenizers
"""

import json
import pathlib
import sys


def tokens(tokenizer, path):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(tokenizer)
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    pairs = json.loads(pathlib.Path(path).read_text())
    for pair in pairs:
        pair["input_ids"] = [tokenizer.encode(text).ids for text in pair["texts"]]
    lines = ",\n ".join(json.dumps(pair, ensure_ascii=False) for pair in pairs)
    pathlib.Path(path).write_text(f"[{lines}]\n")


def main(model, path):
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(model)

    def embedding(ids):
        ids = np.array([ids], np.int64)
        states = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)})[0]
        mean = states[0].mean(0)
        return mean / np.linalg.norm(mean)

    pairs = json.loads(pathlib.Path(path).read_text())
    print(json.dumps([float(embedding(a) @ embedding(b)) for a, b in (pair["input_ids"] for pair in pairs)]))


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--tokens":
        tokens(*sys.argv[2:])
    elif len(sys.argv) == 3:
        main(*sys.argv[1:])
    else:
        sys.exit(__doc__)
