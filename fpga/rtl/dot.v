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

    localparam OUT = WIDTH + $clog2(TOTALS);
    wire [OUT-1:0] total;
    wire           total_carry;
    sum_tree #(.COUNT(TOTALS), .WIDTH(WIDTH)) last (
        .values(totals), .carries(total_carries), .out_value(total), .out_carry(total_carry)
    );
    /* verilator lint_off UNUSED */
    wire [25:0] more = {first ? 25'd0 : acc, 1'b1} + {{(25 - OUT){total[OUT-1]}}, total, total_carry};
    /* verilator lint_on UNUSED */
    always @(posedge clk) if (enable) acc <= is_max ? {{17{maximum[7]}}, maximum} : more[25:1];
endmodule
`default_nettype wire
