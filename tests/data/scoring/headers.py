def init():
    pass


def run(data, request_headers):
    return {
        "data": data,
        "headers": {name: request_headers.get(name) for name in ("Host", "Content-Type", "X-Custom", "Content-Length")},
    }
