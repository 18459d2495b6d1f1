"""The subscribers' side of the same job in Celery: each keeps its result, durably, then acks.

Tuned as far as the job allows: no result backend, no events, solo pool, a deep prefetch, the
driver without an ORM. Publishes are confirmed and acks are late, because tasker promises as much.
"""

import os

import celery
import pymysql
from kombu.common import Broadcast

app = celery.Celery("app", broker=os.environ["LIMITS_AMQP"])
app.conf.update(
    task_queues=(Broadcast("limits"),),
    task_routes={"app.perform": {"queue": "limits", "exchange": "limits"}},
    task_ignore_result=True,
    task_acks_late=True,
    task_store_errors_even_if_ignored=False,
    worker_prefetch_multiplier=64,
    worker_hijack_root_logger=False,
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
)


def database():
    """A session in which every statement is committed, durably."""
    return pymysql.connect(
        host="127.0.0.1",
        port=int(os.environ["LIMITS_MYSQL_PORT"]),
        user="root",
        database="celery",
        autocommit=True,
    )


_session = None


@app.task(name="app.perform")
def perform(task_id, payload):
    """Does nothing and keeps the result, as the simulated endpoints of `tasker bench` do."""
    global _session
    if _session is None:
        _session = database()
    with _session.cursor() as cursor:
        cursor.execute(
            "INSERT INTO results (task_id, subscriber, errnr, payload, done_at)"
            " VALUES (%s, %s, 0, %s, NOW(6))",
            (task_id, os.getpid(), '{"done":true}'),
        )
