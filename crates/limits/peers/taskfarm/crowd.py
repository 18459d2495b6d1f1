"""Workers that are the public package `taskfarm_worker`, unchanged: one process each.

They make the calls of the package's own stress script (a task, ten changes of its percentage, done) and
time them. Each worker tells which tasks it was given and how long its calls took on average.
"""

import multiprocessing
import os
import time

from taskfarm_worker import TaskFarm, TaskFarmWorker

USER = ("somebody", "a long secret")


class Clock:
    """Adds up how long calls take."""

    def __init__(self):
        self.calls, self.seconds = 0, 0.0

    def time(self, call, *arguments):
        began = time.perf_counter()
        try:
            return call(*arguments)
        finally:
            self.calls += 1
            self.seconds += time.perf_counter() - began

    def mean(self):
        return self.seconds / self.calls if self.calls else 0.0


def work(url, uuid, user, start, pause, dies_at):
    """One worker, until there is no task left. `dies_at`: it kills itself within its task of this
    count."""
    worker = TaskFarmWorker(*user, uuid, url_base=url)
    get, update, done = Clock(), Clock(), Clock()
    start.wait()
    began, spent = time.time(), time.process_time()
    tasks = []
    while get.time(lambda: worker.task) is not None:
        tasks.append(worker.task)
        for percent in range(10, 101, 10):
            update.time(worker.update, percent)
            if len(tasks) == dies_at and percent == 50:
                # As a worker that loses its power: it says nothing.
                print(f"worker {worker.worker_uuid} dies with task {tasks[-1]}", flush=True)
                os.kill(os.getpid(), 9)
            time.sleep(pause)
        done.time(worker.done)
    return {
        "worker": worker.worker_uuid,
        "tasks": tasks,
        "get": get.mean(),
        "update": update.mean(),
        "done": done.mean(),
        "began": began,
        "ended": time.time(),
        "processor": time.process_time() - spent,
    }


def _tell(pipe, *arguments):
    pipe.send(work(*arguments))


def crowd(url, uuid, workers, user=USER, pause=0.0, dies=False):
    """Lets so many workers work a run off; what each of them tells. One of them may die in the
    middle, it tells nothing."""
    start = multiprocessing.Barrier(workers)
    running = []
    for number in range(workers):
        mine, its = multiprocessing.Pipe(duplex=False)
        dies_at = 2 if dies and number == 0 else 0
        arguments = (its, url, uuid, user, start, pause, dies_at)
        process = multiprocessing.Process(target=_tell, args=arguments)
        process.start()
        its.close()
        running.append((process, mine))
    told = []
    for process, pipe in running:
        try:
            told.append(pipe.recv())
        except EOFError:
            pass
        process.join()
    failed = [process.exitcode for process, _ in running if process.exitcode not in (0, -9)]
    died = sum(process.exitcode == -9 for process, _ in running)
    if failed or died != int(dies):
        raise SystemExit(f"workers failed: {failed}, killed: {died}")
    return told


def new_run(url, tasks, user=USER):
    """A run of so many tasks."""
    return TaskFarm(*user, numTasks=tasks, url_base=url)
