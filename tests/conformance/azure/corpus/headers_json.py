def init():
    pass

def run(data, request_headers):
    skip = ("Host", "Accept-Encoding")
    return {k: v for k, v in request_headers.items() if k not in skip}
