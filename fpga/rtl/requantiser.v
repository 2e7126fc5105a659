// clamp(rint(float32(acc + bias) * scale) + z1, lo, hi), exactly as float32 computes it. scale is
// sig * 2^-shift, |acc + bias| < 2^24. A value a clock; the result is there eight clocks later.
//
// float32 rounds the product to 24 significant bits before it is rounded to an integer. That makes a
// difference only near a tie m + 1/2: whatever lies within half a step of it is rounded
// to the tie itself, and so goes to the even integer.
`default_nettype none
module requantiser #(
    parameter PACK = 1
) (
    input  wire        clk,
    input  wire [24:0] acc,        // at 0
    input  wire [63:0] parameters, // at 0
    input  wire [7:0]  zero,       // at 6
    input  wire [7:0]  low,        // at 7
    input  wire [7:0]  high,       // at 7
    output reg  [7:0]  result      // at 8
);
    // 0: the bias. Nothing above 25 bits can matter. -v = ~v + 1: the missing one, times sig, is
    // added in 2.
    wire [24:0] sum = acc + parameters[24:0];
    reg  [23:0] magnitude;
    reg         negative1;
    reg  [23:0] sig1;
    reg  [5:0]  shift1;
    always @(posedge clk) begin
        magnitude <= sum[23:0] ^ {24{sum[24]}};
        negative1 <= sum[24];
        sig1      <= parameters[55:32];
        shift1    <= parameters[61:56];
    end
    /* verilator lint_off UNUSED */
    wire unused = |{parameters[31:25], parameters[63:62]};
    /* verilator lint_on UNUSED */

    function [47:0] majority(input [47:0] a, input [47:0] b, input [47:0] c);
        majority = a & b | a & c | b & c;
    endfunction

    // 1: partial products, and with the one that is missing they are three or four to add.
    reg  [23:0] extra2;
    reg         negative2;
    reg  [5:0]  shift2;
    wire [47:0] one, other;         // their sum is the product
    generate
        if (PACK != 0) begin : dsp48
            reg [40:0] lower;
            reg [30:0] upper;
            always @(posedge clk) begin
                lower <= sig1 * magnitude[16:0];
                upper <= sig1 * magnitude[23:17];
            end
            assign one = {upper, 17'd0};
            assign other = {7'd0, lower} + {24'd0, extra2};
        end else begin : mult18
            reg [35:0] ll;
            reg [23:0] lu, ul;
            reg [11:0] uu;
            always @(posedge clk) begin
                ll <= sig1[17:0] * magnitude[17:0];
                lu <= sig1[17:0] * magnitude[23:18];
                ul <= sig1[23:18] * magnitude[17:0];
                uu <= sig1[23:18] * magnitude[23:18];
            end
            // Three become two without a carry, twice.
            wire [47:0] lu2 = {6'd0, lu, 18'd0}, ul2 = {6'd0, ul, 18'd0}, outer = {uu, ll};
            wire [47:0] sum_a = lu2 ^ ul2 ^ outer;
            wire [47:0] carry_a = majority(lu2, ul2, outer) << 1;
            wire [47:0] extra = {24'd0, extra2};
            assign one = sum_a ^ carry_a ^ extra;
            assign other = majority(sum_a, carry_a, extra) << 1;
        end
    endgenerate
    always @(posedge clk) begin
        extra2    <= negative1 ? sig1 : 24'd0;
        negative2 <= negative1;
        shift2    <= shift1;
    end

    // 2: their sum.
    reg [47:0] p;
    reg        negative3;
    reg [5:0]  shift3;
    always @(posedge clk) begin
        p         <= one + other;
        negative3 <= negative2;
        shift3    <= shift2;
    end

    // 3: shift by eights. Bit i of `coarse` has weight 2^(i - 26), still to be shifted by 0..7.
    reg [41:0] coarse;
    reg        sticky4, over4, negative4;
    reg [2:0]  shift4;
    always @(posedge clk) begin
        negative4 <= negative3;
        shift4    <= shift3[2:0];
        case (shift3[5:3])
            3'd0: begin coarse <= {p[15:0], 26'd0};       over4 <= |p[47:16]; sticky4 <= 1'b0; end
            3'd1: begin coarse <= {p[23:0], 18'd0};       over4 <= |p[47:24]; sticky4 <= 1'b0; end
            3'd2: begin coarse <= {p[31:0], 10'd0};       over4 <= |p[47:32]; sticky4 <= 1'b0; end
            3'd3: begin coarse <= {p[39:0], 2'd0};        over4 <= |p[47:40]; sticky4 <= 1'b0; end
            3'd4: begin coarse <= p[47:6];                over4 <= 1'b0; sticky4 <= |p[5:0]; end
            3'd5: begin coarse <= {8'd0, p[47:14]};       over4 <= 1'b0; sticky4 <= |p[13:0]; end
            3'd6: begin coarse <= {16'd0, p[47:22]};      over4 <= 1'b0; sticky4 <= |p[21:0]; end
            default: begin coarse <= {24'd0, p[47:30]};   over4 <= 1'b0; sticky4 <= |p[29:0]; end
        endcase
    end

    // 4: the rest of the shift: m integer bits, 26 of the fraction, and whether more is left.
    wire [41:0] fine = coarse >> shift4;
    reg  [7:0]  m;
    reg  [25:0] fraction;
    reg         sticky5, over5, negative5;
    reg  [8:2]  below_k;            // ones below bit k, see 5
    reg         has_m;
    wire [7:0]  m4 = fine[33:26];
    always @(posedge clk) begin
        {m, fraction} <= fine[33:0];
        below_k       <= {m4[7], |m4[7:6], |m4[7:5], |m4[7:4], |m4[7:3], |m4[7:2], |m4[7:1]};
        has_m         <= |m4;
        over5         <= over4 || |fine[41:34];
        sticky5       <= sticky4 || |(coarse[6:0] & ~(7'h7f << shift4));
        negative5     <= negative4;
    end

    // 5: round. Half a step is 2^k in units of the fraction's last bit: k = 2 + floor(log2(m)); for
    // m = 0 it is 2 above the tie and 1 below it.
    wire [9:0] step = {has_m ? {below_k, 1'b1} & ~{1'b0, below_k} : 8'd0, !has_m, 1'b0};
    wire [9:0] mask_above = {1'b0, below_k, has_m, 1'b1};
    wire [9:0] mask_below = {1'b0, below_k, has_m, has_m};
    wire       zeros = fraction[24:10] == 15'd0;
    wire       ones = &fraction[24:10];
    wire       above = fraction[25] && zeros
                    && ((fraction[9:0] & ~mask_above) == 10'd0
                        || (fraction[9:0] == step && !sticky5));
    wire       below = !fraction[25] && ones && &(fraction[9:0] | mask_below);
    reg  [8:0] m6;
    reg        up6, negative6;
    always @(posedge clk) begin
        m6        <= {over5, m};
        up6       <= above || below ? m[0] : fraction[25];
        negative6 <= negative5;
    end

    // 6: sign, and the zero point. 256 and more are clamped whatever they are.
    wire [8:0]  limited = {1'b0, m6[7:0] | {8{m6[8]}}};
    wire [9:0]  signed_m = {1'b0, limited} ^ {10{negative6}};
    /* verilator lint_off UNUSED */
    wire [11:0] total = {signed_m[9], signed_m, 1'b1} + {{3{zero[7]}}, zero, negative6 ^ up6};
    /* verilator lint_on UNUSED */
    reg signed [10:0] moved;
    always @(posedge clk) moved <= total[11:1];

    // 7: clamp.
    wire is_low  = moved < $signed({{3{low[7]}}, low});
    wire is_high = moved > $signed({{3{high[7]}}, high});
    always @(posedge clk) result <= is_low ? low : is_high ? high : moved[7:0];
endmodule
`default_nettype wire
