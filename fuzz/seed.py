#!/usr/bin/env python3
"""Writes the corpora of command lines and the tables of commands as seeds into fuzz/corpus."""

import hashlib
import pathlib
import struct
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent


def seed(target, contents):
    directory = HERE / "corpus" / target
    directory.mkdir(parents=True, exist_ok=True)
    for content in contents:
        name = hashlib.sha256(content).hexdigest()[:16]
        (directory / name).write_bytes(content)
    print(f"{target}: {len(contents)} seeds")


def record(tag, content):
    return struct.pack("<HI", tag, len(content)) + content


for shell in ["bash", "cmd", "powershell"]:
    corpus = ROOT / "tests" / "corpus" / f"{shell}.toml"
    if corpus.exists():
        lines = tomllib.loads(corpus.read_text())["line"]
        seed(shell, [line["command"].encode() for line in lines])

tables = sorted(ROOT.glob("plugins/**/*.toml")) + sorted(ROOT.glob("examples/**/*.toml"))
seed("table", [t.read_bytes() for t in tables if t.name != "Cargo.toml" and "target" not in t.parts])

# Records of every tag that is in use, alone and within one another.
tags = range(1, 32)
flat = [record(tag, b"/srv/app") for tag in tags]
nested = [record(tag, record(1, b"/x") + record(2, b"\x01")) for tag in tags]
seed("abi_decode", flat + nested + [b"".join(flat), b"".join(nested)])
