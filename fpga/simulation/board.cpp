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
    unsigned done = 0;
    unsigned answer = 0;
};

// One channel on which the logic speaks: what it says stays as it is until it is taken.
struct Said {
    bool waits = false;
    uint64_t first = 0, second = 0;

    bool is_kept(bool valid, bool ready, uint64_t now_first, uint64_t now_second) {
        bool kept = !waits || (valid && first == now_first && second == now_second);
        waits = valid && !ready;
        first = now_first;
        second = now_second;
        return kept;
    }
};

// Memory behind an AXI port, as a Zynq's HP port has it: whatever was asked for is answered, in
// order, and nothing that the logic does makes it forget. It watches the rules of AXI meanwhile.
class Memory {
public:
    uint8_t* bytes = nullptr;
    uint32_t base = 0;
    uint64_t size = 0;
    unsigned first_beat = 0, gap = 0;
    unsigned stalls = 0;        // of 256 clocks, in which a channel's memory side does nothing
    uint64_t random = 1;
    bool slave_error = false;
    const char* complaint = nullptr;

    // What memory says in this clock.
    void offer(Vboard& t, uint64_t clock) {
        t.m_axi_arready = reads.size() < 8 && moves();
        gives = !reads.empty() && reads.front().ready_at <= clock && next_beat_at <= clock
            && (gives_still || moves());
        uint32_t at = gives ? reads.front().address + 8 * reads.front().done : 0;
        t.m_axi_rvalid = gives;
        t.m_axi_rresp = gives ? response(at) : 0;
        uint64_t data = 0;
        if (gives && is_inside(at)) std::memcpy(&data, bytes + (at - base), 8);
        t.m_axi_rdata = data;
        t.m_axi_awready = writes.size() < 8 && moves();
        t.m_axi_wready = !writes.empty() && moves();
        answers_now = !answers.empty() && answers.front().ready_at <= clock
            && (answers_still || moves());
        t.m_axi_bvalid = answers_now;
        t.m_axi_bresp = answers_now ? answers.front().answer : 0;
    }

    // Who met whom; `clock` is the next one.
    void note(const Vboard& t, uint64_t clock) {
        watch(t);
        gives_still = gives && !t.m_axi_rready;
        if (gives && t.m_axi_rready && ++reads.front().done == reads.front().beats) {
            reads.pop_front();
            next_beat_at = clock + gap;
        }
        if (t.m_axi_arvalid && t.m_axi_arready)
            reads.push_back({t.m_axi_araddr, t.m_axi_arlen + 1u, clock + first_beat});
        if (t.m_axi_wvalid && t.m_axi_wready) write(t, clock);
        if (t.m_axi_awvalid && t.m_axi_awready)
            writes.push_back({t.m_axi_awaddr, t.m_axi_awlen + 1u, 0});
        answers_still = answers_now && !t.m_axi_bready;
        if (answers_now && t.m_axi_bready) answers.pop_front();
    }

    // Bursts that are not done.
    size_t owed() const { return reads.size() + writes.size() + answers.size(); }

private:
    std::deque<Burst> reads, writes, answers;
    bool gives = false, gives_still = false, answers_now = false, answers_still = false;
    uint64_t next_beat_at = 0;
    Said asks, begins, sends;

    bool moves() {
        if (!stalls) return true;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        return (random >> 20 & 255) >= stalls;
    }
    bool is_inside(uint32_t address) const {
        return address >= base && uint64_t(address) + 8 <= uint64_t(base) + size;
    }
    unsigned response(uint32_t address) const {
        return slave_error ? 2 : is_inside(address) ? 0 : 3;
    }
    void write(const Vboard& t, uint64_t clock) {
        Burst& burst = writes.front();
        uint32_t to = burst.address + 8 * burst.done;
        if (is_inside(to) && !slave_error)
            for (unsigned i = 0; i < 8; ++i)
                if (t.m_axi_wstrb >> i & 1) bytes[to - base + i] = uint8_t(t.m_axi_wdata >> 8 * i);
        if (response(to)) burst.answer = response(to);
        if (++burst.done < burst.beats) return;
        burst.ready_at = clock + first_beat;
        answers.push_back(burst);
        writes.pop_front();
    }
    void expect(bool holds, const char* else_said) {
        if (!holds && !complaint) complaint = else_said;
    }
    static bool is_in_one_page(uint32_t address, unsigned last) {
        return (address & 4095) + 8 * (last + 1) <= 4096;
    }
    void watch(const Vboard& t) {
        expect(asks.is_kept(t.m_axi_arvalid, t.m_axi_arready, t.m_axi_araddr, t.m_axi_arlen),
               "a read's address does not wait until it is taken");
        expect(begins.is_kept(t.m_axi_awvalid, t.m_axi_awready, t.m_axi_awaddr, t.m_axi_awlen),
               "a write's address does not wait until it is taken");
        expect(sends.is_kept(t.m_axi_wvalid, t.m_axi_wready, t.m_axi_wdata,
                             t.m_axi_wstrb << 1 | t.m_axi_wlast),
               "a beat to write does not wait until it is taken");
        expect(!t.m_axi_arvalid || is_in_one_page(t.m_axi_araddr, t.m_axi_arlen),
               "a read crosses 4 KiB");
        expect(!t.m_axi_awvalid || is_in_one_page(t.m_axi_awaddr, t.m_axi_awlen),
               "a write crosses 4 KiB");
        if (!t.m_axi_wvalid) return;
        expect(!writes.empty(), "a beat to write has no address");
        if (!writes.empty())
            expect(t.m_axi_wlast == (writes.front().done + 1 == writes.front().beats),
                   "WLAST is not at the last beat");
    }
};

struct Board {
    std::unique_ptr<VerilatedContext> context{new VerilatedContext};
    std::unique_ptr<Vboard> top{new Vboard{context.get()}};
    Memory memory;
    uint64_t clock = 0;
    unsigned mmio_clocks = 0;

    void tick() {
        Vboard& t = *top;
        memory.offer(t, clock);
        t.eval();
        ++clock;
        if (t.rst_n) memory.note(t, clock);
        t.clk = 1;
        t.eval();
        t.clk = 0;
        t.eval();
    }
};

}  // namespace

extern "C" {

Board* board_new(uint8_t* bytes, uint32_t base, uint64_t size) {
    Board* board = new Board;
    board->memory.bytes = bytes;
    board->memory.base = base;
    board->memory.size = size;
    board->top->rst_n = 0;
    for (int i = 0; i < 8; ++i) board->tick();
    board->top->rst_n = 1;
    board->tick();
    return board;
}

void board_free(Board* board) { delete board; }

void board_latency(Board* board, unsigned mmio_clocks, unsigned first_beat, unsigned gap) {
    board->mmio_clocks = mmio_clocks;
    board->memory.first_beat = first_beat;
    board->memory.gap = gap;
}

void board_stalls(Board* board, unsigned of_256, uint64_t seed) {
    board->memory.stalls = of_256;
    board->memory.random = seed * 2 + 1;
}

void board_fault(Board* board, int stall, int drop_last, int slave_error) {
    board->top->stall = stall != 0;
    board->top->drop_last = drop_last != 0;
    board->memory.slave_error = slave_error != 0;
}

// The first rule of AXI that was broken, or none.
const char* board_complaint(const Board* board) { return board->memory.complaint; }

uint64_t board_owed(const Board* board) { return board->memory.owed(); }

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
