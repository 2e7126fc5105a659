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
    output wire          valid,
    input  wire          take,
    output wire          skip,
    output wire          parity,      // the sample's number is odd
    output wire [DA-1:0] index,
    output wire          res,
    output wire          wfix,
    output wire          streamed,
    output wire          release_x,
    output wire          by_tile,     // per tile or max
    output wire          is_max,
    output wire [5:0]    in_flight,
    output wire [1:0]    src_bank,
    output wire [13:0]   src,
    output wire [13:0]   rows_padding,   // words that the padding lies before src
    output wire [13:0]   pixels_padding,
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
    output wire [5:0]    ones,        // loops of one turn: oy, ox, oct, ky, kx, ict
    output wire          single,      // a single tap, or skipped
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
    // What decides about the next descriptor, `last` and the stage, is a memory of its own, so that
    // it is near.
    (* ram_style = "distributed" *)
    reg [4:0] heads [0:D_WORDS-1];
    always @(posedge clk) if (d_we) heads[d_waddr] <= {d_word[4], d_word[15:12]};

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
    reg  [4:0]   head, head0;    // of descriptor d, of the first
    reg  [DA-1:0] d_after;       // d + 1
    wire         raw_last = head[4];
    wire [4:0]   raw_stage = {1'b0, head[3:0]};
    wire         raw_skip = round_small < raw_stage || (is_over && over > raw_stage);
    wire         more_here = more || !is_over || over < raw_stage;

    reg            one_valid, one_valid_near;   // the same twice
    reg [BITS-1:0] one;
    reg            one_skip, one_odd;
    reg [DA-1:0]   one_index;

    wire slice_ready;
    wire one_free = !one_valid || slice_ready;
    wire turns = running && (!one_valid_near || slice_ready);
    assign active = running || one_valid || valid;

    always @(posedge clk)
        if (start || (turns && raw_last)) d <= {DA{1'b0}};
        else if (turns) d <= d_after;
    (* keep *)
    always @(posedge clk) begin
        if (start || (turns && raw_last)) begin
            head    <= head0;
            d_after <= {{(DA-1){1'b0}}, 1'b1};
        end else if (turns) begin
            head    <= heads[d_after];
            d_after <= d_after + 1'b1;
        end
        if (d_we && d_waddr == {DA{1'b0}}) head0 <= {d_word[4], d_word[15:12]};
        one_valid_near <= running || (one_valid_near && !slice_ready);
        if (rst) one_valid_near <= 1'b0;
    end
    always @(posedge clk) begin
        if (one_free) begin
            one_valid <= running;
            one       <= raw;
            one_skip  <= raw_skip;
            one_odd   <= round_odd ^ raw_stage[0];
            one_index <= d;
        end
        if (turns) begin
            more <= more_here;
            if (raw_last) begin
                running   <= more_here;
                more      <= 1'b0;
                round_odd <= !round_odd;
                left      <= left - 32'd1;
                if (!round_small[4]) round_small <= round_small + 5'd1;
                if (left == 32'd1) is_over <= 1'b1;
                if (is_over && !over[4]) over <= over + 5'd1;
            end
        end
        if (start) begin
            running     <= 1'b1;
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

    // What the walker needs, computed from it. A slice: the walker's pace does not reach far.
    wire c_skip = one_skip;
    wire c_parity = one_odd;
    wire [DA-1:0] c_index = one_index;
    wire c_res = o_flags[0];
    wire c_wfix = o_flags[1];
    wire c_streamed = o_flags[2];
    wire c_release_x = o_flags[3];
    wire c_by_tile = o_kind != 2'd0;
    wire c_is_max = o_kind[1];
    wire [5:0] c_in_flight = o_in_flight;
    wire [1:0] c_src_bank = o_src[15:14];
    wire [13:0] c_src = o_src[13:0] + (one_odd ? o_src_alt : 14'd0);
    wire [13:0] c_rows_padding = times(o_pt, o_src_row);
    wire [13:0] c_pixels_padding = times(o_pl, o_src_pixel);
    wire [1:0] c_dst_bank = o_dst[15:14];
    wire [13:0] c_dst = o_dst[13:0] + (one_odd ? o_dst_alt : 14'd0);
    wire [1:0] c_res_bank = o_res[15:14];
    wire [13:0] c_res_at = o_res[13:0] + (one_odd ? o_res_alt : 14'd0);
    wire [15:0] c_w_base = o_w;
    wire [15:0] c_p_base = o_p;
    wire [9:0] c_ih = o_ih;
    wire [9:0] c_iw = o_iw;
    wire [9:0] c_oh_last = o_oh - 10'd1;
    wire [9:0] c_ow_last = o_ow - 10'd1;
    wire [3:0] c_kh_last = o_kh - 4'd1;
    wire [3:0] c_kw_last = o_kw - 4'd1;
    wire [9:0] c_ict_last = o_kind != 2'd0 ? 10'd0 : o_ict - 10'd1;
    wire [9:0] c_oct_last = o_oct - 10'd1;
    wire [5:0] c_ones = {o_oh == 10'd1, o_ow == 10'd1, o_oct == 10'd1, o_kh == 4'd1, o_kw == 4'd1,
                         o_kind != 2'd0 || o_ict == 10'd1};
    wire c_single = one_skip || &c_ones;
    wire [3:0] c_sy = o_sy;
    wire [3:0] c_sx = o_sx;
    wire [3:0] c_pt = o_pt;
    wire [3:0] c_pl = o_pl;
    wire [13:0] c_src_pixel = o_src_pixel;
    wire [13:0] c_src_row = o_src_row;
    wire [13:0] c_sx_words = times(o_sx, o_src_pixel);
    wire [13:0] c_sy_words = times(o_sy, o_src_row);
    wire [13:0] c_dst_pixel = o_dst_pixel;
    wire [13:0] c_res_pixel = o_res_pixel;
    wire [7:0] c_pad = o_pad;
    localparam SLOT = 305 + DA;
    slice #(.WIDTH(SLOT)) slot (
        .clk(clk), .rst(rst), .in_valid(one_valid), .in_ready(slice_ready),
        .in_data({
        c_skip, c_parity, c_index, c_res, c_wfix, c_streamed, c_release_x, c_by_tile, c_is_max,
        c_in_flight, c_src_bank, c_src, c_rows_padding, c_pixels_padding, c_dst_bank, c_dst,
        c_res_bank, c_res_at, c_w_base, c_p_base, c_ih, c_iw, c_oh_last, c_ow_last, c_kh_last,
        c_kw_last, c_ict_last, c_oct_last, c_ones, c_single, c_sy, c_sx, c_pt, c_pl,
        c_src_pixel, c_src_row, c_sx_words, c_sy_words, c_dst_pixel, c_res_pixel, c_pad
        }),
        .out_data({
        skip, parity, index, res, wfix, streamed, release_x, by_tile, is_max, in_flight, src_bank,
        src, rows_padding, pixels_padding, dst_bank, dst, res_bank, res_at, w_base, p_base, ih, iw,
        oh_last, ow_last, kh_last, kw_last, ict_last, oct_last, ones, single, sy, sx, pt, pl,
        src_pixel, src_row, sx_words, sy_words, dst_pixel, res_pixel, pad
        }),
        .out_valid(valid), .out_take(take)
    );
endmodule
`default_nettype wire
