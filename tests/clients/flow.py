"""Python's grpcio, as it comes, against the server at PLASMA_GRPC.

Prints `restart` when it wants the server to drain and to come back on the same port, and goes on when it reads a line.
"""

import os
import queue
import sys
import tempfile
import threading

import grpc
from grpc_tools import protoc

ADDRESS = os.environ["PLASMA_GRPC"]
PROTO = os.environ["PLASMA_PROTO"]
PATIENCE = 20
BETWEEN_TRIES = 0.05

with tempfile.TemporaryDirectory() as made:
    files = [os.path.join(PROTO, name) for name in ("plasma.proto", "publish.proto", "health.proto")]
    assert protoc.main(["protoc", f"-I{PROTO}", f"--python_out={made}", f"--grpc_python_out={made}", *files]) == 0
    sys.path.insert(0, made)
    import health_pb2
    import health_pb2_grpc
    import plasma_pb2
    import plasma_pb2_grpc
    import publish_pb2
    import publish_pb2_grpc


def request(topics, force_close=False):
    message = plasma_pb2.Request(forceClose=force_close)
    for topic in topics:
        message.Events.add(type=topic)
    return message


class Stream:
    """One call of Events; its end stands last among what came, as a status code."""

    count = 0

    def __init__(self, channel, metadata=()):
        self.asked = queue.Queue()
        self.came = queue.Queue()
        self.channel = channel
        self.call = plasma_pb2_grpc.StreamServiceStub(channel).Events(iter(self.asked.get, None), metadata=metadata)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for payload in self.call:
                assert payload.HasField("eventType")
                self.came.put(payload)
        except grpc.RpcError:
            pass
        self.came.put(self.call.code())

    def next(self):
        return self.came.get(timeout=PATIENCE)

    def event(self):
        """The next event that is no mark of `subscribe`."""
        while True:
            payload = self.next()
            assert not isinstance(payload, grpc.StatusCode), (payload, self.call.details())
            if not payload.eventType.type.startswith("mark-"):
                return payload.eventType.type, payload.data

    def end(self):
        while True:
            payload = self.next()
            if isinstance(payload, grpc.StatusCode):
                return payload
            assert payload.eventType.type.startswith("mark-"), payload

    def subscribe(self, *topics):
        """Asks for topics and waits until the server knows them: a mark comes back."""
        Stream.count += 1
        mark = f"mark-{Stream.count}"
        self.asked.put(request([*topics, mark]))
        while True:
            publish(self.channel, mark, "0")
            try:
                payload = self.came.get(timeout=BETWEEN_TRIES)
            except queue.Empty:
                continue
            assert not isinstance(payload, grpc.StatusCode), (payload, self.call.details())
            if payload.eventType.type == mark:
                return
            assert payload.eventType.type.startswith("mark-"), payload


def publish(channel, topic, data):
    events = [publish_pb2.Event(type=topic, data=data)]
    stub = publish_pb2_grpc.PublishServiceStub(channel)
    answer = stub.Publish(publish_pb2.PublishRequest(events=events), timeout=PATIENCE)
    assert answer.accepted == 1 and len(answer.ids) == 1, answer
    return answer.ids[0]


def main():
    channel = grpc.insecure_channel(ADDRESS)
    health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    assert health.status == health_pb2.HealthCheckResponse.SERVING, health

    stream = Stream(channel)
    stream.subscribe("a")
    publish(channel, "a", '{"x": "<b>"}')
    assert stream.event() == ("a", '{"x": "<b>"}')
    stream.subscribe("b", "c:d")
    publish(channel, "a", "1")
    publish(channel, "c:d:e", "2")
    assert stream.event() == ("c:d:e", "2")
    stream.asked.put(request([]))
    stream.subscribe()
    publish(channel, "b", "3")
    stream.subscribe("z")
    publish(channel, "z", "4")
    assert stream.event() == ("z", "4"), "nothing came while nothing was subscribed"
    stream.asked.put(request(["a"], force_close=True))
    assert stream.end() == grpc.StatusCode.OK

    stream = Stream(channel)
    stream.subscribe("a")
    stream.asked.put(None)
    assert stream.end() == grpc.StatusCode.OK

    stream = Stream(channel)
    stream.subscribe("a")
    stream.call.cancel()
    assert stream.end() == grpc.StatusCode.CANCELLED

    many = [Stream(channel) for _ in range(50)]
    for stream in many:
        stream.subscribe("m")
    large = '"' + "x" * 200_000 + '"'
    publish(channel, "m", large)
    for stream in many:
        assert stream.event() == ("m", large)
        stream.asked.put(None)
        assert stream.end() == grpc.StatusCode.OK

    late = plasma_pb2_grpc.StreamServiceStub(channel).Events(iter([]), timeout=PATIENCE)
    assert list(late) == []

    stream = Stream(channel, metadata=(("plasma-ids", "1"),))
    stream.subscribe("a")
    last = publish(channel, "a", "5")
    assert stream.event() == ("a", "5")
    print("restart", flush=True)
    assert stream.end() == grpc.StatusCode.UNAVAILABLE
    assert sys.stdin.readline() == "go on\n"

    again = Stream(channel, metadata=(("plasma-ids", "1"), ("last-event-id", last)))
    again.asked.put(request(["a"]))
    payload = again.next()
    if isinstance(payload, grpc.StatusCode):
        # The channel had not noticed yet that the server is back.
        grpc.channel_ready_future(channel).result(timeout=PATIENCE)
        again = Stream(channel, metadata=(("plasma-ids", "1"), ("last-event-id", last)))
        again.asked.put(request(["a"]))
        payload = again.next()
    assert payload.eventType.type == "plasma.gap", payload
    publish(channel, "a", "6")
    assert again.event() == ("a", "6")
    again.asked.put(None)
    assert again.end() == grpc.StatusCode.OK
    print("ok", flush=True)


main()
