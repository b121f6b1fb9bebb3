"""Writes the data of the examples from the packages that ship them.

    pip download --no-deps pykeen==1.11.1 && unzip -q pykeen-*.whl
    pip install numpy scikit-learn
    python make.py PATH/TO/pykeen/datasets/kinships

digits.npz    scikit-learn's digits: `images` [1797, 64], grey levels 0 to 16; `labels` [1797]
kinship.tsv   the Kinship relations (Denham 1973, as Kemp et al. 2006 have them), all 10,686 triples: subject, relation, object
mlp.npz, rnn.npz, gnn.npz, transformer.npz, tucker.npz
              random weights, and what a program of loops makes of them
asia.json     the probabilities of the network ASIA (Lauritzen and Spiegelhalter 1988): for each variable P(variable | its parents), the
              parents' axes first, "yes" at 0 and "no" at 1
"""

import json
import sys

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
np.savez_compressed("digits.npz", images=digits.data.astype(np.uint8), labels=digits.target.astype(np.uint8))

with open("kinship.tsv", "w") as out:
    for part in ("train", "valid", "test"):
        out.write(open(f"{sys.argv[1]}/{part}.txt").read())

yes = lambda p: [p, round(1 - p, 10)]
asia = {
    "asia": yes(0.01),
    "smoke": yes(0.5),
    "tub": [yes(0.05), yes(0.01)],
    "lung": [yes(0.1), yes(0.01)],
    "bronc": [yes(0.6), yes(0.3)],
    "either": [[yes(1), yes(1)], [yes(1), yes(0)]],
    "xray": [yes(0.98), yes(0.05)],
    "dysp": [[yes(0.9), yes(0.8)], [yes(0.7), yes(0.1)]],
}
with open("asia.json", "w") as out:
    json.dump(asia, out, indent=2)
    out.write("\n")


# What follows computes the models of the paper as plainly as can be, in 64 bits, for the examples to be held against.
random = np.random.default_rng(0)
normal = lambda *shape: random.standard_normal(shape).astype(np.float32)
sigmoid = lambda x: 1 / (1 + np.exp(-x))
relu = lambda x: np.maximum(x, 0)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def save(name, result, **weights):
    np.savez_compressed(name, **weights, **{key: np.asarray(value, np.float32) for key, value in result.items()})


# Layers of 4, 5, 3 and 2 units.
sizes = [4, 5, 3, 2]
layers = {f"layer.{l}.W": normal(sizes[l + 1], sizes[l]) for l in range(3)}
x = start = normal(sizes[0]).astype(float)
for l in range(3):
    x = sigmoid(layers[f"layer.{l}.W"].astype(float) @ x)
save("mlp.npz", {"start": start, "result": x}, **layers)

# A recurrent network of 8 units that sees 3 numbers at each of 20 times.
W, V, U = normal(8, 8), normal(8, 3), normal(3, 20)
X = np.zeros((8, 21))
for t in range(20):
    for i in range(8):
        total = sum(float(W[i, j]) * X[j, t] for j in range(8)) + sum(float(V[i, k]) * float(U[k, t]) for k in range(3))
        X[i, t + 1] = sigmoid(total)
save("rnn.npz", {"X": X}, W=W, V=V, U=U)

# A graph neural network of 2 layers over 7 nodes in a ring with one chord.
nodes, width = 7, 4
neighbours = np.zeros((nodes, nodes), bool)
for n in range(nodes):
    neighbours[n, (n + 1) % nodes] = neighbours[(n + 1) % nodes, n] = True
neighbours[0, 3] = neighbours[3, 0] = True
X = normal(nodes, width)
(WP, WAgg, WSelf), WOut = normal(3, 2, width, width) / 2, normal(width)
emb = X.astype(float)
for l in range(2):
    z = relu(emb @ WP[l].T.astype(float))
    agg = np.stack([sum((z[m] for m in range(nodes) if neighbours[n, m]), np.zeros(width)) for n in range(nodes)])
    emb = relu(agg @ WAgg[l].T.astype(float) + emb @ WSelf[l].T.astype(float))
out = {"node": sigmoid(emb @ WOut), "edge": sigmoid(emb @ emb.T), "graph": sigmoid((emb @ WOut).sum())}
save("gnn.npz", out, neighbours=neighbours, X=X, WP=WP, WAgg=WAgg, WSelf=WSelf, WOut=WOut)

# A transformer of 2 blocks and 2 heads on 6 tokens of 11.
blocks, heads, positions, vocabulary, d, k, hidden = 2, 2, 6, 11, 8, 4, 16
w = {
    "Emb": normal(vocabulary, d), "WQ": normal(blocks, heads, k, d), "WK": normal(blocks, heads, k, d), "WV": normal(blocks, heads, k, d),
    "WS": normal(blocks, d, heads * k), "WP": normal(blocks, hidden, d), "WD": normal(blocks, d, hidden), "WO": normal(vocabulary, d),
}
f = {name: value.astype(float) for name, value in w.items()}
tokens = np.array([3, 1, 4, 1, 5, 9], np.int32)
encoding = np.array([[np.sin(p / 10000 ** (c / d)) if c % 2 == 0 else np.cos(p / 10000 ** ((c - 1) / d)) for c in range(d)] for p in range(positions)])
stream = f["Emb"][tokens] + encoding
for b in range(blocks):
    merged = np.zeros((positions, heads * k))
    for h in range(heads):
        query, key, value = (stream @ f[name][b, h].T for name in ("WQ", "WK", "WV"))
        for p in range(positions):
            weights = softmax(query[p] @ key[: p + 1].T / np.sqrt(k))
            merged[p, h * k : (h + 1) * k] = weights @ value[: p + 1]
    stream = layer_norm(stream + merged @ f["WS"][b].T)
    stream = layer_norm(stream + relu(stream @ f["WP"][b].T) @ f["WD"][b].T)
save("transformer.npz", {"result": softmax(stream @ f["WO"].T)}, tokens=tokens, **w)

# A tensor of rank (2, 3, 2) with a little noise.
A, B, C, core = normal(12, 2), normal(10, 3), normal(8, 2), normal(2, 3, 2)
X = np.einsum("ip,jq,kr,pqr->ijk", A, B, C, core) + 0.01 * normal(12, 10, 8)
save("tucker.npz", {"X": X})
