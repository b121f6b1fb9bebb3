"""Runs dense.tl and dense.py in turn and prints a table: the least milliseconds of each equation, and ratios to NumPy.

    cargo build --release
    python benches/dense/compare.py --threads 1 2 --rounds 5

Needs NumPy. A ratio below 1 means that dense.tl is the faster one.
"""

import argparse
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def times(command, environment):
    """The milliseconds that each line `name milliseconds …` of a command's output says."""
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    rows = (line.split() for line in output.splitlines())
    return {row[0]: float(row[1]) for row in rows}


def compare(tl, threads, rounds):
    """The least of some rounds, ours and NumPy's, by name."""
    # What would choose other kernels of OpenBLAS than its own choice for this machine is left out.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    environment |= {"OPENBLAS_NUM_THREADS": str(threads)}
    ours, peer = {}, {}
    for _ in range(rounds):
        for least, command in (
            (ours, [tl, "run", HERE / "dense.tl", "--threads", str(threads)]),
            (peer, [sys.executable, HERE / "dense.py"]),
        ):
            for name, milliseconds in times(command, environment).items():
                least[name] = min(milliseconds, least.get(name, milliseconds))
    return ours, peer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tl", default=HERE.parent.parent / "target" / "release" / "tl", help="the program to measure")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    table = {}
    for threads in options.threads:
        ours, peer = compare(options.tl, threads, options.rounds)
        for name in ours:
            table.setdefault(name, []).append(f"{ours[name]:.2f} | {peer[name]:.2f} | {ours[name] / peer[name]:.2f}")
    heads = [f"{count} thread{'s' * (count > 1)}, ms | NumPy | ratio" for count in options.threads]
    print("|  |", " | ".join(heads), "|")
    print("|---|" + "--:|" * 3 * len(heads))
    for name, cells in table.items():
        print(f"| {name} |", " | ".join(cells), "|")


main()
