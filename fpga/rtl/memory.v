// A memory with one write and one read port. The data of `raddr` are there two clocks later
// (the memory's own latch, then a register): block RAM is slow on its way out.
`default_nettype none
module memory #(
    parameter WIDTH = 64,
    parameter WORDS = 512,
    parameter ADDRESS = $clog2(WORDS)
) (
    input  wire               clk,
    input  wire               we,
    input  wire [ADDRESS-1:0] waddr,
    input  wire [WIDTH-1:0]   wdata,
    input  wire [ADDRESS-1:0] raddr,
    output reg  [WIDTH-1:0]   rdata
);
    (* ram_style = "block" *)
    reg [WIDTH-1:0] words [0:WORDS-1];
    reg [WIDTH-1:0] latch;

    always @(posedge clk) begin
        if (we) words[waddr] <= wdata;
        latch <= words[raddr];
        rdata <= latch;
    end
endmodule
`default_nettype wire
