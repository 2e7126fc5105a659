// LEDs: register-compatible with xilinx.com:ip:axi_gpio:2.0 (DATA at 0x0, TRI at 0x4).
`default_nettype none
module gpio #(
    parameter WIDTH = 4
) (
    input  wire             clk,
    input  wire             rst_n,
    input  wire             we,
    input  wire [8:0]       waddr,
    input  wire [31:0]      wdata,
    input  wire [8:0]       raddr,
    output wire [31:0]      rdata,
    output wire [WIDTH-1:0] pins
);
    reg [WIDTH-1:0] data, tri_state;  // 1: an input
    assign pins = data & ~tri_state;
    assign rdata = raddr == 9'h0 ? {{(32-WIDTH){1'b0}}, data}
                 : raddr == 9'h4 ? {{(32-WIDTH){1'b0}}, tri_state} : 32'd0;
    always @(posedge clk) begin
        if (we && waddr == 9'h0) data <= wdata[WIDTH-1:0];
        if (we && waddr == 9'h4) tri_state <= wdata[WIDTH-1:0];
        if (!rst_n) begin
            data <= {WIDTH{1'b0}};
            tri_state <= {WIDTH{1'b1}};
        end
    end
    /* verilator lint_off UNUSED */
    wire unused = &{1'b0, wdata[31:WIDTH]};
    /* verilator lint_on UNUSED */
endmodule
`default_nettype wire
