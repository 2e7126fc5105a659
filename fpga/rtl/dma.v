// The DMA: register-compatible with axi_dma 7.1 in simple mode (PG021), 64 bits, bursts of 16.
//   0x00 MM2S_DMACR  0x04 MM2S_DMASR  0x18 MM2S_SA  0x1C MM2S_SA_MSB  0x28 MM2S_LENGTH
//   0x30 S2MM_DMACR  0x34 S2MM_DMASR  0x48 S2MM_DA  0x4C S2MM_DA_MSB  0x58 S2MM_LENGTH
// Addresses and lengths are whole beats of 8 bytes; others, and packets longer than their buffer,
// set DMAIntErr. A reset (DMACR bit 2, of either channel) ends both: they are drained first, as
// memory answers every burst that it was asked for; until then the bit reads 1 and writes are lost.
`default_nettype none
module dma (
    input  wire        clk,
    input  wire        rst_n,
    input  wire        we,
    input  wire [6:0]  waddr,
    input  wire [31:0] wdata,
    input  wire [6:0]  raddr,
    output reg  [31:0] rdata,
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
    output wire [63:0] m_axis_tdata,
    output wire        m_axis_tvalid,
    input  wire        m_axis_tready,
    output wire        m_axis_tlast,
    input  wire [63:0] s_axis_tdata,
    input  wire        s_axis_tvalid,
    output wire        s_axis_tready,
    input  wire        s_axis_tlast
);
    wire reset_read, reset_write, busy_read, busy_write;
    reg  rst, resetting;
    always @(posedge clk) begin
        rst <= !rst_n;
        if (reset_read || reset_write) resetting <= 1'b1;
        else if (!busy_read && !busy_write) resetting <= 1'b0;
        if (!rst_n) resetting <= 1'b0;
    end

    wire start_read, start_write, done_read, done_write, overflow;
    wire slave_read, decode_read, slave_write, decode_write;
    wire [31:0] control_read, status_read, address_read, high_read;
    wire [31:0] control_write, status_write, address_write, high_write;
    wire [25:0] length_read, length_write, received;
    wire is_write_half = waddr >= 7'h30;
    wire [6:0] offset = is_write_half ? waddr - 7'h30 : waddr;
    dma_channel read_channel (
        .clk(clk), .rst(rst), .resetting(resetting), .busy(busy_read),
        .we(we && !is_write_half && offset < 7'h20), .word(offset[4:2]),
        .we_length(we && !is_write_half && offset == 7'h28), .wdata(wdata),
        .control(control_read), .status(status_read), .address(address_read),
        .address_high(high_read), .length(length_read), .reset_asked(reset_read),
        .start(start_read), .done(done_read), .overflow(1'b0), .slave_error(slave_read),
        .decode_error(decode_read), .received(26'd0), .has_received(1'b0)
    );
    dma_channel write_channel (
        .clk(clk), .rst(rst), .resetting(resetting), .busy(busy_write),
        .we(we && is_write_half && offset < 7'h20), .word(offset[4:2]),
        .we_length(we && is_write_half && offset == 7'h28), .wdata(wdata),
        .control(control_write), .status(status_write), .address(address_write),
        .address_high(high_write), .length(length_write), .reset_asked(reset_write),
        .start(start_write), .done(done_write), .overflow(overflow), .slave_error(slave_write),
        .decode_error(decode_write), .received(received), .has_received(1'b1)
    );
    dma_read read (
        .clk(clk), .rst(rst), .drain(resetting), .start(start_read), .address(address_read),
        .length(length_read), .busy(busy_read), .done(done_read),
        .slave_error(slave_read), .decode_error(decode_read),
        .m_axi_araddr(m_axi_araddr), .m_axi_arlen(m_axi_arlen), .m_axi_arvalid(m_axi_arvalid),
        .m_axi_arready(m_axi_arready), .m_axi_rdata(m_axi_rdata), .m_axi_rresp(m_axi_rresp),
        .m_axi_rvalid(m_axi_rvalid), .m_axi_rready(m_axi_rready), .m_axis_tdata(m_axis_tdata),
        .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready), .m_axis_tlast(m_axis_tlast)
    );
    dma_write write (
        .clk(clk), .rst(rst), .drain(resetting), .start(start_write), .address(address_write),
        .length(length_write), .busy(busy_write), .done(done_write), .overflow(overflow),
        .slave_error(slave_write), .decode_error(decode_write), .received(received),
        .m_axi_awaddr(m_axi_awaddr), .m_axi_awlen(m_axi_awlen), .m_axi_awvalid(m_axi_awvalid),
        .m_axi_awready(m_axi_awready), .m_axi_wdata(m_axi_wdata), .m_axi_wstrb(m_axi_wstrb),
        .m_axi_wlast(m_axi_wlast), .m_axi_wvalid(m_axi_wvalid), .m_axi_wready(m_axi_wready),
        .m_axi_bresp(m_axi_bresp), .m_axi_bvalid(m_axi_bvalid), .m_axi_bready(m_axi_bready),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid),
        .s_axis_tready(s_axis_tready), .s_axis_tlast(s_axis_tlast)
    );

    always @* case (raddr)
        7'h00: rdata = control_read;
        7'h04: rdata = status_read;
        7'h18: rdata = address_read;
        7'h1C: rdata = high_read;
        7'h28: rdata = {6'd0, length_read};
        7'h30: rdata = control_write;
        7'h34: rdata = status_write;
        7'h48: rdata = address_write;
        7'h4C: rdata = high_write;
        7'h58: rdata = {6'd0, length_write};
        default: rdata = 32'd0;
    endcase
endmodule
`default_nettype wire
