"""tasker beside the public server of taskfarm: the same client, the same calls, in one run.

usage: compare.py TASKS NAME=URL...

Prints one JSON document, flat: for each server and number of clients the mean times of a call as the
clients see them, tasks a second, and the processor time that the clients themselves take for a task.
"""

import json
import statistics
import sys

from crowd import crowd, new_run

CLIENTS = (1, 8, 32)


def measure(url, tasks, clients):
    """One run of so many tasks."""
    run = new_run(url, tasks)
    told = crowd(url, run.uuid, clients)
    given = sorted(task for worker in told for task in worker["tasks"])
    if given != list(range(tasks)):
        raise SystemExit(f"{url}: {len(given)} tasks were handed out, {len(set(given))} different ones")
    run.delete()
    span = max(worker["ended"] for worker in told) - min(worker["began"] for worker in told)
    busy = [worker for worker in told if worker["tasks"]]
    means = [statistics.fmean(worker[call] for worker in busy) * 1000 for call in CALLS]
    processor = sum(worker["processor"] for worker in told) / tasks * 1000
    return [*means, tasks / span, processor]


CALLS = ("get", "update", "done")
FIGURES = (*(f"{call}_ms" for call in CALLS), "tasks_per_second", "client_cpu_ms")


def main():
    tasks = int(sys.argv[1])
    servers = [argument.split("=", 1) for argument in sys.argv[2:]]
    for _, url in servers:
        # Warm connections, caches and statements.
        measure(url, 16, 4)
    told = {"void": None}
    for clients in CLIENTS:
        for name, url in servers:
            found = zip(FIGURES, measure(url, tasks, clients))
            told |= {f"{name}.{clients}.{figure}": value for figure, value in found}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
