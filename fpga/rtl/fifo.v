// A small first-in first-out memory in distributed RAM; `head` is the oldest word. It is for those
// who know that it neither overflows nor runs empty: nothing is checked.
`default_nettype none
module fifo #(
    parameter WIDTH = 16,
    parameter DEPTH = 32,
    parameter BITS  = $clog2(DEPTH)
) (
    input  wire             clk,
    input  wire             rst,
    input  wire             push,
    input  wire [WIDTH-1:0] word,
    input  wire             pop,
    output wire [WIDTH-1:0] head
);
    (* ram_style = "distributed" *)
    reg [WIDTH-1:0] words [0:DEPTH-1];
    reg [BITS-1:0] to, from;
    assign head = words[from];

    always @(posedge clk) begin
        if (push) words[to] <= word;
        if (push) to <= to + 1'b1;
        if (pop) from <= from + 1'b1;
        if (rst) begin
            to   <= {BITS{1'b0}};
            from <= {BITS{1'b0}};
        end
    end
endmodule
`default_nettype wire
