"""The public client of taskfarm, unchanged, against tasker: no task is handed out twice, none is lost.

usage: prove.py COMMAND_OF_manageTF URL URL_WITH_LEASE

The second server has `runs.lease_s` of a few seconds; one of its workers is killed.
"""

import subprocess
import sys
import time

from crowd import USER, crowd, new_run
from taskfarm_worker import TaskFarm, TaskFarmWorker, tfRuns

WORKERS = 32
TASKS = 160
# Seconds.
PATIENCE = 60


def check(what, got, wanted):
    """Ends the proof if something is not as it must be."""
    if got != wanted:
        raise SystemExit(f"{what}: {got!r}, not {wanted!r}")


def check_run(run, told, attempts):
    """Every task was given to exactly the workers that say so, and is done; `attempts`: those that
    were handed out more than once."""
    given = sorted(task for worker in told for task in worker["tasks"])
    check("tasks that workers were given", given, list(range(run.numTasks)))
    holders = {task: worker["worker"] for worker in told for task in worker["tasks"]}
    more = {}
    for number in range(run.numTasks):
        task = run.getTaskInfo(number, "")
        check(f"status of task {number}", task["status"], "done")
        check(f"percentage of task {number}", task["percentCompleted"], 100.0)
        check(f"worker of task {number}", task["worker_uuid"], holders[number])
        if task["attempt"] != 1:
            more[number] = task["attempt"]
    check("tasks that were handed out more than once", more, attempts)
    info = run.info("")
    counts = [info[key] for key in ("numDone", "numWaiting", "numComputing", "percentDone")]
    check("the run", counts, [run.numTasks, 0, 0, 100.0])


def stress(url):
    """32 workers at the same time."""
    run = new_run(url, TASKS)
    told = crowd(url, run.uuid, WORKERS)
    check_run(run, told, {})
    busy = sum(bool(worker["tasks"]) for worker in told)
    print(f"stress: {TASKS} tasks, {WORKERS} workers ({busy} got tasks), each handed out once")
    run.delete()


def example(url):
    """As the package's example: one run, one worker, which sees its progress."""
    run = TaskFarm(*USER, numTasks=4, url_base=url)
    check("a new run", run.percentDone, 0.0)
    worker = TaskFarmWorker(*USER, run.uuid, url_base=url)
    seen = []
    for task in worker.tasks:
        seen.append(task)
        # Task 2 was left incomplete, see below.
        check("tasks under way", run.numComputing, 2 if task == 3 else 1)
        for step in range(1, 11):
            worker.update(step * 10)
        # Called done before it is complete, a task stays where it is.
        if task == 2:
            worker.update(40)
        worker.done()
    check("the example's tasks", seen, [0, 1, 2, 3])
    check("what is done", (run.numDone, run.percentDone), (3, 85.0))
    return run


def manage(command, url, run):
    """`manageTF`, each of its commands."""

    def manage_tf(*arguments):
        account = ["-u", USER[0], "-p", USER[1]]
        line = [command, "-b", url, *account, *arguments]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()

    listed = [line.split()[1:] for line in manage_tf("--list").splitlines()]
    check("--list", [run.uuid, "4"] in listed, True)
    check("--info", manage_tf(run.uuid, "--info").split(maxsplit=2)[2], "4 (0,1,3) 85.0")
    manage_tf(run.uuid, "--reset")
    check("--reset", manage_tf(run.uuid, "--info").split(maxsplit=2)[2], "4 (1,0,3) 85.0")
    worker = TaskFarmWorker(*USER, run.uuid, url_base=url)
    check("the task that went back", (worker.task, run.getTaskInfo(2, "")["attempt"]), (2, 2))
    manage_tf(run.uuid, "--reset-all")
    check("--reset-all", manage_tf(run.uuid, "--info").split(maxsplit=2)[2], "4 (4,0,0) 0.0")
    manage_tf(run.uuid, "--delete")
    left = [run["uuid"] for run in tfRuns(*USER, url_base=url)]
    check("--delete", run.uuid in left, False)
    print("example and manageTF: as with the public server")


def death(url):
    """One of 32 workers is killed with a task in its hands."""
    run = new_run(url, TASKS)
    told = crowd(url, run.uuid, WORKERS, pause=0.02, dies=True)
    # The others may have found no more tasks before the lease of the dead one's was over, and have gone.
    deadline = time.monotonic() + PATIENCE
    while run.numDone < TASKS and run.numWaiting == 0:
        if time.monotonic() > deadline:
            raise SystemExit("the dead worker's task never went back")
        time.sleep(0.1)
    if run.numDone < TASKS:
        told += crowd(url, run.uuid, 4)
    lost = sorted(set(range(TASKS)) - {task for worker in told for task in worker["tasks"]})
    # What the dead worker had finished before is done and its own.
    finished = [number for number in lost if run.getTaskInfo(number, "")["attempt"] == 1]
    check("tasks that only the dead worker finished", len(lost), len(finished))
    again = {
        number: 2
        for number in range(TASKS)
        if run.getTaskInfo(number, "")["attempt"] == 2
    }
    check("tasks that went to another worker", len(again), 1)
    dead = {run.getTaskInfo(number, "")["worker_uuid"] for number in finished}
    check("dead workers", len(dead), 1)
    told.append({"worker": dead.pop(), "tasks": finished})
    check_run(run, told, again)
    print(f"a worker was killed with task {next(iter(again))}: another one did it, once")
    run.delete()


if __name__ == "__main__":
    manage_command, plain, leased = sys.argv[1:]
    stress(plain)
    manage(manage_command, plain, example(plain))
    death(leased)
