// From the products of one output lane to its accumulator.
//
// Clocks: products -> (sum of four) -> [N = 16, 32: (sum of four groups)] -> accumulator.
`default_nettype none
module dot #(
    parameter N = 8
) (
    input  wire            clk,
    input  wire            sum_enable,
    input  wire [N*16-1:0] values,
    input  wire [N-1:0]    carries,
    input  wire            enable,        // the accumulator takes
    input  wire            first,
    input  wire            is_max,
    input  wire [7:0]      maximum,
    output reg  [24:0]     acc
);
    localparam GROUPS = N / 4;
    reg  [GROUPS*18-1:0] fours;
    reg  [GROUPS-1:0]    four_carries;
    genvar g;
    generate
        for (g = 0; g < GROUPS; g = g + 1) begin : four
            wire [17:0] value;
            wire        carry;
            sum_tree #(.COUNT(4), .WIDTH(16)) tree (
                .values(values[64*g +: 64]), .carries(carries[4*g +: 4]),
                .out_value(value), .out_carry(carry)
            );
            always @(posedge clk) if (sum_enable) begin
                fours[18*g +: 18] <= value;
                four_carries[g]   <= carry;
            end
        end
    endgenerate

    // Of four fours one more sum, in a clock of its own; what is left is added on the way in.
    localparam TOTALS = N == 8 ? 2 : N / 16;
    localparam WIDTH = N == 8 ? 18 : 20;
    wire [TOTALS*WIDTH-1:0] totals;
    wire [TOTALS-1:0]       total_carries;
    generate
        if (N == 8) begin : direct
            assign totals = fours;
            assign total_carries = four_carries;
        end else begin : sixteens
            reg enable_kept;
            reg [TOTALS*WIDTH-1:0] sums;
            reg [TOTALS-1:0]       sum_carries;
            for (g = 0; g < TOTALS; g = g + 1) begin : sixteen
                wire [19:0] value;
                wire        carry;
                sum_tree #(.COUNT(4), .WIDTH(18)) tree (
                    .values(fours[72*g +: 72]), .carries(four_carries[4*g +: 4]),
                    .out_value(value), .out_carry(carry)
                );
                always @(posedge clk) if (enable_kept) begin
                    sums[20*g +: 20] <= value;
                    sum_carries[g]   <= carry;
                end
            end
            always @(posedge clk) enable_kept <= sum_enable;
            assign totals = sums;
            assign total_carries = sum_carries;
        end
    endgenerate

    // Three become two without a carry chain; the lowest bits are the carries.
    function [24:0] wide(input [WIDTH-1:0] value);
        wide = {{(25 - WIDTH){value[WIDTH-1]}}, value};
    endfunction
    wire [24:0] sum_before = first ? 25'd0 : acc;
    wire [25:0] one, other;
    generate
        if (TOTALS == 1) begin : single
            assign one = {sum_before, 1'b1};
            assign other = {wide(totals), total_carries};
        end else begin : double
            wire [24:0] a = wide(totals[WIDTH-1:0]), b = wide(totals[2*WIDTH-1:WIDTH]);
            wire [24:0] carry = sum_before & a | sum_before & b | a & b;
            /* verilator lint_off UNUSED */
            wire unused = carry[24];
            /* verilator lint_on UNUSED */
            assign one = {sum_before ^ a ^ b, total_carries[0]};
            assign other = {carry[23:0], total_carries[1], total_carries[0]};
        end
    endgenerate
    /* verilator lint_off UNUSED */
    wire [25:0] more = one + other;
    /* verilator lint_on UNUSED */
    always @(posedge clk) if (enable) acc <= is_max ? {{17{maximum[7]}}, maximum} : more[25:1];
endmodule
`default_nettype wire
