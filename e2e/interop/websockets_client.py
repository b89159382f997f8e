"""Drives Python's websockets: publishes, and reads on at node after node from the last cursor."""

import json
import os

from websockets.sync.client import connect

NODES = os.environ["HIGHWATER_ADDRESSES"].split(",")
KEY = os.environ["HIGHWATER_KEY"]
COUNT = 200


def opened(node):
    """A connection that was greeted."""
    socket = connect(
        f"ws://{NODES[node]}/v1/ws",
        subprotocols=["highwater.v1.json"],
        additional_headers={"Authorization": f"Bearer {KEY}"},
    )
    assert socket.subprotocol == "highwater.v1.json", socket.subprotocol
    assert [e.name for e in socket.protocol.extensions] == ["permessage-deflate"], "compressed"
    assert receive(socket)["type"] == "hello"
    return socket


def send(socket, **message):
    socket.send(json.dumps(message))


def receive(socket):
    return json.loads(socket.recv(timeout=30))


publisher = opened(0)
for number in range(COUNT):
    send(publisher, type="publish", id=number, topic="py/a", data={"n": number, "ä": "ü" * number})
offsets = [receive(publisher)["offset"] for _ in range(COUNT)]
assert offsets == list(range(COUNT)), offsets

seen, cursor, node = [], "earliest", 0
while len(seen) < COUNT:
    socket = opened(node % len(NODES))
    send(socket, type="subscribe", id=1, topics=["py/+"], **{"from": cursor})
    assert receive(socket)["type"] == "subscribed"
    for record in receive(socket)["records"][: 1 + 7 * node]:
        seen.append(record["data"])
        cursor = "cursor:" + record["cursor"]
    socket.close()
    node += 1
assert [json.loads(text)["n"] for text in seen] == list(range(COUNT)), seen

# What is refused says so, and the connection goes on.
send(publisher, type="publish", id="bad", topic="a/#", data=1)
refused = receive(publisher)
assert (refused["type"], refused["id"], refused["code"]) == ("error", "bad", "invalid_topic"), refused
send(publisher, type="ping", id=9)
assert receive(publisher)["type"] == "pong"
publisher.close()
assert publisher.close_code == 1000, publisher.close_code
print("ok")
