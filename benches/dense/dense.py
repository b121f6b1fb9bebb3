"""What dense.tl computes, with NumPy: prints the least time of each in milliseconds.

Set OPENBLAS_NUM_THREADS to the number of threads.
"""

import time

import numpy as np

f = np.float32
i, j, k, l = (np.arange(n, dtype=f) for n in (1024, 1024, 1024, 64))
A = np.sin(i[:, None] * f(0.37) + j * f(0.11))
B = np.cos(j[:, None] * f(0.23) - k * f(0.17))
D = np.sin(k[:, None] * f(0.19) + l * f(0.13))
h, p, c = np.arange(8, dtype=f)[:, None, None], np.arange(512, dtype=f)[:, None], np.arange(64, dtype=f)
Q = np.sin(p * f(0.31) + c * f(0.17) + h)
K = np.cos(p * f(0.29) - c * f(0.13) + h)
V = np.sin(p * f(0.07) + c * f(0.19) - h)
x = np.arange(512, dtype=f)
Image = np.sin(x[:, None] * f(0.013) + x * f(0.021))
Filter = np.array([[[1, 2, 1, 0], [0, 1, 0, 1], [-1, 2, 1, 1]], [[2, 1, 0, 1], [4, 0, 1, -1], [2, 0, 1, 0]], [[1, -2, 1, 0], [0, 1, 1, 1], [-1, 0, 1, 2]]], dtype=f)
mask = np.where(np.tril(np.ones((512, 512), dtype=bool)), f(0), f(-np.inf))


def attention():
    s = Q @ K.transpose(0, 2, 1)
    s *= f(1 / 8)
    s += mask
    s -= s.max(axis=-1, keepdims=True)
    np.exp(s, out=s)
    s /= s.sum(axis=-1, keepdims=True)
    return s @ V


def convolution():
    padded = np.zeros((514, 514), dtype=f)
    padded[:512, :512] = Image
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).reshape(512 * 512, 9)
    return np.maximum(windows @ Filter.reshape(9, 4), f(0)).reshape(512, 512, 4)


def measure(name, compute):
    least = 1e9
    for _ in range(9):
        start = time.perf_counter()
        compute()
        least = min(least, time.perf_counter() - start)
    print(f"{name:<12} {least * 1000:>9.3f} ms")


measure("product", lambda: A @ B)
measure("chain", lambda: A @ (B @ D))
measure("gram", lambda: A @ A.T)
measure("attention", attention)
measure("convolution", convolution)
measure("elementwise", lambda: A * B + 2 * A - B / 3)
measure("exponential", lambda: np.exp(-(A**2)) / (1 + np.abs(B)))
measure("norm", lambda: A / np.sqrt(np.mean(A**2, axis=-1, keepdims=True) + f(0.00001)))
measure("reduction", lambda: np.sum(A * B, axis=0))
