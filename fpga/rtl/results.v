// From accumulators to words of results: requantise, add the residual, pack, write.
//
// A word goes through in R groups of RQ lanes, one a clock. Clocks are counted from the issue of its
// last tap; the accumulators are there at A, a word is written at A + 7 + R, or 7 clocks later with
// a residual. `ends` marks the clocks of a word's first group as it moves along.
`default_nettype none
module results #(
    parameter N = 8,
    parameter RQ = 4,
    parameter PACK = 1,
    parameter D_WORDS = 64,
    parameter P_WORDS = 256,
    parameter DA = $clog2(D_WORDS),
    parameter PA = $clog2(P_WORDS)
) (
    input  wire             clk,
    input  wire             rst,
    input  wire             d_we,
    input  wire [DA-1:0]    d_waddr,
    /* verilator lint_off UNUSED */
    input  wire [511:0]     d_word,
    /* verilator lint_on UNUSED */
    // at 0
    input  wire             word_end,
    input  wire             slot_end,
    input  wire [DA-1:0]    index,
    input  wire [PA-1:0]    p_addr,
    input  wire [15:0]      dst,
    input  wire             res_in_b,
    input  wire             res_mode,
    // at 2
    input  wire [N*8-1:0]   a_word,
    input  wire [N*8-1:0]   b_word,
    // parameters: the address, and the entry two clocks later
    output reg  [PA-1:0]    p_raddr,
    input  wire [RQ*64-1:0] parameters,
    // at A
    input  wire [N*25-1:0]  acc,
    // the word
    output reg              write_a,
    output reg              write_b,
    output reg              write_out,
    output reg  [13:0]      write_to,
    output wire [N*8-1:0]   word,
    output reg              slot_done    // a clock before the slot's last word is written
);
    localparam A = N == 8 ? 7 : 8;
    localparam R = N / RQ;
    localparam PLAIN = A + 7 + R;        // when a word is written
    localparam ADDED = PLAIN + 7;

    // The word's way. Those without a residual are not to be seen beyond their end.
    reg  [ADDED-1:1] ends;
    reg  [ADDED-2:1] slot_ends;
    always @(posedge clk) begin
        ends      <= {ends[ADDED-2:1], word_end};
        slot_ends <= {slot_ends[ADDED-3:1], slot_end};
        ends[PLAIN]        <= ends[PLAIN-1] && res_mode;
        slot_ends[PLAIN-1] <= slot_ends[PLAIN-2] && res_mode;
        if (rst) begin
            ends      <= {(ADDED-1){1'b0}};
            slot_ends <= {(ADDED-2){1'b0}};
        end
    end
    wire [15:0] target;
    wire        write_next = res_mode ? ends[ADDED-1] : ends[PLAIN-1];
    always @(posedge clk) begin
        write_a   <= write_next && target[15:14] == 2'd1 && !rst;
        write_b   <= write_next && target[15:14] == 2'd2 && !rst;
        write_out <= write_next && target[15:14] == 2'd3 && !rst;
        write_to  <= target[13:0];
    end
    always @(posedge clk) begin
        slot_done <= res_mode ? slot_ends[ADDED-2] : slot_ends[PLAIN-2];
        if (rst) slot_done <= 1'b0;
    end

    fifo #(.WIDTH(16), .DEPTH(32)) targets (
        .clk(clk), .rst(rst), .push(word_end), .word(dst), .pop(write_next), .head(target)
    );

    // Parameters: the entry of group g is to be there at A + g.
    reg [PA-1:0] p_late [1:A-3];
    integer k;
    always @(posedge clk) begin
        p_late[1] <= p_addr;
        for (k = 2; k <= A - 3; k = k + 1) p_late[k] <= p_late[k-1];
        p_raddr <= ends[A-3] ? p_late[A-3] : p_raddr + 1'b1;
    end

    // The layer's constants, there from A + 6 on.
    reg [DA-1:0] index_late [1:A+3];
    reg [DA-1:0] layer;
    wire [7:0]   high6, low6, zero6, c_high, c_low, c_zero, c_r_zero;
    wire [4:0]   c_shift;
    wire [23:0]  c_q_factor, c_r_factor;
    wire [108:0] constant;
    always @(posedge clk) begin
        index_late[1] <= index;
        for (k = 2; k <= A + 3; k = k + 1) index_late[k] <= index_late[k-1];
        if (ends[A+3]) layer <= index_late[A+3];
    end
    memory #(.WIDTH(109), .WORDS(D_WORDS), .BLOCK(0)) constants (
        .clk(clk), .ce(1'b1), .we(d_we), .waddr(d_waddr),
        .wdata({d_word[360 +: 24], d_word[384 +: 32], d_word[416 +: 29], d_word[448 +: 24]}),
        .raddr(layer), .rdata(constant)
    );
    assign {high6, low6, zero6, c_high, c_low, c_zero, c_r_zero, c_shift, c_q_factor, c_r_factor}
        = constant;
    // Each is used some clocks later: A + 6 is number 0 here.
    reg [7:0] zero7, zero8, r_zero7, r_zero8;
    always @(posedge clk) begin
        {zero7, r_zero7} <= {zero6, c_r_zero};
        {zero8, r_zero8} <= {zero7, r_zero7};
    end
    reg [47:0] factors [1:2];
    reg [4:0]  shift [1:5];
    reg [7:0]  out_zero [1:7];
    reg [15:0] out_range [1:8];
    always @(posedge clk) begin
        factors[1]   <= {c_q_factor, c_r_factor};
        shift[1]     <= c_shift;
        out_zero[1]  <= c_zero;
        out_range[1] <= {c_high, c_low};
        factors[2] <= factors[1];
        for (k = 2; k <= 5; k = k + 1) shift[k] <= shift[k-1];
        for (k = 2; k <= 7; k = k + 1) out_zero[k] <= out_zero[k-1];
        for (k = 2; k <= 8; k = k + 1) out_range[k] <= out_range[k-1];
    end

    // Residuals wait from 3 to A + 7, then go out group by group.
    reg [N*8-1:0] residual3;
    reg           in_b1, in_b2;
    always @(posedge clk) begin
        in_b1 <= res_in_b;
        in_b2 <= in_b1;
        residual3 <= in_b2 ? b_word : a_word;
    end
    wire [N*8-1:0] residual_head;
    fifo #(.WIDTH(N * 8), .DEPTH(32)) residuals (
        .clk(clk), .rst(rst), .push(ends[3] && res_mode), .word(residual3),
        .pop(ends[A+7] && res_mode), .head(residual_head)
    );

    // Groups.
    wire [RQ*25-1:0] group;
    reg  [N*8-1:0]   residual;
    wire [RQ*8-1:0]  plain, added;
    wire [RQ*8-1:0]  done = res_mode ? added : plain;
    generate
        if (R == 1) begin : whole
            assign group = acc;
            always @(posedge clk) residual <= residual_head;
            assign word = done;
        end else begin : parts
            reg [(N-RQ)*25-1:0] rest;
            reg [(N-RQ)*8-1:0]  earlier;
            assign group = ends[A] ? acc[RQ*25-1:0] : rest[RQ*25-1:0];
            if (R == 2) begin : two
                always @(posedge clk) begin
                    rest    <= acc[N*25-1:RQ*25];
                    earlier <= done;
                end
            end else begin : many
                always @(posedge clk) begin
                    rest <= ends[A] ? acc[N*25-1:RQ*25] : {{(RQ*25){1'b0}}, rest[(N-RQ)*25-1:RQ*25]};
                    earlier <= {done, earlier[(N-RQ)*8-1:RQ*8]};
                end
            end
            always @(posedge clk)
                residual <= ends[A+7] ? residual_head : {{(RQ*8){1'b0}}, residual[N*8-1:RQ*8]};
            assign word = {done, earlier};
        end
    endgenerate

    genvar i;
    generate
        for (i = 0; i < RQ; i = i + 1) begin : lane
            requantiser #(.PACK(PACK)) requantise (
                .clk(clk), .acc(group[25*i +: 25]), .parameters(parameters[64*i +: 64]),
                .zero(zero6), .low(low6), .high(high6), .result(plain[8*i +: 8])
            );
            adder #(.PACK(PACK)) add (
                .clk(clk), .q(plain[8*i +: 8]), .r(residual[8*i +: 8]),
                .q_zero(zero8), .r_zero(r_zero8),
                .q_factor(factors[2][47:24]), .r_factor(factors[2][23:0]),
                .shift(shift[5]), .zero(out_zero[7]),
                .low(out_range[8][7:0]), .high(out_range[8][15:8]), .result(added[8*i +: 8])
            );
        end
    endgenerate
endmodule
`default_nettype wire
