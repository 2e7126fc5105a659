// The descriptors, as the walker wants them: what it would have to compute from a descriptor is
// computed when that is loaded. A descriptor is there for at least eight clocks, the beats of the
// one that follows, and is written into the memory six clocks after it came.
`default_nettype none
module descriptors #(
    parameter D_WORDS = 64,
    parameter BLOCK = 0,             // memory of block RAM
    parameter DA = $clog2(D_WORDS)
) (
    input  wire          clk,
    input  wire          we,
    input  wire [DA-1:0] waddr,
    /* verilator lint_off UNUSED */
    input  wire [511:0]  word,       // some of its bits are for others, or spare
    /* verilator lint_on UNUSED */
    output reg           busy,       // one is under way; down in the clock in which it is written
    // reading takes two clocks, with `ce`
    input  wire          ce,
    input  wire [DA-1:0] raddr,
    input  wire          odd,        // the sample's number, with the descriptor
    output wire          res,
    output wire          wfix,
    output wire          streamed,
    output wire          release_x,
    output wire          by_tile,    // per tile or max
    output wire          is_max,
    output wire [5:0]    in_flight,
    output wire [1:0]    src_bank,
    output wire [13:0]   src,        // of the first tap, padding or not
    output wire [1:0]    dst_bank,
    output wire [13:0]   dst,
    output wire [1:0]    res_bank,
    output wire [13:0]   res_at,
    output wire [15:0]   w_base,
    output wire [15:0]   p_base,
    output wire [9:0]    ih,
    output wire [9:0]    iw,
    output wire [9:0]    oh_last,
    output wire [9:0]    ow_last,
    output wire [3:0]    kh_last,
    output wire [3:0]    kw_last,
    output wire [9:0]    ict_last,
    output wire [9:0]    oct_last,
    output wire [5:0]    ones,       // loops of one turn: oy, ox, oct, ky, kx, ict
    output wire [5:0]    twos,       // of two turns
    output wire [3:0]    sy,
    output wire [3:0]    sx,
    output wire [3:0]    pt,
    output wire [3:0]    pl,
    output wire [13:0]   src_pixel,
    output wire [13:0]   src_row,
    output wire [13:0]   sx_words,
    output wire [13:0]   sy_words,
    output wire [13:0]   dst_pixel,
    output wire [13:0]   res_pixel,
    output wire [7:0]    pad
);
    // 0: as it came. Bit i of the fields below is bit i of `word`.
    reg [359:0]  f;
    reg [DA-1:0] at;
    reg [6:1]    age;
    always @(posedge clk) begin
        age  <= {age[5:1], we};
        busy <= we || |age[4:1];
        if (we) begin
            f  <= word[359:0];
            at <= waddr;
        end
    end
    /* verilator lint_off UNUSED */
    wire unused = |f;
    /* verilator lint_on UNUSED */

    // 1: products by halves of a factor, sums with alt.
    function [13:0] times2(input [1:0] factor, input [13:0] value);
        times2 = (factor[0] ? value : 14'd0) + (factor[1] ? value << 1 : 14'd0);
    endfunction
    wire [13:0] f_pixel = f[288 +: 14], f_row = f[304 +: 14];
    wire [3:0]  f_sy = f[240 +: 4], f_sx = f[244 +: 4], f_pt = f[248 +: 4], f_pl = f[252 +: 4];
    wire        f_tiles = f[9:8] != 2'd0;
    reg  [13:0] sy_low, sy_high, sx_low, sx_high, pt_low, pt_high, pl_low, pl_high;
    reg  [13:0] dst_odd, res_odd;
    reg  [9:0]  oh1, ow1, ict1, oct1;
    reg  [3:0]  kh1, kw1;
    reg  [5:0]  is_one, is_two;
    always @(posedge clk) begin
        {sy_high, sy_low} <= {times2(f_sy[3:2], f_row), times2(f_sy[1:0], f_row)};
        {sx_high, sx_low} <= {times2(f_sx[3:2], f_pixel), times2(f_sx[1:0], f_pixel)};
        {pt_high, pt_low} <= {times2(f_pt[3:2], f_row), times2(f_pt[1:0], f_row)};
        {pl_high, pl_low} <= {times2(f_pl[3:2], f_pixel), times2(f_pl[1:0], f_pixel)};
        dst_odd <= f[64 +: 14] + f[80 +: 14];
        res_odd <= f[96 +: 14] + f[112 +: 14];
        oh1  <= f[192 +: 10] - 10'd1;
        ow1  <= f[208 +: 10] - 10'd1;
        kh1  <= f[224 +: 4] - 4'd1;
        kw1  <= f[232 +: 4] - 4'd1;
        ict1 <= f_tiles ? 10'd0 : f[256 +: 10] - 10'd1;
        oct1 <= f[272 +: 10] - 10'd1;
        is_one <= {f[192 +: 10] == 10'd1, f[208 +: 10] == 10'd1, f[272 +: 10] == 10'd1,
                   f[224 +: 4] == 4'd1, f[232 +: 4] == 4'd1, f_tiles || f[256 +: 10] == 10'd1};
        is_two <= {f[192 +: 10] == 10'd2, f[208 +: 10] == 10'd2, f[272 +: 10] == 10'd2,
                   f[224 +: 4] == 4'd2, f[232 +: 4] == 4'd2, !f_tiles && f[256 +: 10] == 10'd2};
    end
    // 2: the products. 3: the words that the padding lies before src. 4, 5: where it begins.
    reg [13:0] sy_all, sx_all, pt_all, pl_all, padding, src_even, src_odd;
    always @(posedge clk) begin
        sy_all   <= sy_low + (sy_high << 2);
        sx_all   <= sx_low + (sx_high << 2);
        pt_all   <= pt_low + (pt_high << 2);
        pl_all   <= pl_low + (pl_high << 2);
        padding  <= pt_all + pl_all;
        src_even <= f[32 +: 14] - padding;
        src_odd  <= src_even + f[48 +: 14];
    end

    localparam BITS = 322;
    wire [BITS-1:0] in = {
        f[3:0], f_tiles, f[9], f[21:16],                                    // 12
        f[47:46], src_even, src_odd,                                        // 30
        f[79:78], f[64 +: 14], dst_odd, f[111:110], f[96 +: 14], res_odd,   // 60
        f[128 +: 16], f[144 +: 16], f[160 +: 10], f[176 +: 10],             // w, p, ih, iw: 52
        oh1, ow1, kh1, kw1, ict1, oct1, is_one, is_two,                     // 60
        f_sy, f_sx, f_pt, f_pl, f_pixel, f_row, sx_all, sy_all,             // 72
        f[320 +: 14], f[336 +: 14], f[352 +: 8]                             // 36
    };
    wire [BITS-1:0] out;
    memory #(.WIDTH(BITS), .WORDS(D_WORDS), .BLOCK(BLOCK)) kept (
        .clk(clk), .ce(ce), .we(age[6]), .waddr(at), .wdata(in), .raddr(raddr), .rdata(out)
    );
    wire [13:0] src0, src1, dst0, dst1, res0, res1;
    assign {
        release_x, streamed, wfix, res, by_tile, is_max, in_flight,
        src_bank, src0, src1, dst_bank, dst0, dst1, res_bank, res0, res1,
        w_base, p_base, ih, iw, oh_last, ow_last, kh_last, kw_last, ict_last, oct_last, ones, twos,
        sy, sx, pt, pl, src_pixel, src_row, sx_words, sy_words, dst_pixel, res_pixel, pad
    } = out;
    assign src = odd ? src1 : src0;
    assign dst = odd ? dst1 : dst0;
    assign res_at = odd ? res1 : res0;
endmodule
`default_nettype wire
