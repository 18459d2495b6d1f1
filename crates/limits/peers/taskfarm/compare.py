"""tasker beside the public server of taskfarm: the same client, the same calls, in one run.

usage: compare.py TASKS ROUNDS NAME=URL...

Prints a table: the mean times of a call as the clients see them, and tasks a second, by the number of
clients; of several rounds the median.
"""

import statistics
import sys

from crowd import USER, crowd, new_run

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
    return [*means, tasks / span]


CALLS = ("get", "update", "done")


def main():
    tasks, rounds = int(sys.argv[1]), int(sys.argv[2])
    servers = [argument.split("=", 1) for argument in sys.argv[3:]]
    for name, url in servers:
        # Warm connections, caches and statements.
        measure(url, 16, 4)
        print(f"{name} is warm", file=sys.stderr)
    figures = {}
    for _ in range(rounds):
        for clients in CLIENTS:
            for name, url in servers:
                found = measure(url, tasks, clients)
                print(name, clients, [round(value, 2) for value in found], file=sys.stderr)
                figures.setdefault((clients, name), []).append(found)
    print("| clients | server | get, ms | update, ms | done, ms | tasks/s |")
    print("|---|---|---|---|---|---|")
    for (clients, name), found in figures.items():
        row = [statistics.median(column) for column in zip(*found)]
        cells = " | ".join(f"{value:.1f}" for value in row)
        print(f"| {clients} | {name} | {cells} |")


if __name__ == "__main__":
    main()
