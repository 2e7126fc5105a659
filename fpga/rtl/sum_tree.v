// The sum of COUNT signed values, each with a carry bit of weight 1: (sum of values and carries) =
// out_value + out_carry. Every adder takes one carry in, so that carries cost nothing and one is
// left. No registers.
`default_nettype none
module sum_tree #(
    parameter COUNT = 4,            // a power of two
    parameter WIDTH = 16,
    parameter LEVELS = $clog2(COUNT)
) (
    input  wire [COUNT*WIDTH-1:0]     values,
    input  wire [COUNT-1:0]           carries,
    output wire [WIDTH+LEVELS-1:0]    out_value,
    output wire                       out_carry
);
    generate
        if (COUNT == 1) begin : leaf
            assign out_value = values;
            assign out_carry = carries;
        end else begin : node
            wire [WIDTH+LEVELS-2:0] left, right;
            wire left_carry, right_carry;
            sum_tree #(.COUNT(COUNT / 2), .WIDTH(WIDTH)) left_half (
                .values(values[COUNT/2*WIDTH-1:0]), .carries(carries[COUNT/2-1:0]),
                .out_value(left), .out_carry(left_carry)
            );
            sum_tree #(.COUNT(COUNT / 2), .WIDTH(WIDTH)) right_half (
                .values(values[COUNT*WIDTH-1:COUNT/2*WIDTH]), .carries(carries[COUNT-1:COUNT/2]),
                .out_value(right), .out_carry(right_carry)
            );
            /* verilator lint_off UNUSED */
            wire [WIDTH+LEVELS:0] total = {left[WIDTH+LEVELS-2], left, 1'b1}
                                        + {right[WIDTH+LEVELS-2], right, left_carry};
            /* verilator lint_on UNUSED */
            assign out_value = total[WIDTH+LEVELS:1];
            assign out_carry = right_carry;
        end
    endgenerate
endmodule
`default_nettype wire
