"""Lets schemathesis reach models: half of its requests get the name of one that is served."""

import schemathesis

SERVED = ["mlp", "photo", "digits", "tiny-gpt2", "tiny-whisper"]
# What a call needs of its model.
ABLE = {"/v1/completions": "tiny-gpt2", "/v1/audio/transcriptions": "tiny-whisper"}


def chosen(text, able=None):
    at = sum(map(ord, text))
    return (able or SERVED[at % len(SERVED)]) if at % 2 else text


@schemathesis.hook
def map_path_parameters(context, parameters):
    if parameters and isinstance(parameters.get("model"), str):
        parameters["model"] = chosen(parameters["model"])
        if "version" in parameters and len(parameters["model"]) % 2:
            parameters["version"] = "1.0.0"
    return parameters


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict) and isinstance(body.get("model"), str):
        body["model"] = chosen(body["model"], ABLE.get(context.operation.path))
    return body


@schemathesis.check
def the_server_does_not_fail(context, response, case):
    # What is asked for within a millisecond may come too late, and that is no failure of the server.
    assert response.status_code < 500 or response.status_code in (503, 504), response.text
