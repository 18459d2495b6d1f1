#!/usr/bin/env python3
"""A complete worker for one task type, from docs/wire.md alone. Needs pika.

usage: pika_worker.py AMQP_URL PREFIX TYPE ENDPOINT JOURNAL_FILE
"""
import json, os, sys, time, uuid
import pika

url, prefix, kind, endpoint, path = sys.argv[1:]
key, boot, done = f"{kind}.{endpoint}", str(uuid.uuid4()), {}
fresh = not os.path.exists(path)
journal = open(path, "a+")


def write(record):
    journal.write(json.dumps(record) + "\n")
    journal.flush()
    os.fsync(journal.fileno())


if fresh:
    write({"journal": str(uuid.uuid4())})
journal.seek(0)
first, *records = map(json.loads, journal)
for r in records:  # what was claimed and never ended was interrupted: it is not run again
    done[r["uid"]] = r if "state" in r else {**r, "run": 1, "state": "INTERRUPTED", "errnr": 1002}

channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
channel.confirm_delivery()
channel.basic_qos(prefetch_count=10)


def send(exchange, **more):
    body = {"v": 1, "endpoint": endpoint, "type": kind, "journal": first["journal"], "boot": boot, "reports": [], **more}
    properties = pika.BasicProperties(content_type="application/json", delivery_mode=2, message_id=str(uuid.uuid4()))
    channel.basic_publish(f"{prefix}.{exchange}", key, json.dumps(body), properties, mandatory=True)


def report(record):
    send("reports", reports=[record])


def perform(payload):  # the handler
    return {"echo": payload, "by": "pika"}


def take(_channel, method, _properties, body):
    message = json.loads(body)
    entries = [e for e in message.get("entries", []) if not e["audience"] or endpoint in e["audience"]]
    new = [e for e in entries if e["attempt"] > done.get(e["task"]["uid"], {"attempt": 0})["attempt"]]
    for entry in new:
        write({"uid": entry["task"]["uid"], "attempt": entry["attempt"]})
    channel.basic_ack(method.delivery_tag)
    for entry in entries:
        known = {"uid": entry["task"]["uid"], "attempt": entry["attempt"]}
        if entry in new:
            report({**known, "run": 0, "state": "RECEIVED"})
            reply = perform(entry["task"]["payload"])
            done[known["uid"]] = {**known, "run": 1, "state": "SUCCEEDED", "errnr": 0, "payload": reply}
            write(done[known["uid"]])
        report(done[known["uid"]])


def beat():
    send("presence")
    channel.connection.call_later(15, beat)


send("reports", hello={"version": "pika", "fresh": fresh})
while True:  # the API makes the inbox when it reads the hello
    try:
        channel.connection.channel().queue_declare(f"{prefix}.{key}", passive=True)
        break
    except pika.exceptions.ChannelClosedByBroker:
        time.sleep(0.2)
channel.basic_consume(f"{prefix}.{key}", take)
channel.connection.call_later(15, beat)
channel.start_consuming()
