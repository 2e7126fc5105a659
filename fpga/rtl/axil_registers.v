// AXI4-Lite to a plain read and write, one at a time.
`default_nettype none
module axil_registers #(
    parameter BITS = 8
) (
    input  wire            clk,
    input  wire            rst_n,
    input  wire [BITS-1:0] s_axil_awaddr,
    input  wire            s_axil_awvalid,
    output wire            s_axil_awready,
    input  wire [31:0]     s_axil_wdata,
    input  wire            s_axil_wvalid,
    output wire            s_axil_wready,
    output wire [1:0]      s_axil_bresp,
    output reg             s_axil_bvalid,
    input  wire            s_axil_bready,
    input  wire [BITS-1:0] s_axil_araddr,
    input  wire            s_axil_arvalid,
    output wire            s_axil_arready,
    output reg  [31:0]     s_axil_rdata,
    output wire [1:0]      s_axil_rresp,
    output reg             s_axil_rvalid,
    input  wire            s_axil_rready,
    output wire            we,
    output wire [BITS-1:0] waddr,
    output wire [31:0]     wdata,
    output wire [BITS-1:0] raddr,
    input  wire [31:0]     rdata      // of raddr, at once
);
    assign s_axil_bresp = 2'b00;
    assign s_axil_rresp = 2'b00;
    assign we = s_axil_awvalid && s_axil_wvalid && !s_axil_bvalid;
    assign s_axil_awready = we;
    assign s_axil_wready = we;
    assign waddr = s_axil_awaddr;
    assign wdata = s_axil_wdata;
    assign s_axil_arready = s_axil_arvalid && !s_axil_rvalid;
    assign raddr = s_axil_araddr;
    always @(posedge clk) begin
        if (we) s_axil_bvalid <= 1'b1;
        else if (s_axil_bready) s_axil_bvalid <= 1'b0;
        if (s_axil_arready) begin
            s_axil_rvalid <= 1'b1;
            s_axil_rdata <= rdata;
        end else if (s_axil_rready) s_axil_rvalid <= 1'b0;
        if (!rst_n) begin
            s_axil_bvalid <= 1'b0;
            s_axil_rvalid <= 1'b0;
        end
    end
endmodule
`default_nettype wire
