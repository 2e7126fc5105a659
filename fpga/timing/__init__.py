"""How many clocks a run takes, exactly: what the RTL's registers will say, without simulating it.

pipeline   how long the hardware's pipelines are
stream     when the loader has which beats
walk       when the taps of a layer go
output     when results leave
run        slots one after another, and the output

prediction = predict(shape, program, packet)
prediction.cycles, prediction.array_cycles, prediction.slots
"""

from fpga.timing.run import Prediction, Slot, predict

__all__ = ["Prediction", "Slot", "predict"]
