def init():
    pass

def run(request_headers, data):
    return {"data": data, "token": request_headers.get("X-Token"), "type": type(request_headers).__name__,
            "lower": request_headers.get("x-token")}
