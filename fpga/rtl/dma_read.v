// Memory to stream: bursts of up to 16 beats of 8 bytes, several under way, into a FIFO that has
// room for all of them. Bursts end at multiples of 128 bytes, so none crosses 4 KiB.
//
// `drain` ends a transfer before its end: no burst is asked for any more (but for one that already
// shows its address, which may not take it back), and what is owed is taken and dropped.
`default_nettype none
module dma_read #(
    parameter DEPTH = 128             // beats of the FIFO, a power of two, at least 32
) (
    input  wire        clk,
    input  wire        rst,
    input  wire        drain,         // until not busy
    input  wire        start,         // one clock, while not busy; whole beats
    input  wire [31:0] address,
    input  wire [25:0] length,        // bytes, not 0
    output reg         busy,
    output reg         done,          // one clock
    output reg         slave_error,   // one clock
    output reg         decode_error,  // one clock
    output wire [31:0] m_axi_araddr,
    output wire [3:0]  m_axi_arlen,
    output wire        m_axi_arvalid,
    input  wire        m_axi_arready,
    input  wire [63:0] m_axi_rdata,
    input  wire [1:0]  m_axi_rresp,
    input  wire        m_axi_rvalid,
    output wire        m_axi_rready,
    output wire [63:0] m_axis_tdata,
    output wire        m_axis_tvalid,
    input  wire        m_axis_tready,
    output wire        m_axis_tlast
);
    localparam BITS = $clog2(DEPTH);
    reg [31:0] next;
    reg [22:0] to_ask, to_give;            // beats
    reg [BITS:0] claimed;                  // beats of the FIFO that are full or asked for
    reg [BITS:0] filled;

    // As far as the next multiple of 128 bytes.
    wire [4:0] up_to = 5'd16 - {1'b0, next[6:3]};
    wire [4:0] burst = to_ask < {18'd0, up_to} ? to_ask[4:0] : up_to;
    wire room = {1'b0, claimed} + {{(BITS-3){1'b0}}, burst} <= DEPTH;
    assign m_axi_araddr = next;
    assign m_axi_arlen = burst[3:0] - 4'd1;
    reg asking;                            // once valid it stays so
    wire asks = busy && to_ask != 23'd0 && (asking || (room && !drain));
    assign m_axi_arvalid = asks;
    wire asked = asks && m_axi_arready;

    wire takes = m_axi_rvalid && m_axi_rready;
    assign m_axi_rready = busy;
    wire gives = m_axis_tvalid && m_axis_tready;
    assign m_axis_tvalid = busy && !drain && filled != {(BITS+1){1'b0}};
    assign m_axis_tlast = to_give == 23'd1;
    wire owes_nothing = claimed == filled && !asks;
    fifo #(.WIDTH(64), .DEPTH(DEPTH)) fifo (
        .clk(clk), .rst(rst || start), .push(takes), .word(m_axi_rdata),
        .pop(gives), .head(m_axis_tdata)
    );

    always @(posedge clk) begin
        done <= 1'b0;
        slave_error <= takes && m_axi_rresp == 2'b10;
        decode_error <= takes && m_axi_rresp == 2'b11;
        asking <= asks && !asked;
        if (asked) begin
            next <= next + {24'd0, burst, 3'd0};
            to_ask <= to_ask - {18'd0, burst};
        end
        claimed <= claimed + (asked ? {{(BITS-4){1'b0}}, burst} : {(BITS+1){1'b0}})
                   - {{BITS{1'b0}}, gives};
        filled <= filled + {{BITS{1'b0}}, takes} - {{BITS{1'b0}}, gives};
        if (gives) begin
            to_give <= to_give - 23'd1;
            if (to_give == 23'd1) begin
                busy <= 1'b0;
                done <= 1'b1;
            end
        end
        if (drain && owes_nothing) busy <= 1'b0;
        if (start) begin
            next <= address;
            to_ask <= length[25:3];
            to_give <= length[25:3];
            claimed <= {(BITS+1){1'b0}};
            filled <= {(BITS+1){1'b0}};
            busy <= 1'b1;
        end
        if (rst) begin
            done <= 1'b0;
            slave_error <= 1'b0;
            decode_error <= 1'b0;
            busy <= 1'b0;
            asking <= 1'b0;
            claimed <= {(BITS+1){1'b0}};
            filled <= {(BITS+1){1'b0}};
            to_ask <= 23'd0;
        end
    end
    /* verilator lint_off UNUSED */
    wire unused = &{1'b0, length[2:0]};
    /* verilator lint_on UNUSED */
endmodule
`default_nettype wire
