#!/usr/bin/env python3
"""Writes the corpora of command lines, the tables of commands and the requests of backends as seeds into fuzz/corpus."""

import hashlib
import json
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

# Each request of the protocol, each of its fields with something else in it, and JSON that is none.
command = {"command_id": "cmd_123", "command": "mkdir new_folder", "shell": "bash", "execution_id": "e",
           "group_execution": {"n": [1]}, "session": "s", "session_shell": "0f", "cwd": "/srv/app",
           "env": {"A": "1"}, "timeout_s": 1.5, "snapshot": True, "strategy": "copy",
           "monitored_paths": ["/srv/app"]}
batch = {"batch_id": "batch_1", "commands": ["cd x", "mkdir y"], "shell": "sh", "stop_on_failure": False,
         "cwd": "/srv", "env": {}, "timeout_s": 9, "snapshot": None, "strategy": "journal"}
snapshot = {"snapshot_id": "abc123def4567890"}
rollback = {"on_conflict": "skip", "dry_run": True}
requests = {
    "execute_deployment_command": command,
    "execute_batch_persistent": batch,
    "cancel_command": {"command_id": "cmd_123"},
    "cancel_batch": {"batch_id": "batch_1"},
    "close_session": {"session": "s"},
    "rollback_command": {**snapshot, **rollback, "paths": ["/srv/app/x"]},
    "rollback_batch": {"batch_id": "last", **rollback},
    "get_snapshot_info": snapshot,
    "get_batch_snapshots": {"batch_id": "../../etc"},
    "list_snapshots": {},
    "cleanup_snapshot": snapshot,
    "cleanup_batch": {"batch_id": "batch_1"},
    "get_snapshot_diff": {**snapshot, "paths": ["/"], "max_bytes": 65536},
    "pin_snapshot": {**snapshot, "pinned": True},
    "get_shells": {},
    "registration_success": {"agent_id": "agent"},
    "registration_error": {"error": "no"},
    "unknown": {"a": None},
}
others = [None, 1, -1.5e300, "", "a\nb", "\u0000", "x" * 300, [], [[]], {}, {"a": {"b": []}}, True]
events = []
for event, fields in requests.items():
    payloads = [json.dumps(payload) for payload in [fields, None, [], [fields], 5, "text"]]
    payloads += [json.dumps({**fields, name: other}) for name in fields for other in others]
    payloads += [json.dumps({k: v for k, v in fields.items() if k != name}) for name in fields]
    payloads += ['{"command_id":"\\ud800"}', "{", '{"a":1e999}', "[" * 200]
    events += [f"{event}\n{payload}".encode() for payload in payloads]
seed("event", events + [b"execute_deployment_command\n{\"command_id\":\"\xff\xfe\"}"])
