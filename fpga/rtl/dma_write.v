// Stream to memory: a burst goes out when 16 beats, or the packet's end, are in the FIFO. A packet
// ends with TLAST; `received` says how long it was. A packet longer than its buffer is an error.
//
// `drain` ends a transfer before its end: a burst that shows its address already gets all its
// beats, without a byte that counts (WSTRB), and its answer is waited for.
`default_nettype none
module dma_write #(
    parameter DEPTH = 64              // beats of the FIFO, a power of two, at least 32
) (
    input  wire        clk,
    input  wire        rst,
    input  wire        drain,         // until not busy
    input  wire        start,         // one clock, while not busy
    input  wire [31:0] address,
    input  wire [25:0] length,        // bytes of the buffer, not 0
    output reg         busy,
    output reg         done,          // one clock
    output reg         overflow,      // one clock
    output reg         slave_error,   // one clock
    output reg         decode_error,  // one clock
    output reg  [25:0] received,      // bytes, at `done`
    output wire [31:0] m_axi_awaddr,
    output wire [3:0]  m_axi_awlen,
    output wire        m_axi_awvalid,
    input  wire        m_axi_awready,
    output wire [63:0] m_axi_wdata,
    output wire [7:0]  m_axi_wstrb,
    output wire        m_axi_wlast,
    output wire        m_axi_wvalid,
    input  wire        m_axi_wready,
    input  wire [1:0]  m_axi_bresp,
    input  wire        m_axi_bvalid,
    output wire        m_axi_bready,
    input  wire [63:0] s_axis_tdata,
    input  wire        s_axis_tvalid,
    output wire        s_axis_tready,
    input  wire        s_axis_tlast
);
    localparam BITS = $clog2(DEPTH);
    localparam ASK = 2'd0, SEND = 2'd1, WAIT = 2'd2;
    reg [1:0]  state;
    reg [31:0] next;
    reg [22:0] room;                  // beats that the buffer still takes
    reg [22:0] taken;
    reg [BITS:0] filled;
    reg        ended;                 // TLAST was taken
    reg [4:0]  left;                  // beats of the burst

    assign s_axis_tready = busy && !drain && !ended && room != 23'd0 && filled != DEPTH[BITS:0];
    wire takes = s_axis_tvalid && s_axis_tready;
    wire sends = m_axi_wvalid && m_axi_wready;
    fifo #(.WIDTH(64), .DEPTH(DEPTH)) fifo (
        .clk(clk), .rst(rst || start), .push(takes), .word(s_axis_tdata),
        .pop(sends), .head(m_axi_wdata)
    );

    wire [4:0] up_to = 5'd16 - {1'b0, next[6:3]};
    wire [BITS:0] most = {{(BITS-4){1'b0}}, up_to};
    wire is_whole = filled >= most;
    wire [4:0] burst = is_whole ? up_to : filled[4:0];
    wire has_burst = is_whole || (ended && filled != 0);
    reg        asking;                // once valid it stays so
    reg        is_mute;               // as long as a beat waits, its WSTRB stays
    assign m_axi_awvalid = busy && state == ASK && (asking || (has_burst && !drain));
    assign m_axi_awaddr = next;
    assign m_axi_awlen = burst[3:0] - 4'd1;
    assign m_axi_wvalid = state == SEND;
    assign m_axi_wlast = left == 5'd1;
    assign m_axi_wstrb = is_mute ? 8'h00 : 8'hFF;
    assign m_axi_bready = state == WAIT;

    always @(posedge clk) begin
        done <= 1'b0;
        asking <= m_axi_awvalid && !m_axi_awready;
        if (state != SEND || sends) is_mute <= drain;
        // A beat for which there is no room.
        overflow <= busy && !ended && room == 23'd0 && s_axis_tvalid;
        slave_error <= m_axi_bvalid && m_axi_bready && m_axi_bresp == 2'b10;
        decode_error <= m_axi_bvalid && m_axi_bready && m_axi_bresp == 2'b11;
        filled <= filled + {{BITS{1'b0}}, takes} - {{BITS{1'b0}}, sends};
        if (takes) begin
            room <= room - 23'd1;
            taken <= taken + 23'd1;
            if (s_axis_tlast) ended <= 1'b1;
        end
        case (state)
            ASK: begin
                if (m_axi_awvalid && m_axi_awready) begin
                    state <= SEND;
                    left <= burst;
                    next <= next + {24'd0, burst, 3'd0};
                end else if (drain && !m_axi_awvalid) busy <= 1'b0;
                else if (busy && ended && filled == 0) begin
                    busy <= 1'b0;
                    done <= 1'b1;
                    received <= {taken, 3'd0};
                end
            end
            SEND: if (sends) begin
                left <= left - 5'd1;
                if (m_axi_wlast) state <= WAIT;
            end
            default: if (m_axi_bvalid) state <= ASK;
        endcase
        if (start) begin
            next <= address;
            room <= length[25:3];
            taken <= 23'd0;
            filled <= {(BITS+1){1'b0}};
            ended <= 1'b0;
            busy <= 1'b1;
            state <= ASK;
        end
        if (rst) begin
            overflow <= 1'b0;
            done <= 1'b0;
            slave_error <= 1'b0;
            decode_error <= 1'b0;
            busy <= 1'b0;
            ended <= 1'b0;
            asking <= 1'b0;
            is_mute <= 1'b0;
            filled <= {(BITS+1){1'b0}};
            state <= ASK;
        end
    end
    /* verilator lint_off UNUSED */
    wire unused = &{1'b0, length[2:0]};
    /* verilator lint_on UNUSED */
endmodule
`default_nettype wire
