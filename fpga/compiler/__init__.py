"""A model to a program for the engine.

compilation    all of it: compile_model
tail           what the host does after the engine
quantisation   float ONNX and some inputs to int8 ONNX             (onnxruntime)
scales         of what is added: made so that integers and float32 agree
preparation, float_graph, affine, admission, batches
               the float model before that: new words for old, factors and terms into weights;
               what is refused at once; rows as the model takes them
onnx_import    int8 ONNX to a graph in integers
onnx_file, qdq, constants, limits, view, shapes, operators
               what it looks up; which int8 a name stands for, in which sizes; windows; operators
graph, reference   that graph, and its plain computation
addition, proofs   what an Add is made of; sums and rounding, for all that can occur
steps, placement, description, streaming, weights, lowering
               the graph to descriptors, places, blocks of weights, words and packets
report, accuracy   what it costs, in clocks and in right answers
"""
