// Products of one input word with the weights of two output lanes. Word and weights have registers
// here: one register of the word for all lanes would be far from most multipliers.
//
// PACK: one multiplier makes both, (w1 * 2^16 + w0) * x: w0 * x fits in 16 bits with its sign, which
// takes one from the upper half when it is negative: that is the carry. Else two multipliers,
// which work on and on.
`default_nettype none
module products #(
    parameter N = 8,
    parameter PACK = 1
) (
    input  wire            clk,
    input  wire            load,          // the factors
    input  wire            enable,        // the products, a clock later
    input  wire [N*8-1:0]  next_word,
    input  wire [N*8-1:0]  weights0,
    input  wire [N*8-1:0]  weights1,
    output wire [N*16-1:0] values0,
    output wire [N*16-1:0] values1,
    output wire [N-1:0]    carries1
);
    genvar i;
    generate
        for (i = 0; i < N; i = i + 1) begin : lane
            if (PACK != 0) begin : packed_pair
                reg signed [7:0] x, w0, w1;
                (* keep *)
                always @(posedge clk) if (load) begin
                    x  <= next_word[8*i +: 8];
                    w0 <= weights0[8*i +: 8];
                    w1 <= weights1[8*i +: 8];
                end
                wire signed [24:0] both = {w1[7], w1, 16'd0} + {{17{w0[7]}}, w0};
                reg  signed [32:0] product;
                always @(posedge clk) if (enable) product <= both * x;
                assign values0[16*i +: 16] = product[15:0];
                assign values1[16*i +: 16] = product[31:16];
                assign carries1[i] = product[15];
                /* verilator lint_off UNUSED */
                wire unused = product[32];
                /* verilator lint_on UNUSED */
            end else begin : two
                multiplier multiplier0 (
                    .clk(clk), .a(next_word[8*i +: 8]), .b(weights0[8*i +: 8]),
                    .product(values0[16*i +: 16])
                );
                multiplier multiplier1 (
                    .clk(clk), .a(next_word[8*i +: 8]), .b(weights1[8*i +: 8]),
                    .product(values1[16*i +: 16])
                );
                assign carries1[i] = 1'b0;
                /* verilator lint_off UNUSED */
                wire unused = load || enable;
                /* verilator lint_on UNUSED */
            end
        end
    endgenerate
endmodule
`default_nettype wire
