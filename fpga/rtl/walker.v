// Walks over a slot: one tap (a word to read and a weight word) a clock, for each output word all
// its taps, in the order of docs/reference/fpga-engine.md, section 2. It runs one tap ahead of the
// issue and tells it of that tap (`next_`): whether it may go is found out a clock ahead.
//
// Pointers instead of multiplications: one for each loop, each set to the new address when its loop
// or one outside of it steps.
`default_nettype none
module walker #(
    parameter R = 2,
    parameter DA = 6,
    parameter XL = 9                    // bits of a limit of X
) (
    input  wire          clk,
    input  wire          rst,
    // the next slot
    input  wire          n_valid,
    output wire          n_take,
    input  wire          n_skip,
    input  wire          n_parity,
    input  wire [DA-1:0] n_index,
    input  wire          n_res,
    input  wire          n_wfix,
    input  wire          n_streamed,
    input  wire          n_release_x,
    input  wire          n_by_tile,
    input  wire          n_is_max,
    input  wire [5:0]    n_in_flight,
    input  wire [1:0]    n_src_bank,
    input  wire [13:0]   n_src,         // of the first tap, padding or not
    input  wire [1:0]    n_dst_bank,
    input  wire [13:0]   n_dst,
    input  wire [1:0]    n_res_bank,
    input  wire [13:0]   n_res_at,
    input  wire [15:0]   n_w_base,
    input  wire [15:0]   n_p_base,
    input  wire [9:0]    n_ih,
    input  wire [9:0]    n_iw,
    input  wire [9:0]    n_oh_last,
    input  wire [9:0]    n_ow_last,
    input  wire [3:0]    n_kh_last,
    input  wire [3:0]    n_kw_last,
    input  wire [9:0]    n_ict_last,
    input  wire [9:0]    n_oct_last,
    input  wire [5:0]    n_ones,        // loops of one turn: oy, ox, oct, ky, kx, ict
    input  wire [5:0]    n_twos,        // of two turns
    input  wire [3:0]    n_sy,
    input  wire [3:0]    n_sx,
    input  wire [3:0]    n_pt,
    input  wire [3:0]    n_pl,
    input  wire [13:0]   n_src_pixel,
    input  wire [13:0]   n_src_row,
    input  wire [13:0]   n_sx_words,
    input  wire [13:0]   n_sy_words,
    input  wire [13:0]   n_dst_pixel,
    input  wire [13:0]   n_res_pixel,
    input  wire [7:0]    n_pad,
    // the tap, a register
    output wire          active,
    output reg           valid,
    input  wire [5:0]    moves,         // it goes, or there is none; the same six times
    output reg           skip,
    output reg           slot_first,
    output reg           slot_last,
    output reg           word_first,
    output reg           word_last,
    output reg           parity,
    output reg  [DA-1:0] index,
    output reg           res,
    output reg           streamed,
    output reg           release_x,
    output reg           is_max,
    output reg  [5:0]    in_flight,
    output reg  [1:0]    src_bank,
    output wire          to_output,
    output wire          x_ok,          // its word of X is loaded, or it reads none
    output wire          next_valid,
    output wire          next_skip,
    output wire          next_slot_first,
    output wire          next_word_first,
    output wire          next_word_last,
    output wire          next_res,
    output wire          next_streamed,
    output wire [5:0]    next_in_flight,
    output wire          next_to_output,
    output wire          next_x_ok,     // if the present tap goes
    input  wire [XL-1:0] x_limit0,
    input  wire [XL-1:0] x_limit1,
    output reg  [13:0]   src,
    output reg  [13:0]   a_addr,        // source or residual
    output reg  [13:0]   b_addr,
    output reg           res_in_b,
    output reg           is_pad,
    output reg  [7:0]    pad,
    output reg  [15:0]   w_addr,
    output reg  [15:0]   p_addr,
    output reg  [15:0]   dst
);
    localparam [1:0] X = 2'd0, A = 2'd1, B = 2'd2;

    // The slot being walked over.
    reg          on, c_skip, c_parity, c_res, c_wfix, c_streamed, c_release, c_by_tile, c_max;
    reg [DA-1:0] c_index;
    reg [5:0]    c_in_flight;
    reg [1:0]    c_src_bank, c_dst_bank, c_res_bank;
    reg [15:0]   c_w_base, c_p_base;
    reg [9:0]    c_ih, c_iw, c_iw_last, c_ih_last, c_ow_last, c_ict_last, c_oct_last;
    reg [3:0]    c_kh_last, c_kw_last, c_sy, c_sx;
    reg [13:0]   c_src_pixel, c_src_row, c_sx_words, c_sy_words, c_dst_pixel, c_res_pixel;
    reg [7:0]    c_pad;
    reg          oct_one, kh_one, kw_one, ow_one;   // the loop has one turn
    reg          ict_two, oct_two, kh_two, kw_two, ow_two;  // it has two

    // Counters run down; `*_end` says that the counter is 0, `*_next` that it is 1.
    reg [9:0] ict, oct, ox, oy;
    reg [3:0] kx, ky;
    reg       oct_end, ox_end, oy_end, kx_end, ky_end;
    reg       ict_next, oct_next, ox_next, oy_next, kx_next, ky_next;
    reg       at_slot_start, at_word_start;

    // Which of the tap's loops end with it, from the inside out; all inside of them end too. It is
    // found out a clock before: some loop, which is not at its end yet, comes to it; those outside
    // of it are there, and those inside have one turn. Or all end again, as each has one turn.
    reg       row_step, kx_wrap, word_end, pixel_end, line_end, slot_end;
    reg       word_end_copy, pixel_end_copy;
    reg [5:1] ones;                     // so many of the innermost loops have one turn each
    wire row_comes   = ict_next;
    wire kx_comes    = row_comes && kx_end || ones[1] && kx_next;
    wire word_comes  = kx_comes && ky_end || ones[2] && ky_next;
    wire pixel_comes = word_comes && oct_end || ones[3] && oct_next;
    wire line_comes  = pixel_comes && ox_end || ones[4] && ox_next;
    wire slot_comes  = line_comes && oy_end || ones[5] && oy_next;

    // The next slot is loaded where there is none, or where this one ends; that counts only with
    // `n_valid`. There are copies, each with its own `moves`, for parts that are far apart:
    // 0 what ends, and where it reads; 1 weights, parameters and results; 2 the slot's constants;
    // 3 the counters; 4 the prefetch. The tap has moves[5].
    wire n_single = n_skip || &n_ones;
    reg  [4:0] fresh;                   // !on || slot_end
    wire fresh_next = fresh[0] ? !n_valid || n_single : slot_comes;
    genvar i;
    generate
        for (i = 0; i < 5; i = i + 1) begin : copy
            (* keep *)
            always @(posedge clk) begin
                if (moves[i]) fresh[i] <= fresh_next;
                if (rst) fresh[i] <= 1'b1;
            end
        end
    endgenerate
    assign n_take = moves[4] && fresh[4];
    assign active = on || valid;

    // Addresses.
    reg  [13:0] addr, kx_at, ky_at, tile_at, pixel_at, line_at;
    // All steps are added at once; only then is one chosen.
    wire [13:0] tap_next   = addr + 14'd1;
    wire [13:0] kx_step    = kx_at + c_src_pixel;
    wire [13:0] ky_step    = ky_at + c_src_row;
    wire [13:0] tile_next  = tile_at + {13'd0, c_by_tile};
    wire [13:0] pixel_next = pixel_at + c_sx_words;
    wire [13:0] line_next  = line_at + c_sy_words;
    wire [13:0] next_line  = line_end ? line_next : pixel_next;
    wire [13:0] next_tile  = pixel_end ? next_line : tile_next;
    wire [13:0] inner_kx  = kx_wrap ? ky_step : kx_step;
    wire [13:0] inner     = row_step ? inner_kx : tap_next;

    // Of the tap, and of the output pixel; `*_out`: it is padding (negative numbers are large). Of
    // each place that x and y can step to, that is found out beside it.
    reg  [15:0] x, y, x0, y0;
    reg         x_out, y_out, x0_out, y0_out, left_out;
    reg  [3:0]  pl_kept;
    wire [15:0] x_left = -{12'd0, pl_kept};
    wire [15:0] x_jump = x0 + {12'd0, c_sx}, y_jump = y0 + {12'd0, c_sy};
    wire        x_jump_out = x_jump >= {6'd0, c_iw}, y_jump_out = y_jump >= {6'd0, c_ih};
    wire        x_step_out = x >= {6'd0, c_iw_last} && !(&x);     // x + 1
    wire        y_step_out = y >= {6'd0, c_ih_last} && !(&y);
    wire        outside = x_out || y_out;

    reg  [15:0] w_at, p_at;
    reg  [13:0] dst_at, dst_pixel_at, res_at, res_pixel_at;
    wire [13:0] dst_jump = dst_pixel_at + c_dst_pixel;
    wire [13:0] res_jump = res_pixel_at + c_res_pixel;

    // What the slot has for all its taps.
    always @(posedge clk) if (moves[2] && fresh[2]) begin
        c_skip        <= n_skip;
        c_parity      <= n_parity;
        c_index       <= n_index;
        c_res         <= n_res;
        c_wfix        <= n_wfix;
        c_streamed    <= n_streamed;
        c_release     <= n_release_x;
        c_by_tile     <= n_by_tile;
        c_max         <= n_is_max;
        c_in_flight   <= n_in_flight;
        c_src_bank    <= n_src_bank;
        c_dst_bank    <= n_dst_bank;
        c_res_bank    <= n_res_bank;
        c_w_base      <= n_w_base;
        c_p_base      <= n_p_base;
        c_ih          <= n_ih;
        c_iw          <= n_iw;
        c_ih_last     <= n_ih - 10'd1;
        c_iw_last     <= n_iw - 10'd1;
        c_ow_last     <= n_ow_last;
        c_ict_last    <= n_ict_last;
        c_oct_last    <= n_oct_last;
        c_kh_last     <= n_kh_last;
        c_kw_last     <= n_kw_last;
        c_sy          <= n_sy;
        c_sx          <= n_sx;
        pl_kept       <= n_pl;
        left_out      <= n_pl != 4'd0;
        c_src_pixel   <= n_src_pixel;
        c_src_row     <= n_src_row;
        c_sx_words    <= n_sx_words;
        c_sy_words    <= n_sy_words;
        c_dst_pixel   <= n_dst_pixel;
        c_res_pixel   <= n_res_pixel;
        c_pad         <= n_pad;
        {ow_one, oct_one, kh_one, kw_one} <= n_ones[4:1];
        {ow_two, oct_two, kh_two, kw_two, ict_two} <= n_twos[4:0];
        ones          <= {&n_ones[4:0], &n_ones[3:0], &n_ones[2:0], &n_ones[1:0], n_ones[0]};
    end

    // Which loops end with the tap. A slot that is skipped is a single tap.
    always @(posedge clk) if (moves[0]) begin
        at_slot_start <= fresh[0];
        at_word_start <= fresh[0] || word_end;
        row_step  <= fresh[0] ? n_skip || n_ones[0] : row_comes || (row_step && ones[1]);
        kx_wrap   <= fresh[0] ? n_skip || &n_ones[1:0] : kx_comes || (kx_wrap && ones[2]);
        word_end  <= fresh[0] ? n_skip || &n_ones[2:0] : word_comes || (word_end && ones[3]);
        pixel_end <= fresh[0] ? n_skip || &n_ones[3:0] : pixel_comes || (pixel_end && ones[4]);
        line_end  <= fresh[0] ? n_skip || &n_ones[4:0] : line_comes || (line_end && ones[5]);
        slot_end  <= fresh[0] ? n_single : slot_comes;
    end
    // The same for the places of weights, parameters and results.
    (* keep *)
    always @(posedge clk) if (moves[1]) begin
        word_end_copy  <= fresh[1] ? n_skip || &n_ones[2:0] : word_comes || (word_end && ones[3]);
        pixel_end_copy <= fresh[1] ? n_skip || &n_ones[3:0]
                                     : pixel_comes || (pixel_end && ones[4]);
    end
    always @(posedge clk) begin
        if (moves[0]) on <= fresh[0] ? n_valid : 1'b1;
        if (rst) on <= 1'b0;
    end

    always @(posedge clk) if (moves[3]) begin
        if (fresh[3]) begin
            ict      <= n_ict_last;
            oct      <= n_oct_last;
            ox       <= n_ow_last;
            oy       <= n_oh_last;
            kx       <= n_kw_last;
            ky       <= n_kh_last;
            oct_end  <= n_skip || n_ones[3];
            ox_end   <= n_skip || n_ones[4];
            oy_end   <= n_skip || n_ones[5];
            kx_end   <= n_skip || n_ones[1];
            ky_end   <= n_skip || n_ones[2];
            {oy_next, ox_next, oct_next, ky_next, kx_next, ict_next} <= n_twos;
            x        <= -{12'd0, n_pl};
            x0       <= -{12'd0, n_pl};
            y        <= -{12'd0, n_pt};
            y0       <= -{12'd0, n_pt};
            x_out    <= n_pl != 4'd0;
            x0_out   <= n_pl != 4'd0;
            y_out    <= n_pt != 4'd0;
            y0_out   <= n_pt != 4'd0;
        end else begin
            ict      <= row_step ? c_ict_last : ict - 10'd1;
            ict_next <= row_step ? ict_two : ict == 10'd2;
            if (row_step) begin
                kx      <= kx_end ? c_kw_last : kx - 4'd1;
                kx_end  <= kx_end ? kw_one : kx_next;
                kx_next <= kx_end ? kw_two : kx == 4'd2;
            end
            if (kx_wrap) begin
                ky      <= ky_end ? c_kh_last : ky - 4'd1;
                ky_end  <= ky_end ? kh_one : ky_next;
                ky_next <= ky_end ? kh_two : ky == 4'd2;
            end
            if (word_end) begin
                oct      <= oct_end ? c_oct_last : oct - 10'd1;
                oct_end  <= oct_end ? oct_one : oct_next;
                oct_next <= oct_end ? oct_two : oct == 10'd2;
            end
            if (pixel_end) begin
                ox      <= ox_end ? c_ow_last : ox - 10'd1;
                ox_end  <= ox_end ? ow_one : ox_next;
                ox_next <= ox_end ? ow_two : ox == 10'd2;
            end
            if (line_end) begin
                oy      <= oy - 10'd1;
                oy_end  <= oy_next;
                oy_next <= oy == 10'd2;
            end
            if (row_step) x <= line_end ? x_left : pixel_end ? x_jump : kx_wrap ? x0 : x + 16'd1;
            if (row_step) x_out <= line_end ? left_out : pixel_end ? x_jump_out
                                 : kx_wrap ? x0_out : x_step_out;
            if (pixel_end) x0 <= line_end ? x_left : x_jump;
            if (pixel_end) x0_out <= line_end ? left_out : x_jump_out;
            if (kx_wrap) y <= line_end ? y_jump : word_end ? y0 : y + 16'd1;
            if (kx_wrap) y_out <= line_end ? y_jump_out : word_end ? y0_out : y_step_out;
            if (line_end) y0 <= y_jump;
            if (line_end) y0_out <= y_jump_out;
        end
    end

    always @(posedge clk) if (moves[0]) begin
        if (fresh[0]) begin
            addr     <= n_src;
            kx_at    <= n_src;
            ky_at    <= n_src;
            tile_at  <= n_src;
            pixel_at <= n_src;
            line_at  <= n_src;
        end else begin
            addr <= word_end ? next_tile : inner;
            if (row_step) kx_at <= word_end ? next_tile : inner_kx;
            if (kx_wrap) ky_at <= word_end ? next_tile : ky_step;
            if (word_end) tile_at <= next_tile;
            if (pixel_end) pixel_at <= next_line;
            if (line_end) line_at <= line_next;
        end
    end

    always @(posedge clk) if (moves[1]) begin
        if (fresh[1]) begin
            w_at         <= n_w_base;
            p_at         <= n_p_base;
            dst_at       <= n_dst;
            dst_pixel_at <= n_dst;
            res_at       <= n_res_at;
            res_pixel_at <= n_res_at;
        end else begin
            if (pixel_end_copy) w_at <= c_w_base;
            else if (!c_wfix) w_at <= w_at + 16'd1;
            if (pixel_end_copy) begin
                p_at         <= c_p_base;
                dst_at       <= dst_jump;
                dst_pixel_at <= dst_jump;
                res_at       <= res_jump;
                res_pixel_at <= res_jump;
            end else if (word_end_copy) begin
                p_at   <= p_at + R[15:0];
                dst_at <= dst_at + 14'd1;
                res_at <= res_at + 14'd1;
            end
        end
    end

    // Is the word of X there in the next clock? The limits tell of what will be there then.
    reg  waits_x;                       // it reads X, and no padding
    wire next_there = c_parity ? addr[XL-1:0] < x_limit1 : addr[XL-1:0] < x_limit0;
    wire releases = valid && !skip && slot_last && release_x && parity == c_parity;
    assign x_ok = !waits_x || (parity ? src[XL-1:0] < x_limit1 : src[XL-1:0] < x_limit0);
    assign next_x_ok = c_src_bank != X || outside || (next_there && !releases);

    assign to_output = dst[15:14] == 2'd3;
    assign next_valid = on;
    assign next_skip = c_skip;
    assign next_slot_first = at_slot_start;
    assign next_word_first = at_word_start;
    assign next_word_last = word_end;
    assign next_res = c_res;
    assign next_streamed = c_streamed;
    assign next_in_flight = c_in_flight;
    assign next_to_output = c_dst_bank == 2'd3;

    always @(posedge clk) begin
        if (moves[5]) begin
            valid      <= on;
            skip       <= c_skip;
            slot_first <= at_slot_start;
            slot_last  <= slot_end;
            word_first <= at_word_start;
            word_last  <= word_end;
            parity     <= c_parity;
            index      <= c_index;
            res        <= c_res;
            streamed   <= c_streamed;
            release_x  <= c_release;
            is_max     <= c_max;
            in_flight  <= c_in_flight;
            src_bank   <= c_src_bank;
            waits_x    <= c_src_bank == X && !outside;
            src        <= addr;
            a_addr     <= c_src_bank == A ? addr : res_at;
            b_addr     <= c_src_bank == B ? addr : res_at;
            res_in_b   <= c_res_bank == B;
            is_pad     <= outside;
            pad        <= c_pad;
            w_addr     <= w_at;
            p_addr     <= p_at;
            dst        <= {c_dst_bank, dst_at};
        end
        if (rst) valid <= 1'b0;
    end
endmodule
`default_nettype wire
