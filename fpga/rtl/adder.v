// clamp(round((MA * (q - z1) + MB * (r - zr)) / 2^shift) + zo, lo, hi), half to even on the exact
// integer. A pair a clock; the result is there seven clocks later. Constants of a layer come with
// the value and are delayed here.
`default_nettype none
module adder #(
    parameter PACK = 1
) (
    input  wire        clk,
    input  wire [7:0]  q,          // at 0, as all
    input  wire [7:0]  r,
    input  wire [7:0]  q_zero,
    input  wire [7:0]  r_zero,
    input  wire [23:0] q_factor,
    input  wire [23:0] r_factor,
    input  wire [4:0]  shift,      // at 3; its lower bits are kept for 4
    input  wire [7:0]  zero,       // at 5
    input  wire [7:0]  low,        // at 6
    input  wire [7:0]  high,       // at 6
    output reg  [7:0]  result      // at 7
);
    // 0
    wire [8:0] q0 = {q[7], q} - {q_zero[7], q_zero};
    wire [8:0] r0 = {r[7], r} - {r_zero[7], r_zero};

    // 1: a DSP48 takes a factor whole, others in two parts.
    wire signed [33:0] one, other;
    generate
        if (PACK != 0) begin : dsp48
            reg signed [8:0]  q1, r1;
            reg [23:0]        q_factor1, r_factor1;
            reg signed [33:0] q2, r2;
            always @(posedge clk) begin
                q1 <= q0;
                r1 <= r0;
                q_factor1 <= q_factor;
                r_factor1 <= r_factor;
                q2 <= $signed({1'b0, q_factor1}) * q1;
                r2 <= $signed({1'b0, r_factor1}) * r1;
            end
            assign one = q2;
            assign other = r2;
        end else begin : mult18
            wire signed [26:0] q_lower, r_lower;
            wire signed [16:0] q_upper, r_upper;
            multiplier #(.A(18), .B(9)) multiply_ql (
                .clk(clk), .a({1'b0, q_factor[16:0]}), .b(q0), .product(q_lower)
            );
            multiplier #(.A(8), .B(9)) multiply_qu (
                .clk(clk), .a({1'b0, q_factor[23:17]}), .b(q0), .product(q_upper)
            );
            multiplier #(.A(18), .B(9)) multiply_rl (
                .clk(clk), .a({1'b0, r_factor[16:0]}), .b(r0), .product(r_lower)
            );
            multiplier #(.A(8), .B(9)) multiply_ru (
                .clk(clk), .a({1'b0, r_factor[23:17]}), .b(r0), .product(r_upper)
            );
            wire signed [16:0] upper = q_upper + r_upper;
            wire signed [27:0] lower = q_lower + r_lower;
            assign one = {upper, 17'd0};
            assign other = {{6{lower[27]}}, lower};
        end
    endgenerate

    // 2
    reg signed [33:0] sum;
    always @(posedge clk) sum <= one + other;

    // 3: one bit more below, for rounding.
    wire signed [34:0] wide = {sum, 1'b0};
    reg  signed [34:0] coarse;
    reg                sticky4;
    // Each lane has its own: they have far to go.
    reg  [2:0]         shift4;
    (* keep *)
    always @(posedge clk) shift4 <= shift[2:0];
    always @(posedge clk) begin
        case (shift[4:3])
            2'd0: begin coarse <= wide; sticky4 <= 1'b0; end
            2'd1: begin coarse <= wide >>> 8; sticky4 <= |wide[7:0]; end
            2'd2: begin coarse <= wide >>> 16; sticky4 <= |wide[15:0]; end
            default: begin coarse <= wide >>> 24; sticky4 <= |wide[23:0]; end
        endcase
    end

    // 4: 512 and more are clamped whatever they are.
    /* verilator lint_off UNUSED */
    wire signed [34:0] fine = coarse >>> shift4;
    /* verilator lint_on UNUSED */
    wire [6:0]         differ = (coarse[16:10] ^ {7{coarse[34]}}) & (7'h7f << shift4);
    wire               is_large = |differ || !(&coarse[34:17] || ~|coarse[34:17]);
    reg  [9:0]         m;
    reg                up;
    always @(posedge clk) begin
        m  <= is_large ? {fine[34], {9{!fine[34]}}} : fine[10:1];
        up <= !is_large && fine[0]
              && (fine[1] || sticky4 || |(coarse[6:0] & ~(7'h7f << shift4)));
    end

    // 5
    /* verilator lint_off UNUSED */
    wire [11:0] total = {m[9], m, 1'b1} + {{3{zero[7]}}, zero, up};
    /* verilator lint_on UNUSED */
    reg signed [10:0] moved;
    always @(posedge clk) moved <= total[11:1];

    // 6
    wire is_low  = moved < $signed({{3{low[7]}}, low});
    wire is_high = moved > $signed({{3{high[7]}}, high});
    always @(posedge clk) result <= is_low ? low : is_high ? high : moved[7:0];
endmodule
`default_nettype wire
