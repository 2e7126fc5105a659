// Feeds one requantiser a value a clock and collects its results.
#include <cstdint>
#include "Vrequantiser.h"
#include "verilated.h"

extern "C" void requantise(const int32_t* acc, const uint64_t* parameters, uint64_t count, int zero,
                           int low, int high, int8_t* results) {
    const uint64_t latency = 8;
    VerilatedContext context;
    Vrequantiser top{&context};
    top.zero = zero & 0xFF;
    top.low = low & 0xFF;
    top.high = high & 0xFF;
    for (uint64_t i = 0; i < count + latency; ++i) {
        if (i >= latency) results[i - latency] = static_cast<int8_t>(top.result);
        if (i < count) {
            top.acc = acc[i] & 0x1FFFFFF;
            top.parameters = parameters[i];
        }
        top.clk = 0;
        top.eval();
        top.clk = 1;
        top.eval();
    }
    top.final();
}
