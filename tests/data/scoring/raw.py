from azureml_inference_server_http.api.aml_request import AMLRequest, rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse


def init():
    pass


@rawhttp
def run(request: AMLRequest):
    do = request.args.get("do")
    if do == "bytes":
        return AMLResponse(bytes(reversed(request.get_data())), 200, {"Content-Type": "image/x-test", "X-Custom": "a, b"})
    if do == "json":
        return AMLResponse({"path": request.full_path, "method": request.method}, 201, json_str=True)
    if do == "text":
        return AMLResponse(request.get_data(as_text=True), 200)
    if do == "failed":
        return AMLResponse("out of order", 503)
    if do == "nothing":
        return AMLResponse(None, 200)
    if do == "file":
        file = request.files["image"]
        return {"name": file.filename, "size": len(file.read()), "field": request.form["field"]}
    if do == "object":
        return {
            "header": request.headers.get("x-custom"),
            "all": request.args.getlist("a"),
            "json": request.get_json(silent=True),
        }
    return f"{request.method} {request.path}"
