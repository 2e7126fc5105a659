"""A model to a program for the engine.

compilation    all of it: compile_model
tail           what the host does after the engine
quantisation   float ONNX and some inputs to int8 ONNX             (onnxruntime)
onnx_import    int8 ONNX to a graph in integers
onnx_file, qdq, shapes, operators
               what it looks up; which int8 a name stands for; sizes and windows; each operator
graph, reference   that graph, and its plain computation
addition, proofs   what an Add is made of; sums and rounding, for all that can occur
steps, placement, streaming, weights, lowering
               the graph to descriptors, places, blocks of weights, words and packets
report, accuracy   what it costs, in clocks and in right answers
"""
