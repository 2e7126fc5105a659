// The programmable logic with its memory, behind a C interface: AXI4-Lite from the PS, and DDR that
// answers bursts after a while. Every access takes its clocks, so that who polls sees time go by.
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include "Vboard.h"
#include "verilated.h"

namespace {

struct Burst {
    uint32_t address;
    unsigned beats;
    uint64_t ready_at;
};

struct Board {
    std::unique_ptr<VerilatedContext> context{new VerilatedContext};
    std::unique_ptr<Vboard> top{new Vboard{context.get()}};
    uint8_t* memory;
    uint32_t base;
    uint64_t size;
    uint64_t clock = 0;
    unsigned mmio_clocks = 0, first_beat = 0, gap = 0;
    bool slave_error = false;
    std::deque<Burst> reads;
    unsigned beat = 0;
    uint64_t next_beat_at = 0;
    bool is_writing = false;
    Burst write{0, 0, 0};
    unsigned written = 0;
    bool has_answer = false;
    uint64_t answer_at = 0;
    unsigned answer = 0;

    bool is_inside(uint32_t address) const {
        return address >= base && uint64_t(address) + 8 <= uint64_t(base) + size;
    }
    unsigned response(uint32_t address) const {
        return slave_error ? 2 : is_inside(address) ? 0 : 3;
    }

    void tick() {
        Vboard& t = *top;
        // What memory says in this clock.
        t.m_axi_arready = reads.size() < 8;
        bool gives = !reads.empty() && reads.front().ready_at <= clock && next_beat_at <= clock;
        uint32_t at = gives ? reads.front().address + 8 * beat : 0;
        t.m_axi_rvalid = gives;
        t.m_axi_rresp = gives ? response(at) : 0;
        uint64_t data = 0;
        if (gives && is_inside(at)) std::memcpy(&data, memory + (at - base), 8);
        t.m_axi_rdata = data;
        t.m_axi_awready = !is_writing && !has_answer;
        t.m_axi_wready = is_writing;
        t.m_axi_bvalid = has_answer && answer_at <= clock;
        t.m_axi_bresp = answer;
        t.eval();
        // Who met whom.
        bool asked = t.m_axi_arvalid && t.m_axi_arready;
        bool took = gives && t.m_axi_rready;
        bool begins = t.m_axi_awvalid && t.m_axi_awready;
        bool writes = t.m_axi_wvalid && t.m_axi_wready;
        bool ends = t.m_axi_bvalid && t.m_axi_bready;
        Burst wanted{t.m_axi_araddr, unsigned(t.m_axi_arlen) + 1, clock + 1 + first_beat};
        Burst begun{t.m_axi_awaddr, unsigned(t.m_axi_awlen) + 1, 0};
        uint64_t word = t.m_axi_wdata;
        t.clk = 1;
        t.eval();
        t.clk = 0;
        t.eval();
        ++clock;
        if (took && ++beat == reads.front().beats) {
            reads.pop_front();
            beat = 0;
            next_beat_at = clock + gap;
        }
        if (asked) reads.push_back(wanted);
        if (writes) {
            uint32_t to = write.address + 8 * written;
            if (is_inside(to) && !slave_error) std::memcpy(memory + (to - base), &word, 8);
            if (response(to)) answer = response(to);
            if (++written == write.beats) {
                is_writing = false;
                has_answer = true;
                answer_at = clock + first_beat;
            }
        }
        if (begins) {
            is_writing = true;
            write = begun;
            written = 0;
            answer = 0;
        }
        if (ends) has_answer = false;
        if (t.memory_reset) {
            reads.clear();
            beat = 0;
            is_writing = has_answer = false;
        }
    }
};

}  // namespace

extern "C" {

Board* board_new(uint8_t* memory, uint32_t base, uint64_t size) {
    Board* board = new Board;
    board->memory = memory;
    board->base = base;
    board->size = size;
    board->top->rst_n = 0;
    for (int i = 0; i < 8; ++i) board->tick();
    board->top->rst_n = 1;
    board->tick();
    return board;
}

void board_free(Board* board) { delete board; }

void board_latency(Board* board, unsigned mmio_clocks, unsigned first_beat, unsigned gap) {
    board->mmio_clocks = mmio_clocks;
    board->first_beat = first_beat;
    board->gap = gap;
}

void board_fault(Board* board, int stall, int drop_last, int slave_error) {
    board->top->stall = stall != 0;
    board->top->drop_last = drop_last != 0;
    board->slave_error = slave_error != 0;
}

uint64_t board_clock(const Board* board) { return board->clock; }

uint32_t board_leds(const Board* board) { return board->top->leds; }

void board_run(Board* board, uint64_t clocks) {
    while (clocks--) board->tick();
}

// 0 where nobody answered in time.
int board_write(Board* board, uint32_t address, uint32_t value) {
    Vboard& t = *board->top;
    board_run(board, board->mmio_clocks);
    t.s_axil_awaddr = address;
    t.s_axil_wdata = value;
    t.s_axil_wstrb = 15;
    t.s_axil_awvalid = t.s_axil_wvalid = t.s_axil_bready = 1;
    t.eval();
    int left = 1000;
    while (!t.s_axil_awready && --left) board->tick();
    board->tick();
    t.s_axil_awvalid = t.s_axil_wvalid = 0;
    t.eval();
    while (left && !t.s_axil_bvalid && --left) board->tick();
    board->tick();
    t.s_axil_bready = 0;
    t.eval();
    return left != 0;
}

int board_read(Board* board, uint32_t address, uint32_t* value) {
    Vboard& t = *board->top;
    board_run(board, board->mmio_clocks);
    t.s_axil_araddr = address;
    t.s_axil_arvalid = t.s_axil_rready = 1;
    t.eval();
    int left = 1000;
    while (!t.s_axil_arready && --left) board->tick();
    board->tick();
    t.s_axil_arvalid = 0;
    t.eval();
    while (left && !t.s_axil_rvalid && --left) board->tick();
    *value = t.s_axil_rdata;
    board->tick();
    t.s_axil_rready = 0;
    t.eval();
    return left != 0;
}

}  // extern "C"
