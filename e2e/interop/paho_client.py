"""Drives paho-mqtt: QoS 0, 1 and 2, retained messages, wills, sessions on another node, and what 5.0 adds."""

import os
import queue
import sys

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

VERSION = {"3.1.1": paho.MQTTv311, "5.0": paho.MQTTv5}[sys.argv[1]]
TRANSPORT = sys.argv[2]
NODES = os.environ["HIGHWATER_ADDRESSES"].split(",")
KEY = os.environ["HIGHWATER_KEY"]
IS_5 = VERSION == paho.MQTTv5
WAIT_S = 30


class Client:
    """A client on one node whose callbacks end in queues."""

    def __init__(self, node, name="", session=False, will=None):
        self.messages, self.events = queue.Queue(), queue.Queue()
        arguments = {"client_id": name, "protocol": VERSION, "transport": TRANSPORT}
        if not IS_5:
            arguments["clean_session"] = not session
        self.paho = paho.Client(paho.CallbackAPIVersion.VERSION2, **arguments)
        self.paho.username_pw_set("paho", KEY)
        if TRANSPORT == "websockets":
            self.paho.ws_set_options(path="/mqtt")
        if will:
            self.paho.will_set(*will)
        self.paho.on_message = lambda c, u, message: self.messages.put(message)
        self.paho.on_connect = lambda c, u, flags, reason, p: self.events.put((flags, reason, p))
        self.paho.on_subscribe = lambda c, u, mid, reasons, p: self.events.put(reasons)
        self.paho.on_publish = lambda c, u, mid, reason, p: self.events.put(reason)
        self.paho.on_disconnect = lambda c, u, flags, reason, p: self.events.put(("gone", reason))
        host, port = NODES[node].split(":")
        if IS_5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600 if session else 0
            self.paho.connect(host, int(port), clean_start=not session, properties=properties)
        else:
            self.paho.connect(host, int(port))
        self.paho.loop_start()
        self.flags, reason, self.terms = self.event()
        assert not reason.is_failure, reason

    def event(self):
        return self.events.get(timeout=WAIT_S)

    def subscribe(self, *filters, **more):
        self.paho.subscribe(list(filters), **more)
        reasons = self.event()
        assert not any(reason.is_failure for reason in reasons), reasons
        return self

    def publish(self, topic, payload, qos=1, **more):
        self.paho.publish(topic, payload, qos, **more)
        reason = self.event()
        assert not getattr(reason, "is_failure", False), reason

    def message(self):
        return self.messages.get(timeout=WAIT_S)

    def close(self):
        self.paho.disconnect()
        gone = self.event()
        assert gone[0] == "gone", gone
        self.paho.loop_stop()

    def vanish(self):
        """Ends the connection without a word."""
        self.paho.loop_stop()
        self.paho.socket().close()


def option(qos):
    return paho.SubscribeOptions(qos) if IS_5 else qos


def every_qos():
    subscriber = Client(0).subscribe(("qos/#", option(2)))
    publisher = Client(1)
    for number in range(30):
        publisher.publish(f"qos/{number % 3}", f"m{number}".encode(), number % 3)
    per_topic = {}
    for _ in range(30):
        message = subscriber.message()
        assert message.qos == int(message.topic[-1]), (message.topic, message.qos)
        per_topic.setdefault(message.topic, []).append(message.payload.decode())
    for qos in range(3):
        assert per_topic[f"qos/{qos}"] == [f"m{n}" for n in range(30) if n % 3 == qos], per_topic
    for client in (subscriber, publisher):
        client.close()


def retained():
    publisher = Client(0)
    publisher.publish("kept/a", b"1", retain=True)
    publisher.publish("kept/a", b"2", retain=True)
    publisher.publish("kept/b", b"3", retain=True)
    publisher.publish("kept/b", b"", retain=True)
    later = Client(2).subscribe(("kept/+", option(1)))
    message = later.message()
    assert (message.topic, message.payload, message.retain) == ("kept/a", b"2", True), message.payload
    publisher.publish("kept/a", b"4", retain=True)
    message = later.message()
    assert (message.payload, message.retain) == (b"4", False), message.payload
    for client in (publisher, later):
        client.close()


def wills():
    observer = Client(1).subscribe(("wills/#", option(2)))
    Client(0, "polite", will=("wills/polite", b"never", 1)).close()
    Client(0, "lost", will=("wills/lost", b"gone", 2)).vanish()
    message = observer.message()
    assert (message.topic, message.payload, message.qos) == ("wills/lost", b"gone", 2), message.topic
    observer.close()


def sessions():
    name = f"sleeper-{VERSION}-{TRANSPORT}"
    first = Client(0, name, session=True)
    assert not first.flags.session_present
    first.subscribe(("sessions/#", option(2)))
    first.close()
    publisher = Client(1)
    sent = [(f"sessions/{qos}", f"m{qos}".encode()) for qos in (1, 2) for _ in range(5)]
    for topic, payload in sent:
        publisher.publish(topic, payload, int(topic[-1]))
    again = Client(2, name, session=True)
    assert again.flags.session_present
    received = [again.message() for _ in sent]
    assert sorted((m.topic, m.payload) for m in received) == sorted(sent), received
    publisher.publish("sessions/1", b"last")
    assert again.message().payload == b"last"
    for client in (again, publisher):
        client.close()
    # Whoever begins anew has nothing.
    fresh = Client(1, name)
    assert not fresh.flags.session_present
    fresh.close()


def takeover():
    name = f"double-{VERSION}-{TRANSPORT}"
    first, second = Client(0, name), Client(1, name)
    gone = first.event()
    assert gone[0] == "gone", gone
    first.paho.loop_stop()
    if IS_5:
        assert gone[1].value == 0x8E, gone
    second.close()


def properties():
    publisher, subscriber = Client(0), Client(1)
    assert publisher.terms.AssignedClientIdentifier
    options = paho.SubscribeOptions(1, noLocal=True, retainAsPublished=True)
    wanted = Properties(PacketTypes.SUBSCRIBE)
    wanted.SubscriptionIdentifier = 7
    wanted.UserProperty = ("hw-from", "earliest")
    publisher.publish("props/a", b"before")
    subscriber.subscribe(("props/#", options), properties=wanted)
    assert subscriber.message().payload == b"before"
    said = Properties(PacketTypes.PUBLISH)
    said.UserProperty = [("b", "1"), ("a", "2"), ("b", "3")]
    said.ContentType = "application/json"
    said.ResponseTopic = "answers/here"
    said.CorrelationData = b"\x00\xff"
    said.MessageExpiryInterval = 3600
    said.PayloadFormatIndicator = 1
    publisher.publish("props/a", b'{"x":1}', retain=True, properties=said)
    message = subscriber.message()
    got = message.properties
    pairs = [pair for pair in got.UserProperty if not pair[0].startswith("hw-")]
    assert pairs == [("b", "1"), ("a", "2"), ("b", "3")], pairs
    assert [name for name, _ in got.UserProperty].count("hw-cursor") == 1, got
    assert (got.ContentType, got.ResponseTopic) == ("application/json", "answers/here")
    assert (got.CorrelationData, got.PayloadFormatIndicator) == (b"\x00\xff", 1)
    assert got.SubscriptionIdentifier == [7] and message.retain
    assert 3500 < got.MessageExpiryInterval <= 3600
    # Its own messages are left out.
    subscriber.publish("props/a", b"own")
    publisher.publish("props/a", b"other")
    assert subscriber.message().payload == b"other"
    for client in (publisher, subscriber):
        client.close()


def refusals():
    client = Client(0)
    client.paho.publish("$SYS/nothing", b"x", 1)
    reason = client.event()
    assert reason.is_failure, reason
    client.close()


SCENARIOS = [every_qos, retained, wills, sessions, takeover]
for scenario in SCENARIOS + ([properties, refusals] if IS_5 else []):
    scenario()
    print(f"ok {scenario.__name__}")
