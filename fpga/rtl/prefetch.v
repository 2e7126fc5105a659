// Which slot comes next, and what the walker must know of it, made ready ahead of time.
//
// Three steps of one clock each: rounds (which descriptor of which round; is it skipped?), the
// descriptor as read, and the numbers that the walker starts from.
`default_nettype none
module prefetch #(
    parameter D_WORDS = 64,
    parameter DA = $clog2(D_WORDS)
) (
    input  wire          clk,
    input  wire          rst,
    input  wire          start,
    input  wire [31:0]   samples,
    input  wire          d_we,
    input  wire [DA-1:0] d_waddr,
    /* verilator lint_off UNUSED */
    input  wire [511:0]  d_word,      // some of its bits are for others, or spare
    /* verilator lint_on UNUSED */
    output wire          active,      // there are slots that the walker has not taken
    // the slot
    output reg           valid,
    input  wire          take,
    output reg           skip,
    output reg           parity,      // the sample's number is odd
    output reg  [DA-1:0] index,
    output reg           res,
    output reg           wfix,
    output reg           streamed,
    output reg           release_x,
    output reg           by_tile,     // per tile or max
    output reg           is_max,
    output reg  [5:0]    in_flight,
    output reg  [1:0]    src_bank,
    output reg  [13:0]   src,
    output reg  [13:0]   padding,     // words that the padding lies before src
    output reg  [1:0]    dst_bank,
    output reg  [13:0]   dst,
    output reg  [1:0]    res_bank,
    output reg  [13:0]   res_at,
    output reg  [15:0]   w_base,
    output reg  [15:0]   p_base,
    output reg  [9:0]    ih,
    output reg  [9:0]    iw,
    output reg  [9:0]    oh_last,
    output reg  [9:0]    ow_last,
    output reg  [3:0]    kh_last,
    output reg  [3:0]    kw_last,
    output reg  [9:0]    ict_last,
    output reg  [9:0]    oct_last,
    output reg  [3:0]    sy,
    output reg  [3:0]    sx,
    output reg  [3:0]    pt,
    output reg  [3:0]    pl,
    output reg  [13:0]   src_pixel,
    output reg  [13:0]   src_row,
    output reg  [13:0]   sx_words,
    output reg  [13:0]   sy_words,
    output reg  [13:0]   dst_pixel,
    output reg  [13:0]   res_pixel,
    output reg  [7:0]    pad
);
    localparam BITS = 287;
    (* ram_style = "distributed" *)
    reg [BITS-1:0] words [0:D_WORDS-1];

    wire [BITS-1:0] packed_word = {
        d_word[4:0], d_word[9:8], d_word[15:12], d_word[21:16],            // 17
        d_word[32 +: 16], d_word[48 +: 14],                               // src, alt: 30
        d_word[64 +: 16], d_word[80 +: 14],                               // dst: 30
        d_word[96 +: 16], d_word[112 +: 14],                              // res: 30
        d_word[128 +: 16], d_word[144 +: 16],                             // w, p: 32
        d_word[160 +: 10], d_word[176 +: 10],                             // ih, iw: 20
        d_word[192 +: 10], d_word[208 +: 10],                             // oh, ow: 20
        d_word[224 +: 4], d_word[232 +: 4],                               // kh, kw: 8
        d_word[240 +: 4], d_word[244 +: 4], d_word[248 +: 4], d_word[252 +: 4], // s, p: 16
        d_word[256 +: 10], d_word[272 +: 10],                             // ict, oct: 20
        d_word[288 +: 14], d_word[304 +: 14],                             // src_pixel, row: 28
        d_word[320 +: 14], d_word[336 +: 14],                             // dst, res pixel: 28
        d_word[352 +: 8]                                                  // pad: 8
    };
    always @(posedge clk) if (d_we) words[d_waddr] <= packed_word;

    // Rounds. Sample = round - stage. `left` counts the rounds to sample B - 1 of stage 0, `over`
    // those beyond it; both it and the small copy of the round's number stop at 16.
    reg          running;
    reg [DA-1:0] d;
    reg [4:0]    round_small;
    reg          round_odd;
    reg [31:0]   left;
    reg          is_over;
    reg [4:0]    over;
    reg          more;           // some descriptor of this round has a sample yet to come

    wire [BITS-1:0] raw = words[d];
    wire         raw_last = raw[BITS-1];
    wire [4:0]   raw_stage = {1'b0, raw[BITS-8 -: 4]};
    wire         raw_skip = round_small < raw_stage || (is_over && over > raw_stage);
    wire         more_here = more || !is_over || over < raw_stage;

    reg            one_valid;
    reg [BITS-1:0] one;
    reg            one_skip, one_odd;
    reg [DA-1:0]   one_index;

    wire two_free = !valid || take;
    wire one_free = !one_valid || two_free;
    assign active = running || one_valid || valid;

    always @(posedge clk) begin
        if (one_free) begin
            one_valid <= running;
            one       <= raw;
            one_skip  <= raw_skip;
            one_odd   <= round_odd ^ raw_stage[0];
            one_index <= d;
            if (running) begin
                d    <= d + 1'b1;
                more <= more_here;
                if (raw_last) begin
                    running   <= more_here;
                    more      <= 1'b0;
                    d         <= {DA{1'b0}};
                    round_odd <= !round_odd;
                    left      <= left - 32'd1;
                    if (!round_small[4]) round_small <= round_small + 5'd1;
                    if (left == 32'd1) is_over <= 1'b1;
                    if (is_over && !over[4]) over <= over + 5'd1;
                end
            end
        end
        if (start) begin
            running     <= 1'b1;
            d           <= {DA{1'b0}};
            more        <= 1'b0;
            round_small <= 5'd0;
            round_odd   <= 1'b0;
            left        <= samples - 32'd1;
            is_over     <= samples == 32'd1;
            over        <= 5'd0;
        end
        if (rst) begin
            running   <= 1'b0;
            one_valid <= 1'b0;
        end
    end

    // The descriptor's fields.
    /* verilator lint_off UNUSED */
    wire [4:0]  o_flags;
    wire [1:0]  o_kind;
    wire [3:0]  o_stage;
    /* verilator lint_on UNUSED */
    wire [5:0]  o_in_flight;
    wire [15:0] o_src, o_dst, o_res, o_w, o_p;
    wire [13:0] o_src_alt, o_dst_alt, o_res_alt;
    wire [9:0]  o_ih, o_iw, o_oh, o_ow, o_ict, o_oct;
    wire [3:0]  o_kh, o_kw, o_sy, o_sx, o_pt, o_pl;
    wire [13:0] o_src_pixel, o_src_row, o_dst_pixel, o_res_pixel;
    wire [7:0]  o_pad;
    assign {
        o_flags, o_kind, o_stage, o_in_flight, o_src, o_src_alt, o_dst, o_dst_alt, o_res, o_res_alt,
        o_w, o_p, o_ih, o_iw, o_oh, o_ow, o_kh, o_kw, o_sy, o_sx, o_pt, o_pl, o_ict, o_oct,
        o_src_pixel, o_src_row, o_dst_pixel, o_res_pixel, o_pad
    } = one;

    function [13:0] times(input [3:0] factor, input [13:0] value);
        times = ((factor[0] ? value : 14'd0) + (factor[1] ? value << 1 : 14'd0))
              + ((factor[2] ? value << 2 : 14'd0) + (factor[3] ? value << 3 : 14'd0));
    endfunction

    always @(posedge clk) begin
        if (two_free) begin
            valid     <= one_valid;
            skip      <= one_skip;
            parity    <= one_odd;
            index     <= one_index;
            res       <= o_flags[0];
            wfix      <= o_flags[1];
            streamed  <= o_flags[2];
            release_x <= o_flags[3];
            by_tile   <= o_kind != 2'd0;
            is_max    <= o_kind[1];
            in_flight <= o_in_flight;
            src_bank  <= o_src[15:14];
            src       <= o_src[13:0] + (one_odd ? o_src_alt : 14'd0);
            padding   <= times(o_pt, o_src_row) + times(o_pl, o_src_pixel);
            dst_bank  <= o_dst[15:14];
            dst       <= o_dst[13:0] + (one_odd ? o_dst_alt : 14'd0);
            res_bank  <= o_res[15:14];
            res_at    <= o_res[13:0] + (one_odd ? o_res_alt : 14'd0);
            w_base    <= o_w;
            p_base    <= o_p;
            ih        <= o_ih;
            iw        <= o_iw;
            oh_last   <= o_oh - 10'd1;
            ow_last   <= o_ow - 10'd1;
            kh_last   <= o_kh - 4'd1;
            kw_last   <= o_kw - 4'd1;
            ict_last  <= o_kind != 2'd0 ? 10'd0 : o_ict - 10'd1;
            oct_last  <= o_oct - 10'd1;
            sy        <= o_sy;
            sx        <= o_sx;
            pt        <= o_pt;
            pl        <= o_pl;
            src_pixel <= o_src_pixel;
            src_row   <= o_src_row;
            sx_words  <= times(o_sx, o_src_pixel);
            sy_words  <= times(o_sy, o_src_row);
            dst_pixel <= o_dst_pixel;
            res_pixel <= o_res_pixel;
            pad       <= o_pad;
        end
        if (rst) valid <= 1'b0;
    end
endmodule
`default_nettype wire
