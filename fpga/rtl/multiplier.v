// A product between registers: of both factors, and of itself, two clocks later. An ECP5's
// multiplier has them within, but yosys does not use them: ecp5/multiplier.v.
`default_nettype none
module multiplier #(
    parameter A = 8,                // bits; at most 18
    parameter B = 8,
    parameter SIGNED = 1            // both factors
) (
    input  wire           clk,
    input  wire [A-1:0]   a,
    input  wire [B-1:0]   b,
    output reg  [A+B-1:0] product
);
    reg [A-1:0] a1;
    reg [B-1:0] b1;
    wire signed [A:0] a_wide = {SIGNED != 0 && a1[A-1], a1};
    wire signed [B:0] b_wide = {SIGNED != 0 && b1[B-1], b1};
    /* verilator lint_off UNUSED */
    wire signed [A+B+1:0] whole = a_wide * b_wide;
    /* verilator lint_on UNUSED */
    always @(posedge clk) begin
        a1      <= a;
        b1      <= b;
        product <= whole[A+B-1:0];
    end
endmodule
`default_nettype wire
