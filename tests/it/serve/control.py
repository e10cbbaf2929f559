"""Loads and unloads a model with Triton's own clients: python control.py http|grpc HOST:PORT TOKEN"""

import sys


def main(protocol, address, token):
    if protocol == "grpc":
        import tritonclient.grpc as triton

        bearer = {"authorization": f"Bearer {token}"}
    else:
        import tritonclient.http as triton

        bearer = {"Authorization": f"Bearer {token}"}
    client = triton.InferenceServerClient(address)

    def states():
        index = client.get_model_repository_index(headers=bearer)
        models = index if protocol == "http" else index.models
        field = (lambda model, name: model[name]) if protocol == "http" else getattr
        return {field(model, "name"): (field(model, "state"), field(model, "reason")) for model in models}

    def is_ready():
        return client.is_model_ready("m", headers=bearer)

    def refused(call, wanted):
        try:
            call()
        except triton.InferenceServerException as error:
            assert wanted in str(error), error
            return
        raise SystemExit(f"nobody refused: {wanted}")

    assert is_ready() and states() == {"m": ("READY", "")}, states()
    client.unload_model("m", headers=bearer, unload_dependents=True)
    assert not is_ready() and states() == {"m": ("UNAVAILABLE", "unloaded")}, states()
    client.load_model("m", headers=bearer)
    assert is_ready() and states() == {"m": ("READY", "")}, states()
    client.load_model("m", headers=bearer)
    assert is_ready()
    refused(lambda: client.load_model("nothing", headers=bearer), "there is no model `nothing`")
    refused(lambda: client.unload_model("nothing", headers=bearer), "there is no model `nothing`")
    refused(lambda: client.load_model("m", headers=bearer, config="{}"), "there are `reference` and `version`")
    refused(lambda: client.load_model("m"), "a token is needed")
    print("loaded and unloaded")


main(*sys.argv[1:])
