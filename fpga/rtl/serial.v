// The engine behind five pins, for place and route on a small board: everything shifts in and out bit
// by bit. It shows that the flow works and how fast the engine is; it is of no use else.
`default_nettype none
module serial #(
    parameter N = 8,
    parameter RQ = 4,
    parameter PACK = 0
) (
    input  wire clk,
    input  wire rst_n,
    input  wire bit_in,
    input  wire shift,
    output wire bit_out
);
    localparam IN = 1 + 8 + 1 + 32 + 4 + 1 + 1 + 8 + 1 + 1 + 64 + 1 + 1 + 1;
    localparam OUT = 1 + 1 + 2 + 1 + 1 + 32 + 2 + 1 + 1 + 64 + 1 + 1;
    reg  [IN-1:0]  in, held;
    wire [OUT-1:0] from_engine;
    reg  [OUT-1:0] out;
    assign bit_out = out[0];

    always @(posedge clk) begin
        if (shift) in <= {bit_in, in[IN-1:1]};
        else held <= in;
        out <= shift ? {1'b0, out[OUT-1:1]} : from_engine;
    end

    engine #(.N(N), .RQ(RQ), .PACK(PACK)) engine (
        .clk(clk), .rst_n(rst_n && held[0]),
        .s_axil_awaddr(held[1 +: 8]), .s_axil_awvalid(held[9]), .s_axil_awready(from_engine[0]),
        .s_axil_wdata(held[10 +: 32]), .s_axil_wstrb(held[42 +: 4]), .s_axil_wvalid(held[46]),
        .s_axil_wready(from_engine[1]), .s_axil_bresp(from_engine[2 +: 2]),
        .s_axil_bvalid(from_engine[4]), .s_axil_bready(held[47]),
        .s_axil_araddr(held[48 +: 8]), .s_axil_arvalid(held[56]), .s_axil_arready(from_engine[5]),
        .s_axil_rdata(from_engine[6 +: 32]), .s_axil_rresp(from_engine[38 +: 2]),
        .s_axil_rvalid(from_engine[40]), .s_axil_rready(held[57]),
        .s_axis_tdata(held[58 +: 64]), .s_axis_tvalid(held[122]), .s_axis_tready(from_engine[41]),
        .s_axis_tlast(held[123]),
        .m_axis_tdata(from_engine[42 +: 64]), .m_axis_tvalid(from_engine[106]),
        .m_axis_tready(held[124]), .m_axis_tlast(from_engine[107])
    );
endmodule
`default_nettype wire
