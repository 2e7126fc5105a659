// The registers of one channel of the DMA: control, status, address, length, as axi_dma 7.1 has
// them in simple mode (PG021). A write to LENGTH starts; an error halts until a reset.
`default_nettype none
module dma_channel (
    input  wire        clk,
    input  wire        rst,           // of the whole DMA
    input  wire        resetting,     // a reset that was asked for is not done: writes are lost
    input  wire        busy,          // its transfer is under way: LENGTH starts none
    input  wire        we,
    input  wire [2:0]  word,          // 0 control, 1 status, 6 address, 7 its high part
    input  wire        we_length,
    input  wire [31:0] wdata,
    output wire [31:0] control,
    output wire [31:0] status,
    output reg  [31:0] address,
    output reg  [31:0] address_high,
    output reg  [25:0] length,
    output wire        reset_asked,   // soft reset: of both channels
    output reg         start,
    input  wire        done,
    input  wire        overflow,
    input  wire        slave_error,
    input  wire        decode_error,
    input  wire [25:0] received,
    input  wire        has_received   // at done, LENGTH says what came
);
    reg run, ioc_enable, error_enable, idle, halted;
    reg int_error, slv_error, dec_error, ioc, error_irq;
    wire any_error = overflow || slave_error || decode_error;
    assign control = {17'd0, error_enable, 1'b0, ioc_enable, 9'd0, resetting, 1'b0, run};
    assign status = {17'd0, error_irq, 1'b0, ioc, 5'd0, dec_error, slv_error, int_error, 2'b00,
                     idle, halted};
    assign reset_asked = we && word == 3'd0 && wdata[2];

    always @(posedge clk) begin
        start <= 1'b0;
        if (we) case (word)
            3'd0: begin
                run <= wdata[0] && !(int_error || slv_error || dec_error);
                halted <= !wdata[0] || int_error || slv_error || dec_error;
                ioc_enable <= wdata[12];
                error_enable <= wdata[14];
            end
            3'd1: begin
                if (wdata[12]) ioc <= 1'b0;
                if (wdata[14]) error_irq <= 1'b0;
            end
            3'd6: address <= wdata;
            3'd7: address_high <= wdata;
            default: ;
        endcase
        if (we_length && run && !busy && !start) begin
            length <= wdata[25:0];
            // What is no whole number of beats, or not aligned, this DMA cannot do.
            if (wdata[25:0] == 26'd0 || wdata[2:0] != 3'd0 || address[2:0] != 3'd0) begin
                int_error <= 1'b1;
                error_irq <= 1'b1;
                run <= 1'b0;
                halted <= 1'b1;
            end else begin
                start <= 1'b1;
                idle <= 1'b0;
            end
        end
        if (done) begin
            idle <= 1'b1;
            ioc <= 1'b1;
            if (has_received) length <= received;
        end
        if (any_error) begin
            int_error <= int_error || overflow;
            slv_error <= slv_error || slave_error;
            dec_error <= dec_error || decode_error;
            error_irq <= 1'b1;
            run <= 1'b0;
            halted <= 1'b1;
        end
        if (rst || resetting) begin
            {run, ioc_enable, error_enable, idle, start} <= 5'd0;
            {int_error, slv_error, dec_error, ioc, error_irq} <= 5'd0;
            halted <= 1'b1;
            address <= 32'd0;
            address_high <= 32'd0;
            length <= 26'd0;
        end
    end
endmodule
`default_nettype wire
