"""The Open Inference Protocol v2 over HTTP (KServe, Triton): bytes to tensors and back, paths, and
the documents that clients ask for. Pure: no file here knows a socket, a server or a status code.

    routes             a path -> what it asks for
    infer_request      a request's body -> InferRequest
    infer_response     outputs -> an answer's body
    documents          metadata, configuration, index, statistics
    compression        gzip and deflate, both ways, within bounds
"""
