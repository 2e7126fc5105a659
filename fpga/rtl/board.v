// What the programmable logic holds: the DMA at 0x4040_0000, the LEDs at 0x4120_0000, the engine at
// 0x43C0_0000, behind one AXI4-Lite port; and the DMA's port to memory.
`default_nettype none
module board #(
    parameter N = 8,
    parameter RQ = 4,
    parameter W_WORDS = 512,
    parameter P_WORDS = 256,
    parameter D_WORDS = 64,
    parameter X_WORDS = 256,
    parameter A_WORDS = 256,
    parameter B_WORDS = 256,
    parameter [127:0] BUILD = 128'd0,
    parameter PACK = 1
) (
    input  wire        clk,
    input  wire        rst_n,
    input  wire [31:0] s_axil_awaddr,
    input  wire        s_axil_awvalid,
    output wire        s_axil_awready,
    input  wire [31:0] s_axil_wdata,
    input  wire [3:0]  s_axil_wstrb,
    input  wire        s_axil_wvalid,
    output wire        s_axil_wready,
    output wire [1:0]  s_axil_bresp,
    output wire        s_axil_bvalid,
    input  wire        s_axil_bready,
    input  wire [31:0] s_axil_araddr,
    input  wire        s_axil_arvalid,
    output wire        s_axil_arready,
    output wire [31:0] s_axil_rdata,
    output wire [1:0]  s_axil_rresp,
    output wire        s_axil_rvalid,
    input  wire        s_axil_rready,
    output wire [31:0] m_axi_araddr,
    output wire [3:0]  m_axi_arlen,
    output wire        m_axi_arvalid,
    input  wire        m_axi_arready,
    input  wire [63:0] m_axi_rdata,
    input  wire [1:0]  m_axi_rresp,
    input  wire        m_axi_rvalid,
    output wire        m_axi_rready,
    output wire [31:0] m_axi_awaddr,
    output wire [3:0]  m_axi_awlen,
    output wire        m_axi_awvalid,
    input  wire        m_axi_awready,
    output wire [63:0] m_axi_wdata,
    output wire [7:0]  m_axi_wstrb,
    output wire        m_axi_wlast,
    output wire        m_axi_wvalid,
    input  wire        m_axi_wready,
    input  wire [1:0]  m_axi_bresp,
    input  wire        m_axi_bvalid,
    output wire        m_axi_bready,
    input  wire        stall,         // a fault to try: the engine's answer stands still
    input  wire        drop_last,     // a fault to try: TLAST is lost
    output wire [3:0]  leds
);
    // Which of them: the PS asks for one at a time.
    wire w_dma = s_axil_awaddr[31:16] == 16'h4040, w_leds = s_axil_awaddr[31:16] == 16'h4120;
    wire w_engine = s_axil_awaddr[31:16] == 16'h43C0;
    wire r_dma = s_axil_araddr[31:16] == 16'h4040, r_leds = s_axil_araddr[31:16] == 16'h4120;
    wire r_engine = s_axil_araddr[31:16] == 16'h43C0;

    wire own_awready, own_wready, own_bvalid, own_arready, own_rvalid;
    wire [1:0] own_bresp, own_rresp;
    wire [31:0] own_rdata, own_wdata, own_waddr, own_raddr, dma_rdata, leds_rdata;
    wire own_we;
    axil_registers #(.BITS(32)) own (
        .clk(clk), .rst_n(rst_n),
        .s_axil_awaddr(s_axil_awaddr), .s_axil_awvalid(s_axil_awvalid && !w_engine),
        .s_axil_awready(own_awready), .s_axil_wdata(s_axil_wdata),
        .s_axil_wvalid(s_axil_wvalid && !w_engine), .s_axil_wready(own_wready),
        .s_axil_bresp(own_bresp), .s_axil_bvalid(own_bvalid), .s_axil_bready(s_axil_bready),
        .s_axil_araddr(s_axil_araddr), .s_axil_arvalid(s_axil_arvalid && !r_engine),
        .s_axil_arready(own_arready), .s_axil_rdata(own_rdata), .s_axil_rresp(own_rresp),
        .s_axil_rvalid(own_rvalid), .s_axil_rready(s_axil_rready),
        .we(own_we), .waddr(own_waddr), .wdata(own_wdata), .raddr(own_raddr),
        .rdata(r_dma ? dma_rdata : r_leds ? leds_rdata : 32'd0)
    );
    gpio #(.WIDTH(4)) leds_gpio (
        .clk(clk), .rst_n(rst_n), .we(own_we && w_leds), .waddr(own_waddr[8:0]),
        .wdata(own_wdata), .raddr(own_raddr[8:0]), .rdata(leds_rdata), .pins(leds)
    );

    wire [63:0] to_engine, from_engine;
    wire to_valid, to_ready, to_last, from_valid, from_ready, from_last;
    dma axi_dma_0 (
        .clk(clk), .rst_n(rst_n), .we(own_we && w_dma && own_waddr[15:7] == 9'd0),
        .waddr(own_waddr[6:0]), .wdata(own_wdata), .raddr(own_raddr[6:0]), .rdata(dma_rdata),
        .m_axi_araddr(m_axi_araddr), .m_axi_arlen(m_axi_arlen), .m_axi_arvalid(m_axi_arvalid),
        .m_axi_arready(m_axi_arready), .m_axi_rdata(m_axi_rdata), .m_axi_rresp(m_axi_rresp),
        .m_axi_rvalid(m_axi_rvalid), .m_axi_rready(m_axi_rready),
        .m_axi_awaddr(m_axi_awaddr), .m_axi_awlen(m_axi_awlen), .m_axi_awvalid(m_axi_awvalid),
        .m_axi_awready(m_axi_awready), .m_axi_wdata(m_axi_wdata), .m_axi_wstrb(m_axi_wstrb),
        .m_axi_wlast(m_axi_wlast), .m_axi_wvalid(m_axi_wvalid), .m_axi_wready(m_axi_wready),
        .m_axi_bresp(m_axi_bresp), .m_axi_bvalid(m_axi_bvalid), .m_axi_bready(m_axi_bready),
        .m_axis_tdata(to_engine), .m_axis_tvalid(to_valid), .m_axis_tready(to_ready),
        .m_axis_tlast(to_last),
        .s_axis_tdata(from_engine), .s_axis_tvalid(from_valid && !stall),
        .s_axis_tready(from_ready), .s_axis_tlast(from_last && !drop_last)
    );

    wire e_awready, e_wready, e_bvalid, e_arready, e_rvalid;
    wire [1:0] e_bresp, e_rresp;
    wire [31:0] e_rdata;
    engine #(
        .N(N), .RQ(RQ), .W_WORDS(W_WORDS), .P_WORDS(P_WORDS), .D_WORDS(D_WORDS),
        .X_WORDS(X_WORDS), .A_WORDS(A_WORDS), .B_WORDS(B_WORDS), .BUILD(BUILD), .PACK(PACK)
    ) engine_0 (
        .clk(clk), .rst_n(rst_n),
        .s_axil_awaddr(s_axil_awaddr[7:0]), .s_axil_awvalid(s_axil_awvalid && w_engine),
        .s_axil_awready(e_awready), .s_axil_wdata(s_axil_wdata), .s_axil_wstrb(s_axil_wstrb),
        .s_axil_wvalid(s_axil_wvalid && w_engine), .s_axil_wready(e_wready),
        .s_axil_bresp(e_bresp), .s_axil_bvalid(e_bvalid), .s_axil_bready(s_axil_bready),
        .s_axil_araddr(s_axil_araddr[7:0]), .s_axil_arvalid(s_axil_arvalid && r_engine),
        .s_axil_arready(e_arready), .s_axil_rdata(e_rdata), .s_axil_rresp(e_rresp),
        .s_axil_rvalid(e_rvalid), .s_axil_rready(s_axil_rready),
        .s_axis_tdata(to_engine), .s_axis_tvalid(to_valid), .s_axis_tready(to_ready),
        .s_axis_tlast(to_last),
        .m_axis_tdata(from_engine), .m_axis_tvalid(from_valid),
        .m_axis_tready(from_ready && !stall), .m_axis_tlast(from_last)
    );
    assign s_axil_awready = w_engine ? e_awready : own_awready;
    assign s_axil_wready = w_engine ? e_wready : own_wready;
    assign s_axil_bvalid = e_bvalid || own_bvalid;
    assign s_axil_bresp = e_bvalid ? e_bresp : own_bresp;
    assign s_axil_arready = r_engine ? e_arready : own_arready;
    assign s_axil_rvalid = e_rvalid || own_rvalid;
    assign s_axil_rdata = e_rvalid ? e_rdata : own_rdata;
    assign s_axil_rresp = e_rvalid ? e_rresp : own_rresp;
    /* verilator lint_off UNUSED */
    wire unused = &{1'b0, own_waddr[31:16], own_raddr[31:9]};
    /* verilator lint_on UNUSED */
endmodule
`default_nettype wire
