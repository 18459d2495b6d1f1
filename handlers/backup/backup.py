#!/usr/bin/env python3
"""The second sample: packs folders into a tar archive and answers with what it packed.

The archive is thrown away with the run's folder: a real backup would send it somewhere. A payload such
as {"foo": "bar"}, which names no paths, is a drill: nothing is packed and the answer says so.
"""

import json
import os
import sys
import tarfile

GENERAL, NOT_FOUND = 1, 2


def progress(percent, note):
    with open(os.environ["TASKER_PROGRESS"], "w", encoding="utf-8") as fifo:
        fifo.write(f"{percent} {note}\n")


def reply(value):
    with open(os.environ["TASKER_REPLY"], "w", encoding="utf-8") as file:
        json.dump(value, file)


def fail(errnr, errmsg):
    reply({"errmsg": errmsg})
    sys.exit(errnr)


def main():
    request = json.load(sys.stdin)
    order = request["payload"] or {}
    root = os.environ.get("BACKUP_ROOT", "/")
    paths = [os.path.join(root, path) for path in order.get("paths", [])]
    excluded = set(order.get("exclude", []))

    for path in paths:
        if not os.path.isdir(path):
            fail(NOT_FOUND, f"{path} is no folder")

    def keep(member):
        return None if os.path.basename(member.name) in excluded else member

    archive = "backup.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for done, path in enumerate(paths):
            progress(done * 100 // len(paths), f"packing {path}")
            tar.add(path, filter=keep)
        files = sum(1 for member in tar.getmembers() if member.isfile())
    progress(100, "packed")

    print(f"packed {files} files for {request['identifier']}")
    reply({"files": files, "bytes": os.path.getsize(archive), "drill": not paths})


try:
    main()
except (OSError, tarfile.TarError) as error:
    fail(GENERAL, str(error))
