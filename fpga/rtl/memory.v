// A memory with one write and one read port. The data of `raddr` are there two clocks later
// (the memory's own latch, then a register): block RAM is slow on its way out. Without `ce` all
// stands still, a write too. An ECP5 has that register within its block RAM: ecp5/memory.v.
`default_nettype none
module memory #(
    parameter WIDTH = 64,
    parameter WORDS = 512,
    parameter BLOCK = 1,            // of block RAM, not of LUTs
    parameter ADDRESS = $clog2(WORDS)
) (
    input  wire               clk,
    input  wire               ce,
    input  wire               we,
    input  wire [ADDRESS-1:0] waddr,
    input  wire [WIDTH-1:0]   wdata,
    input  wire [ADDRESS-1:0] raddr,
    output reg  [WIDTH-1:0]   rdata
);
    reg [WIDTH-1:0] latch;
    always @(posedge clk) if (ce) rdata <= latch;
    generate
        if (BLOCK != 0) begin : block
            (* ram_style = "block" *)
            reg [WIDTH-1:0] words [0:WORDS-1];
            always @(posedge clk) if (ce) begin
                if (we) words[waddr] <= wdata;
                latch <= words[raddr];
            end
        end else begin : distributed
            (* ram_style = "distributed" *)
            reg [WIDTH-1:0] words [0:WORDS-1];
            always @(posedge clk) if (ce) begin
                if (we) words[waddr] <= wdata;
                latch <= words[raddr];
            end
        end
    endgenerate
endmodule
`default_nettype wire
