"""A model to a program for the engine.

quantisation   float ONNX and some inputs to int8 ONNX             (onnxruntime)
onnx_import    int8 ONNX to a graph in integers
graph, reference   that graph, and its plain computation
proofs         sums and rounding, for all that can occur
steps, placement, weights, lowering   the graph to descriptors, places, words and packets
report         what it costs
compilation    all of it
"""
