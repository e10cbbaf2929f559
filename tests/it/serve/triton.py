"""Calls the models of fixtures/dtypes with Triton's own client: python triton.py http HOST:PORT

Each model appends its type's edge values to what it is given.
"""

import sys

import numpy as np

TYPES = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "int8": "INT8",
    "string": "BYTES",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "uint8": "UINT8",
}


def values(name):
    if name == "string":
        return np.array(["a", "", "€\n"], dtype=object)
    if name == "bool":
        return np.array([True, False, True])
    return np.array([1, 0, 2], dtype=name)


def same(found, given):
    if given.dtype == object:
        return [item.decode() if isinstance(item, bytes) else item for item in found] == list(given)
    return np.array_equal(found, given)


def main(protocol, address):
    if protocol == "grpc":
        import tritonclient.grpc as triton
    else:
        import tritonclient.http as triton
    client = triton.InferenceServerClient(address)
    assert client.is_server_live() and client.is_server_ready()
    for name, datatype in TYPES.items():
        assert client.is_model_ready(name), name
        metadata = client.get_model_metadata(name)
        inputs = metadata["inputs"] if protocol == "http" else metadata.inputs
        port = inputs[0]["name"] if protocol == "http" else inputs[0].name
        given = values(name)
        forms = [True, False] if protocol == "http" and datatype != "FP16" else [True]
        for binary in forms:
            tensor = triton.InferInput(port, list(given.shape), datatype)
            if protocol == "http":
                tensor.set_data_from_numpy(given, binary_data=binary)
                outputs = metadata["outputs"]
                wanted = [triton.InferRequestedOutput(output["name"], binary_data=binary) for output in outputs]
            else:
                tensor.set_data_from_numpy(given)
                wanted = [triton.InferRequestedOutput(output.name) for output in metadata.outputs]
            answer = client.infer(name, [tensor], outputs=wanted, request_id="r1")
            found = answer.as_numpy(wanted[0].name())
            assert same(found[: len(given)], given), (name, binary, found)
            assert len(found) > len(given), (name, binary, found)
    if protocol == "grpc":
        more(triton, client, address)
    form = " and in JSON" if protocol == "http" else ", in a stream, with health, reflection and refusals"
    print(f"{len(TYPES)} types in binary{form}")


def more(triton, client, address):
    """Streams, health and refusals over gRPC."""
    import grpc

    answers = []
    client.start_stream(lambda result, error: answers.append((result, error)))
    for number in range(20):
        tensor = triton.InferInput("x", [1], "INT64")
        tensor.set_data_from_numpy(np.array([number], dtype=np.int64))
        client.async_stream_infer("int64" if number != 7 else "nothing", [tensor], request_id=str(number))
    client.stop_stream()
    assert len(answers) == 20, len(answers)
    for number, (result, error) in enumerate(answers):
        if number == 7:
            assert "there is no model" in str(error), error
        else:
            assert error is None and result.get_response().id == str(number), (number, error)
            assert result.as_numpy(result.get_response().outputs[0].name)[0] == number
    for model, wanted in [("nothing", "NOT_FOUND"), ("int32", "INVALID_ARGUMENT")]:
        tensor = triton.InferInput("x", [1], "INT64")
        tensor.set_data_from_numpy(np.array([1], dtype=np.int64))
        try:
            client.infer(model, [tensor])
            raise SystemExit(f"{model} answered")
        except triton.InferenceServerException as refused:
            assert wanted in refused.status(), refused
    channel = grpc.insecure_channel(address)
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"") == b"\x08\x01", "the server is serving"
    listing = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    services = next(listing(iter([b"\x3a\x00"])))
    assert b"inference.GRPCInferenceService" in services, services


main(*sys.argv[1:])
