// memory.v in an ECP5's own block RAMs, 512 words of 36 bits each, with the register at their way
// out that yosys does not use. All enables are one, so it does not matter which of them a half
// of the word listens to.
`default_nettype none
module memory #(
    parameter WIDTH = 64,
    parameter WORDS = 512,          // at most 512
    parameter BLOCK = 1,            // all of them are
    parameter ADDRESS = $clog2(WORDS)
) (
    input  wire               clk,
    input  wire               ce,
    input  wire               we,
    input  wire [ADDRESS-1:0] waddr,
    input  wire [WIDTH-1:0]   wdata,
    input  wire [ADDRESS-1:0] raddr,
    output wire [WIDTH-1:0]   rdata
);
    localparam PARTS = (WIDTH + 35) / 36;
    wire [8:0] to = {{(9-ADDRESS){1'b0}}, waddr};
    wire [8:0] from = {{(9-ADDRESS){1'b0}}, raddr};
    wire [PARTS*36-1:0] in = {{(PARTS*36-WIDTH){1'b0}}, wdata};
    wire [PARTS*36-1:0] out;
    assign rdata = out[WIDTH-1:0];
    genvar i;
    generate
        for (i = 0; i < PARTS; i = i + 1) begin : part
            wire [35:0] data = in[36*i +: 36];
            wire [35:0] word;
            assign out[36*i +: 36] = word;
            // Port A writes, port B reads; the word's halves are those of both ports.
            DP16KD #(
                .DATA_WIDTH_A(36), .DATA_WIDTH_B(36), .REGMODE_A("OUTREG"), .REGMODE_B("OUTREG"),
                .RESETMODE("SYNC"), .ASYNC_RESET_RELEASE("SYNC"), .GSR("DISABLED"),
                .CSDECODE_A("0b000"), .CSDECODE_B("0b000"), .CLKAMUX("CLKA"), .CLKBMUX("CLKB")
            ) hard (
                .CLKA(clk), .CEA(ce), .OCEA(ce), .WEA(1'b1), .RSTA(1'b0),
                .CLKB(clk), .CEB(ce), .OCEB(ce), .WEB(1'b0), .RSTB(1'b0),
                .CSA0(1'b0), .CSA1(1'b0), .CSA2(1'b0), .CSB0(1'b0), .CSB1(1'b0), .CSB2(1'b0),
                .ADA0(we), .ADA1(we), .ADA2(we), .ADA3(we), .ADA4(1'b0),
                .ADB0(1'b0), .ADB1(1'b0), .ADB2(1'b0), .ADB3(1'b0), .ADB4(1'b0),
                .ADA5(to[0]), .ADA6(to[1]), .ADA7(to[2]), .ADA8(to[3]), .ADA9(to[4]),
                .ADA10(to[5]), .ADA11(to[6]), .ADA12(to[7]), .ADA13(to[8]),
                .ADB5(from[0]), .ADB6(from[1]), .ADB7(from[2]), .ADB8(from[3]), .ADB9(from[4]),
                .ADB10(from[5]), .ADB11(from[6]), .ADB12(from[7]), .ADB13(from[8]),
                .DIA0(data[0]), .DIA1(data[1]), .DIA2(data[2]),
                .DIA3(data[3]), .DIA4(data[4]), .DIA5(data[5]),
                .DIA6(data[6]), .DIA7(data[7]), .DIA8(data[8]),
                .DIA9(data[9]), .DIA10(data[10]), .DIA11(data[11]),
                .DIA12(data[12]), .DIA13(data[13]), .DIA14(data[14]),
                .DIA15(data[15]), .DIA16(data[16]), .DIA17(data[17]),
                .DIB0(data[18]), .DIB1(data[19]), .DIB2(data[20]),
                .DIB3(data[21]), .DIB4(data[22]), .DIB5(data[23]),
                .DIB6(data[24]), .DIB7(data[25]), .DIB8(data[26]),
                .DIB9(data[27]), .DIB10(data[28]), .DIB11(data[29]),
                .DIB12(data[30]), .DIB13(data[31]), .DIB14(data[32]),
                .DIB15(data[33]), .DIB16(data[34]), .DIB17(data[35]),
                .DOA0(word[0]), .DOA1(word[1]), .DOA2(word[2]),
                .DOA3(word[3]), .DOA4(word[4]), .DOA5(word[5]),
                .DOA6(word[6]), .DOA7(word[7]), .DOA8(word[8]),
                .DOA9(word[9]), .DOA10(word[10]), .DOA11(word[11]),
                .DOA12(word[12]), .DOA13(word[13]), .DOA14(word[14]),
                .DOA15(word[15]), .DOA16(word[16]), .DOA17(word[17]),
                .DOB0(word[18]), .DOB1(word[19]), .DOB2(word[20]),
                .DOB3(word[21]), .DOB4(word[22]), .DOB5(word[23]),
                .DOB6(word[24]), .DOB7(word[25]), .DOB8(word[26]),
                .DOB9(word[27]), .DOB10(word[28]), .DOB11(word[29]),
                .DOB12(word[30]), .DOB13(word[31]), .DOB14(word[32]),
                .DOB15(word[33]), .DOB16(word[34]), .DOB17(word[35])
            );
        end
    endgenerate
endmodule
`default_nettype wire
