"""Drives grpcio: every method of the service, on all nodes, and that a subscription goes on at another one."""

import os
import queue
import sys

import grpc
from grpc_tools import protoc

PROTO, OUT = sys.argv[1:3]
NODES = os.environ["HIGHWATER_ADDRESSES"].split(",")
CREDENTIAL = [("authorization", "Bearer " + os.environ["HIGHWATER_KEY"])]
COUNT = 100

assert protoc.main(["", f"-I{PROTO}", f"--python_out={OUT}", f"--grpc_python_out={OUT}", "highwater.proto"]) == 0
sys.path.insert(0, OUT)
import highwater_pb2 as hw  # noqa: E402
import highwater_pb2_grpc as service  # noqa: E402

STUBS = [service.HighwaterStub(grpc.insecure_channel(node)) for node in NODES]


def request(number):
    header = hw.Header(name="number", value=str(number))
    message = hw.Message(payload=b"m%d" % number, content_type="text/plain", headers=[header])
    return hw.PublishRequest(topic="grpc/a", message=message, idempotency_key=f"k{number}")


def refused(call):
    """The status of a call that is to fail."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    raise AssertionError("it was not refused")


# Publish and PublishStream, and the same again.
for number in range(10):
    result = STUBS[number % 3].Publish(request(number), metadata=CREDENTIAL)
    assert (result.offset, result.duplicate) == (number, False), result
assert STUBS[1].Publish(request(3), metadata=CREDENTIAL).duplicate
frames = (hw.PublishStreamRequest(publishes=[request(n) for n in range(at, at + 10)]) for at in range(0, COUNT, 10))
outcomes = [o.result for frame in STUBS[2].PublishStream(frames, metadata=CREDENTIAL) for o in frame.outcomes]
assert [(o.offset, o.duplicate) for o in outcomes] == [(n, n < 10) for n in range(COUNT)], outcomes

# Subscribe with credit, on one node after the other.
seen, cursor, node = [], "earliest", 0
while len(seen) < COUNT:
    requests = queue.Queue()
    credit = hw.SubscribeRequest.Flow(messages=7)
    start = hw.SubscribeRequest.Start(topics=["grpc/+"], credit=credit, **{"from": cursor})
    requests.put(hw.SubscribeRequest(start=start))
    responses = STUBS[node % 3].Subscribe(iter(requests.get, None), metadata=CREDENTIAL)
    assert next(responses).subscribed.cursor
    got = 0
    while got < min(7 + node, COUNT - len(seen)):
        records = next(responses).records
        if got < 7 <= got + len(records):
            requests.put(hw.SubscribeRequest(flow=hw.SubscribeRequest.Flow(messages=node)))
        got += len(records)
        seen += records
        cursor = "cursor:" + records[-1].cursor
    responses.cancel()
    requests.put(None)
    node += 1
assert [r.payload for r in seen] == [b"m%d" % n for n in range(COUNT)]
assert [r.headers[0].value for r in seen] == [str(n) for n in range(COUNT)]

# Read and GetTopic.
page = STUBS[0].Read(hw.ReadRequest(topics=["grpc/a"], limit=30), metadata=CREDENTIAL)
assert [r.offset for r in page.records] == list(range(30))
page = STUBS[1].Read(hw.ReadRequest(topics=["grpc/a"], **{"from": f"cursor:{page.next}"}), metadata=CREDENTIAL)
assert page.records[0].offset == 30
assert STUBS[2].GetTopic(hw.GetTopicRequest(topic="grpc/a"), metadata=CREDENTIAL).next_offset == COUNT

# Refusals and deadlines are gRPC's own.
topic = hw.GetTopicRequest(topic="grpc/a")
assert refused(lambda: STUBS[0].GetTopic(topic)) == grpc.StatusCode.UNAUTHENTICATED
missing = hw.GetTopicRequest(topic="none")
assert refused(lambda: STUBS[0].GetTopic(missing, metadata=CREDENTIAL)) == grpc.StatusCode.NOT_FOUND
wait = hw.ReadRequest(topics=["grpc/a"], wait_ms=20_000, **{"from": "latest"})
late = refused(lambda: STUBS[0].Read(wait, metadata=CREDENTIAL, timeout=0.3))
assert late == grpc.StatusCode.DEADLINE_EXCEEDED, late
print("ok")
