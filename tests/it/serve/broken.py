"""Sends what is no protobuf, and too much of it: python broken.py HOST:PORT"""

import random
import sys

import grpc


def status(call, message):
    try:
        call(message, timeout=20)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def main(address):
    channel = grpc.insecure_channel(address)
    path = "/inference.GRPCInferenceService/"
    infer = channel.unary_unary(path + "ModelInfer")
    chance = random.Random(7)
    messages = [
        b"\xff" * 64,
        # A field whose length is beyond every message, one of a name that is not UTF-8, one that does not end.
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x0a\x02\xff\xfe",
        b"\x0a\x05abc",
        # Groups in groups, ten thousand deep.
        b"\x0b" * 10_000,
        *(chance.randbytes(chance.randrange(1, 300)) for _ in range(300)),
    ]
    for message in messages:
        found = status(infer, message)
        assert found not in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN), (message, found)
    # A message that is longer than --max-body.
    for size in (200_000, 3_000_000):
        found = status(infer, b"\x0a" + b"\x80\xb5\x18" + b"m" * size)
        assert found in (grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.RESOURCE_EXHAUSTED), found
    assert status(channel.unary_unary(path + "Nothing"), b"") == grpc.StatusCode.UNIMPLEMENTED
    assert status(channel.unary_unary(path + "ServerLive"), b"") == grpc.StatusCode.OK


main(*sys.argv[1:])
