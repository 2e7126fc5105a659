// A test bench for the engine alone, behind a C interface: streams in and out with stalls, registers.
#include <cstdint>
#include <memory>
#include "Vengine.h"
#include "verilated.h"

namespace {

struct Bench {
    std::unique_ptr<VerilatedContext> context{new VerilatedContext};
    std::unique_ptr<Vengine> top{new Vengine{context.get()}};
    uint64_t clock = 0;
    uint64_t seed = 1;

    void tick() {
        top->clk = 1;
        top->eval();
        top->clk = 0;
        top->eval();
        ++clock;
    }
    // True in `of256` of 256 clocks.
    bool chance(unsigned of256) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        return ((seed >> 24) & 0xFF) < of256;
    }
};

}  // namespace

extern "C" {

Bench* bench_new() {
    Bench* bench = new Bench;
    bench->top->rst_n = 0;
    for (int i = 0; i < 4; ++i) bench->tick();
    bench->top->rst_n = 1;
    bench->tick();
    return bench;
}

void bench_free(Bench* bench) { delete bench; }

uint64_t bench_clock(const Bench* bench) { return bench->clock; }

void bench_run(Bench* bench, uint64_t clocks) {
    while (clocks--) bench->tick();
}

void bench_write(Bench* bench, uint32_t address, uint32_t value) {
    auto& top = *bench->top;
    top.s_axil_awaddr = address & 0xFF;
    top.s_axil_wdata = value;
    top.s_axil_wstrb = 15;
    top.s_axil_awvalid = top.s_axil_wvalid = top.s_axil_bready = 1;
    top.eval();
    while (!top.s_axil_awready) bench->tick();
    bench->tick();
    top.s_axil_awvalid = top.s_axil_wvalid = 0;
    top.eval();
    while (!top.s_axil_bvalid) bench->tick();
    bench->tick();
    top.s_axil_bready = 0;
    top.eval();
}

uint32_t bench_read(Bench* bench, uint32_t address) {
    auto& top = *bench->top;
    top.s_axil_araddr = address & 0xFF;
    top.s_axil_arvalid = top.s_axil_rready = 1;
    top.eval();
    while (!top.s_axil_arready) bench->tick();
    bench->tick();
    top.s_axil_arvalid = 0;
    top.eval();
    while (!top.s_axil_rvalid) bench->tick();
    uint32_t value = top.s_axil_rdata;
    bench->tick();
    top.s_axil_rready = 0;
    top.eval();
    return value;
}

// Feeds `count` beats (bit 0 of lasts[i]: TLAST), each offered from clock times[i] on where `times`
// is given, else at once, with in_rate / 256 (256: no stalls). Takes output beats with out_rate / 256.
// Ends when all beats are taken and `packets` output packets came, or after `limit` clocks.
// Returns the number of output beats.
uint64_t bench_stream(Bench* bench, const uint64_t* beats, const uint8_t* lasts,
                      const uint64_t* times, uint64_t count, unsigned in_rate, uint64_t* out,
                      uint8_t* out_lasts, uint64_t* out_times, uint64_t room, unsigned out_rate,
                      uint64_t packets, uint64_t limit, uint64_t seed, uint64_t* taken) {
    auto& top = *bench->top;
    uint64_t at = 0, got = 0;
    bench->seed = seed | 1;
    const uint64_t begin = bench->clock;
    bool offered = false;
    while ((at < count || packets) && bench->clock - begin < limit && got < room) {
        const uint64_t now = bench->clock - begin;
        if (!offered && at < count && (!times || now >= times[at])) offered = bench->chance(in_rate);
        top.s_axis_tvalid = offered;
        top.s_axis_tdata = offered ? beats[at] : 0;
        top.s_axis_tlast = offered ? lasts[at] & 1 : 0;
        top.m_axis_tready = bench->chance(out_rate);
        top.eval();
        if (top.m_axis_tvalid && top.m_axis_tready) {
            out[got] = top.m_axis_tdata;
            out_lasts[got] = top.m_axis_tlast;
            out_times[got] = now;
            ++got;
            if (top.m_axis_tlast && packets) --packets;
        }
        if (offered && top.s_axis_tready) {
            ++at;
            offered = false;
        }
        bench->tick();
    }
    top.s_axis_tvalid = 0;
    top.m_axis_tready = 0;
    top.eval();
    *taken = at;
    return got;
}

}  // extern "C"
