"""The front: takes a task by HTTP, keeps it, durably, then broadcasts it to the subscribers.

What clients of tasker talk to, too: they have neither the broker's nor the database's password.
"""

import json
import threading
import uuid

from flask import Flask, request

from app import database, perform

app = Flask(__name__)
_sessions = threading.local()


@app.post("/tasks")
def post():
    """One task; its number."""
    if not hasattr(_sessions, "database"):
        _sessions.database = database()
    payload = json.dumps(request.get_json()["payload"])
    with _sessions.database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tasks (uid, payload, created_at) VALUES (%s, %s, NOW(6))",
            (uuid.uuid4().bytes, payload),
        )
        number = cursor.lastrowid
    perform.apply_async((number, payload))
    return {"number": number}, 201
