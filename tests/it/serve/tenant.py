"""Calls a server by gRPC as three callers: python tenant.py HOST:PORT TOKEN LIMITED-TOKEN

TOKEN may call `mlp` alone; LIMITED-TOKEN may call once in an hour or so.
"""

import sys

import grpc
import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException


def refusal(call):
    try:
        call()
    except InferenceServerException as error:
        return error.status()
    raise AssertionError("it was answered")


def main(address, token, limited):
    client = triton.InferenceServerClient(address)
    theirs = {"authorization": f"Bearer {token}"}
    tensor = triton.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 4), np.float32))

    def infer(model, headers):
        return client.infer(model, [tensor], headers=headers)

    # Health is anybody's; nothing else is.
    assert client.is_server_live() and client.is_server_ready()
    assert refusal(client.get_server_metadata) == "StatusCode.UNAUTHENTICATED"
    assert refusal(lambda: infer("mlp", {})) == "StatusCode.UNAUTHENTICATED"
    wrong = {"authorization": f"Bearer {token[:-2]}AA"}
    assert refusal(lambda: infer("mlp", wrong)) == "StatusCode.UNAUTHENTICATED"

    assert infer("mlp", theirs).as_numpy("y").shape == (1, 3)
    unknown = refusal(lambda: infer("nothing", theirs))
    for call in [
        lambda: infer("digits", theirs),
        lambda: client.get_model_metadata("digits", headers=theirs),
        lambda: client.is_model_ready("digits", headers=theirs),
        lambda: client.get_inference_statistics("digits", headers=theirs),
    ]:
        assert refusal(call) == unknown == "StatusCode.NOT_FOUND"
    index = client.get_model_repository_index(headers=theirs)
    assert [model.name for model in index.models] == ["mlp"], index
    statistics = client.get_inference_statistics(headers=theirs)
    assert [model.name for model in statistics.model_stats] == ["mlp"], statistics

    once = {"authorization": f"Bearer {limited}"}
    infer("mlp", once)
    assert refusal(lambda: infer("mlp", once)) == "StatusCode.RESOURCE_EXHAUSTED"
    channel = grpc.insecure_channel(address)
    call = channel.unary_unary("/inference.GRPCInferenceService/ServerMetadata")
    try:
        call(b"", metadata=[("authorization", f"Bearer {limited}")])
        raise AssertionError("it was answered")
    except grpc.RpcError as error:
        assert int(dict(error.trailing_metadata())["retry-after"]) > 1000, error

    # Every request of a stream counts.
    answers = []
    stream = {"authorization": f"Bearer {token}"}
    client.start_stream(lambda result, error: answers.append(error), headers=stream)
    for model in ["mlp", "digits"]:
        client.async_stream_infer(model, [tensor])
    client.stop_stream()
    assert answers[0] is None and "no model `digits`" in str(answers[1]), answers
    print("health, refusals, lists, limits and a stream")


main(*sys.argv[1:])
