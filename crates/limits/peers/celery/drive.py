"""The client's side: posts tasks to the front, over connections that stay open.

Prints one JSON document: tasks a second from the first POST to the last result of all subscribers,
and how long a task takes from before its POST until its last result, at a steady rate. The times of
results are taken by the database before it commits them.
"""

import argparse
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from app import database

TABLES = (
    "CREATE OR REPLACE TABLE tasks (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,"
    " uid BINARY(16) NOT NULL, payload MEDIUMBLOB NOT NULL, created_at DATETIME(6) NOT NULL,"
    " UNIQUE KEY (uid)) ENGINE = InnoDB",
    "CREATE OR REPLACE TABLE results (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,"
    " task_id BIGINT NOT NULL, subscriber BIGINT NOT NULL, errnr INT NOT NULL,"
    " payload MEDIUMBLOB NOT NULL, done_at DATETIME(6) NOT NULL,"
    " UNIQUE KEY (task_id, subscriber)) ENGINE = InnoDB",
)
BODY = json.dumps({"payload": {"text": "x" * 488}})


def post(front):
    """One task; its number, and when it was asked for."""
    asked = time.time()
    front.request("POST", "/tasks", BODY, {"Content-Type": "application/json"})
    answer = front.getresponse()
    told = json.loads(answer.read())
    if answer.status != 201:
        raise RuntimeError(f"the front answered {answer.status}")
    return told["number"], asked


def results(session, first):
    """How many results there are of tasks from this one on."""
    with session.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM results WHERE task_id >= %s", (first,))
        return cursor.fetchone()[0]


def last_results(session, first):
    """When the last result of each task from this one on was written."""
    with session.cursor() as cursor:
        cursor.execute(
            "SELECT task_id, UNIX_TIMESTAMP(MAX(done_at)) FROM results"
            " WHERE task_id >= %s GROUP BY task_id",
            (first,),
        )
        return {number: float(at) for number, at in cursor.fetchall()}


def wait(session, first, count, seconds):
    """Whether so many results came in time."""
    end = time.time() + seconds
    while results(session, first) < count:
        if time.time() > end:
            return False
        time.sleep(0.05)
    return True


def flood(session, connect, seconds, threads, subscribers):
    """Tasks a second, posted as fast as the clients can."""
    posted = []

    def client():
        own = connect()
        while time.time() < end:
            posted.append(post(own))

    end = time.time() + seconds
    clients = [threading.Thread(target=client) for _ in range(threads)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    first = min(number for number, _ in posted)
    if not wait(session, first, len(posted) * subscribers, 10 * seconds + 60):
        return None
    begun = min(asked for _, asked in posted)
    return len(posted) / (max(last_results(session, first).values()) - begun)


def steady(session, front, rate, seconds, subscribers):
    """The times of tasks at a steady rate, in milliseconds, sorted."""
    posted = []
    begun = time.time()
    while len(posted) < rate * seconds:
        time.sleep(max(0.0, begun + len(posted) / rate - time.time()))
        posted.append(post(front))
    first = posted[0][0]
    if not wait(session, first, len(posted) * subscribers, 60):
        return None
    last = last_results(session, first)
    return sorted((last[number] - asked) * 1000 for number, asked in posted)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--subscribers", type=int, default=10)
    options.add_argument("--seconds", type=int, default=10)
    options.add_argument("--clients", type=int, default=8)
    options.add_argument("--processes", type=int, default=1)
    options.add_argument("--threads", type=int, default=8)
    options.add_argument("--rate", type=int, default=10)
    options.add_argument("--steady-seconds", type=int, default=30)
    args = options.parse_args()
    session = database()
    with session.cursor() as cursor:
        for table in TABLES:
            cursor.execute(table)
    celery = Path(sys.executable).with_name("celery")
    command = [celery, "-q", "-A", "app", "worker", "-P", "solo", "-c", "1", "-l", "ERROR"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "-n"]
    workers = [
        subprocess.Popen([*command, f"s{number}@%h"], stdout=sys.stderr)
        for number in range(args.subscribers)
    ]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [celery.with_name("gunicorn"), "front:app", "-b", f"127.0.0.1:{port}"]
    # Threads keep connections open, as tasker does; more processes share the cores with the rest.
    command += ["-w", str(args.processes), "-k", "gthread", "--threads", str(args.threads)]
    command += ["--keep-alive", "300"]
    workers.append(subprocess.Popen([*command, "--log-level", "error"], stdout=sys.stderr))

    def connect():
        return http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    try:
        front = connect()
        # A broadcast reaches whoever listens at that moment: all do when one comes back in full.
        end = time.time() + 120
        while True:
            try:
                first, _ = post(front)
                if wait(session, first, args.subscribers, 2):
                    break
            # The front is not there yet, nor the exchange, which is the subscribers' own.
            except (OSError, ValueError, RuntimeError, http.client.HTTPException):
                front = connect()
                time.sleep(0.5)
            if time.time() > end:
                sys.exit("the subscribers do not listen")
        rate = flood(session, connect, args.seconds, args.clients, args.subscribers)
        times = steady(session, front, args.rate, args.steady_seconds, args.subscribers)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()
    whole = rate is not None and times is not None
    document = {"section": "peer", "void": None if whole else "results are missing"}
    if whole:
        document["tasks_per_second"] = rate
        document["p50_ms"] = times[len(times) // 2]
        document["p99_ms"] = times[round((len(times) - 1) * 0.99)]
    print(json.dumps(document))


if __name__ == "__main__":
    main()
