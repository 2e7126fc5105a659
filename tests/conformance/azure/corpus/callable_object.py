import functools

class Model:
    def __call__(self, data, request_headers):
        return ["called", data, request_headers.get("X-Token")]

def init():
    pass

run = Model()
