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
    input  wire [7:0]  zero,       // at 6, as the limits
    input  wire [7:0]  low,
    input  wire [7:0]  high,
    output reg  [7:0]  result      // at 8
);
    // 0: the bias. Nothing above 25 bits can matter.
    reg  [24:0] sum;
    reg  [23:0] sig1;
    reg  [5:0]  shift1;
    always @(posedge clk) begin
        sum    <= acc + parameters[24:0];
        sig1   <= parameters[55:32];
        shift1 <= parameters[61:56];
    end
    /* verilator lint_off UNUSED */
    wire unused = |{parameters[31:25], parameters[63:62]};
    /* verilator lint_on UNUSED */

    // 1: the magnitude.
    /* verilator lint_off UNUSED */
    wire [24:0] raised = {sum[23:0] ^ {24{sum[24]}}, 1'b1} + {24'd0, sum[24]};
    /* verilator lint_on UNUSED */
    wire [23:0] magnitude = raised[24:1];
    reg         negative2, negative3, negative4;
    reg  [5:0]  shift2, shift3, shift4;
    always @(posedge clk) begin
        {negative2, shift2} <= {sum[24], shift1};
        {negative3, shift3} <= {negative2, shift2};
        {negative4, shift4} <= {negative3, shift3};
    end

    // 2: partial products: two or four to add.
    wire [47:0] one, other;
    generate
        if (PACK != 0) begin : dsp48
            reg [23:0] factor, sig2;
            reg [40:0] lower;
            reg [30:0] upper;
            always @(posedge clk) begin
                factor <= magnitude;
                sig2   <= sig1;
                lower  <= sig2 * factor[16:0];
                upper  <= sig2 * factor[23:17];
            end
            assign one = {upper, 17'd0};
            assign other = {7'd0, lower};
        end else begin : mult18
            wire [35:0] ll;
            wire [23:0] lu, ul;
            wire [11:0] uu;
            multiplier #(.A(18), .B(18), .SIGNED(0)) multiply_ll (
                .clk(clk), .a(sig1[17:0]), .b(magnitude[17:0]), .product(ll)
            );
            multiplier #(.A(18), .B(6), .SIGNED(0)) multiply_lu (
                .clk(clk), .a(sig1[17:0]), .b(magnitude[23:18]), .product(lu)
            );
            multiplier #(.A(6), .B(18), .SIGNED(0)) multiply_ul (
                .clk(clk), .a(sig1[23:18]), .b(magnitude[17:0]), .product(ul)
            );
            multiplier #(.A(6), .B(6), .SIGNED(0)) multiply_uu (
                .clk(clk), .a(sig1[23:18]), .b(magnitude[23:18]), .product(uu)
            );
            // Three become two without a carry chain.
            wire [47:0] lu2 = {6'd0, lu, 18'd0}, ul2 = {6'd0, ul, 18'd0}, outer = {uu, ll};
            assign one = lu2 ^ ul2 ^ outer;
            assign other = (lu2 & ul2 | lu2 & outer | ul2 & outer) << 1;
        end
    endgenerate

    // 3: their sum.
    reg [47:0] p;
    always @(posedge clk) p <= one + other;

    // 4: shift by eights. Bit i of `coarse` has weight 2^(i - 26), still to be shifted by 0..7.
    reg [41:0] coarse;
    reg        sticky5, over5, negative5;
    reg [2:0]  shift5;
    always @(posedge clk) begin
        negative5 <= negative4;
        shift5    <= shift4[2:0];
        case (shift4[5:3])
            3'd0: begin coarse <= {p[15:0], 26'd0};       over5 <= |p[47:16]; sticky5 <= 1'b0; end
            3'd1: begin coarse <= {p[23:0], 18'd0};       over5 <= |p[47:24]; sticky5 <= 1'b0; end
            3'd2: begin coarse <= {p[31:0], 10'd0};       over5 <= |p[47:32]; sticky5 <= 1'b0; end
            3'd3: begin coarse <= {p[39:0], 2'd0};        over5 <= |p[47:40]; sticky5 <= 1'b0; end
            3'd4: begin coarse <= p[47:6];                over5 <= 1'b0; sticky5 <= |p[5:0]; end
            3'd5: begin coarse <= {8'd0, p[47:14]};       over5 <= 1'b0; sticky5 <= |p[13:0]; end
            3'd6: begin coarse <= {16'd0, p[47:22]};      over5 <= 1'b0; sticky5 <= |p[21:0]; end
            default: begin coarse <= {24'd0, p[47:30]};   over5 <= 1'b0; sticky5 <= |p[29:0]; end
        endcase
    end

    // 5: the rest of the shift: m integer bits, 26 of the fraction, and whether more is left.
    wire [41:0] fine = coarse >> shift5;
    reg  [7:0]  m;
    reg  [25:0] fraction;
    reg         sticky6, over6, negative6;
    reg  [8:2]  below_k;            // ones below bit k, see 6
    reg         has_m;
    wire [7:0]  m5 = fine[33:26];
    always @(posedge clk) begin
        {m, fraction} <= fine[33:0];
        below_k       <= {m5[7], |m5[7:6], |m5[7:5], |m5[7:4], |m5[7:3], |m5[7:2], |m5[7:1]};
        has_m         <= |m5;
        over6         <= over5 || |fine[41:34];
        sticky6       <= sticky5 || |(coarse[6:0] & ~(7'h7f << shift5));
        negative6     <= negative5;
    end

    // 6: round. Half a step is 2^k in units of the fraction's last bit: k = 2 + floor(log2(m)); for
    // m = 0 it is 2 above the tie and 1 below it.
    wire [9:0] step = {has_m ? {below_k, 1'b1} & ~{1'b0, below_k} : 8'd0, !has_m, 1'b0};
    wire [9:0] mask_above = {1'b0, below_k, has_m, 1'b1};
    wire [9:0] mask_below = {1'b0, below_k, has_m, has_m};
    wire       zeros = fraction[24:10] == 15'd0;
    wire       ones = &fraction[24:10];
    wire       above = fraction[25] && zeros
                    && ((fraction[9:0] & ~mask_above) == 10'd0
                        || (fraction[9:0] == step && !sticky6));
    wire       below = !fraction[25] && ones && &(fraction[9:0] | mask_below);
    reg  [8:0] m7;
    reg        up7, negative7;
    always @(posedge clk) begin
        m7        <= {over6, m};
        up7       <= above || below ? m[0] : fraction[25];
        negative7 <= negative6;
    end

    // 7: sign, zero point, clamp. 256 and more are clamped whatever they are. Whether the value is
    // beyond a limit is found out while the zero point is added to it.
    reg  [7:0]  zero7, low7, high7;
    reg  [9:0]  above_low, above_high;     // zero - low, zero - high - 1
    always @(posedge clk) begin
        {zero7, low7, high7} <= {zero, low, high};
        above_low  <= {{2{zero[7]}}, zero} - {{2{low[7]}}, low};
        above_high <= {{2{zero[7]}}, zero} + ~{{2{high[7]}}, high};
    end
    wire [8:0]  limited = {1'b0, m7[7:0] | {8{m7[8]}}};
    wire [10:0] signed_m = {2'b00, limited} ^ {11{negative7}};
    wire        carry = negative7 ^ up7;
    /* verilator lint_off UNUSED */
    wire [11:0] total = {signed_m, 1'b1} + {{3{zero7[7]}}, zero7, carry};
    wire [11:0] of_low = {signed_m, 1'b1} + {above_low[9], above_low, carry};
    wire [11:0] of_high = {signed_m, 1'b1} + {above_high[9], above_high, carry};
    /* verilator lint_on UNUSED */
    always @(posedge clk) result <= of_low[11] ? low7 : !of_high[11] ? high7 : total[8:1];
endmodule
`default_nettype wire
