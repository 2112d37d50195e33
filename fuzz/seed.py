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

# Whole tables are long; their single commands are what is worth changing.
tables = sorted(ROOT.glob("plugins/**/*.toml")) + sorted(ROOT.glob("examples/**/*.toml"))
tables = [t.read_text() for t in tables if t.name != "Cargo.toml" and "target" not in t.parts]
commands = [part for table in tables for part in table.split("\n\n") if "[" in part]
seed("table", [text.encode() for text in tables + commands])

TEXT = b"rm -rf x"
PATH = b"/srv/app"
session = [record(1, b"PATH"), record(2, b"ls"), record(3, b"\1"), record(4, b"\0")]
variable = [record(1, b"HOME"), record(2, PATH)]
request = [record(1, b"bash"), record(2, TEXT), record(3, PATH), record(4, PATH)]
request += [record(5, b"".join(variable)), record(6, b"".join(session))]
path = [record(1, PATH), record(2, b"\2"), record(3, b"\1"), record(4, b"\1")]
path += [record(5, b"removed"), record(6, b"rm")]
unclear = [record(1, TEXT), record(2, PATH), record(3, b"unknown program")]
effect = [record(1, b"network"), record(2, b"sent")]
inference = [record(1, b"".join(path)), record(2, PATH), record(3, b"".join(unclear))]
inference += [record(4, b"".join(effect)), record(5, b"\1"), record(6, b"".join(session))]
error = [record(1, b"mine.toml"), record(2, b"\1\0\0\0"), record(3, b"\2\0\0\0")]
error += [record(4, b"no such role")]
values = [request, inference, error]

# Records of every tag that is in use, alone and within one another.
tags = range(1, 32)
flat = [record(tag, b"/srv/app") for tag in tags]
nested = [record(tag, record(1, b"/x") + record(2, b"\x01")) for tag in tags]
wholes = [b"".join(value) for value in values] + [b"".join(value[:3]) for value in values]
seed("abi_decode", flat + nested + wholes)
