"""Counts instructions of some workloads with callgrind, and compares them with counts.json: a check that a noisy machine can't fool.

    cargo build --release
    python benches/instructions/count.py            # compare; fails if a count has grown by more than a hundredth
    python benches/instructions/count.py --update   # write the counts

Needs valgrind. It knows no AVX-512, so what is counted is the code for AVX2, on one thread. A count of a step is the difference between two runs that
differ in the number of steps, so that loading the model is not in it.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
COUNTS = HERE / "counts.json"
GROWTH = 0.01
# After so many steps all weights are packed.
PACKED = 20
IDS = [(7 * i + 3) % 1000 for i in range(97)]


def instructions(tl, arguments):
    """The instructions that a run takes."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", tl, *arguments]
        # The salts of hash tables are the system's; the layout of the rest is not left to chance.
        done = subprocess.run(["setarch", "-R", *command], capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        sys.exit(f"{' '.join(map(str, arguments))} failed:\n{done.stderr}")
    return int(found.group(1))


def generate(tl, model, ids, tokens):
    ids = ",".join(map(str, ids))
    return instructions(tl, ["generate", model, "--ids", ids, "-n", str(tokens), "--temp", "0", "--ignore-eos", "--threads", "1"])


def of_model(tl, model):
    """Instructions of a token of decode, and of a token of a prompt."""
    first = generate(tl, model, IDS[:1], 1)
    packed = generate(tl, model, IDS[:1], PACKED)
    return {
        "decode": (generate(tl, model, IDS[:1], PACKED + 4) - packed) // 4,
        "prefill": (generate(tl, model, IDS, 1) - first) // (len(IDS) - 1),
    }


def measure(tl):
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        for quant in ("Q4_0", "Q4_K_M", "Q8_0", "F16"):
            model = f"{folder}/{quant}.gguf"
            subprocess.run([tl, "synth", HERE / "small.json", "--quant", quant, "--out", model], check=True, capture_output=True)
            for step, count in of_model(tl, model).items():
                counts[f"{quant}, {step}"] = count
    for program in sorted(HERE.glob("*.tl")):
        counts[program.stem] = instructions(tl, ["run", program, "--threads", "1"])
    return counts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tl", default=HERE.parent.parent / "target" / "release" / "tl", help="the program to count")
    parser.add_argument("--update", action="store_true", help="write counts.json")
    options = parser.parse_args()
    known = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    counts = measure(options.tl)
    grown = []
    for name, count in counts.items():
        change = count / known[name] - 1 if name in known else 0
        print(f"{name:<18} {count:>15,} {change:+8.2%}")
        if change > GROWTH:
            grown.append(name)
    if options.update:
        COUNTS.write_text(json.dumps(counts, indent=2) + "\n")
    elif grown:
        sys.exit(f"more instructions than counts.json has: {', '.join(grown)}")


main()
