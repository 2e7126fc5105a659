// When may the tap go? And which slots are complete?
//
// Whether a tap goes is found out a clock before, so that `moves` and `take` are registers: for the
// tap that comes next (`next_`), in case that the present one goes, and for the present one, in
// case that it stays.
//
// Slots complete in order. A computed one is complete when its last result is written; a skipped
// one when all before it are. `gaps` remembers how many skipped ones lie between computed ones that
// are under way. All that is done here with `slot_done` a clock before the write.
`default_nettype none
module issue #(
    parameter R = 2
) (
    input  wire        clk,
    input  wire        rst,
    // the tap, and with `next_` what the walker has for the next clock
    input  wire        valid,
    input  wire        skip,
    input  wire        slot_first,
    input  wire        slot_last,
    input  wire        word_first,
    input  wire        word_last,
    input  wire        res,
    input  wire        streamed,
    input  wire        release_x,
    input  wire [5:0]  in_flight,
    input  wire        to_output,
    input  wire        x_ok,            // its word of X is there, or it reads none
    input  wire        next_valid,
    input  wire        next_skip,
    input  wire        next_slot_first,
    input  wire        next_word_first,
    input  wire        next_word_last,
    input  wire        next_res,
    input  wire        next_streamed,
    input  wire [5:0]  next_in_flight,
    input  wire        next_to_output,
    input  wire        next_x_ok,
    input  wire        block_done,
    input  wire        output_full,     // no place in the output FIFO
    input  wire        output_nearly,   // a single one
    input  wire        slot_done,       // the last result of the oldest slot is written next clock
    output reg  [5:0]  moves_all,       // `moves` six times, for those who are far
    output reg         take,            // the array has it
    output wire        released_x,
    output wire        block_used,
    output wire        reserve,         // a place in the output FIFO
    output reg         res_mode,        // the pipeline works with residuals
    output reg         complete,        // no slot is under way
    output reg         stalls_input,
    output reg         stalls_output
);
    assign released_x = take && slot_last && release_x;
    assign block_used = take && slot_last && streamed;
    assign reserve = take && word_first && to_output;

    // What the present tap changes when it goes.
    reg        moves;                   // the tap is gone, or there is none
    wire       computes = valid && !skip;
    wire       may_begin = computes && slot_first;
    reg  [5:0] computing;               // computed slots under way
    reg        is_none, is_alone;       // none of them, a single one
    wire       may_count = valid && (skip ? !is_none : slot_first);   // incomplete, one more

    // Slots that are incomplete, but for those that the present clock makes so.
    reg  [7:0] incomplete;
    reg        is_drained;
    reg  [1:0] blocks;                  // streamed weights that no slot has begun with
    reg  [4:0] busy;                    // clocks until the requantisers can take another word

    // The present tap, if it stays.
    wire       slot_ok = !slot_first || is_drained
                       || (incomplete <= {2'd0, in_flight} && res == res_mode);
    wire       block_ok = !slot_first || !streamed || block_done || blocks != 2'd0;
    wire       room_ok = !word_first || !to_output || !output_full;
    wire       busy_ok = !word_last || busy[4:1] == 4'd0;
    wire       input_ok = block_ok && x_ok;
    wire       stay_go = slot_ok && input_ok && room_ok && busy_ok;

    // The next one, if the present one goes.
    wire       has_turn = {incomplete, may_count} <= {2'd0, next_in_flight, 1'b0};
    wire       next_mode = may_begin ? res : res_mode;
    wire       next_slot_ok = !next_slot_first || (is_drained && !may_count)
                            || (has_turn && next_res == next_mode);
    wire       uses_last = blocks == 2'd0 || (blocks == 2'd1 && may_begin && streamed);
    wire       next_block_ok = !next_slot_first || !next_streamed || block_done || !uses_last;
    wire       may_reserve = computes && word_first && to_output;
    wire       next_room_ok = !next_word_first || !next_to_output
                            || !(output_full || (output_nearly && may_reserve));
    wire       next_busy_ok = !next_word_last
                            || (computes && word_last ? R == 1 : busy[4:1] == 4'd0);
    wire       next_input_ok = next_block_ok && next_x_ok;
    wire       next_ok = next_slot_ok && next_input_ok && next_room_ok && next_busy_ok;
    wire       next_computes = next_valid && !next_skip;

    always @(posedge clk) begin
        take  <= moves ? next_computes && next_ok : stay_go;
        stalls_input <= moves ? next_computes && next_slot_ok && !next_input_ok
                      : slot_ok && !input_ok;
        stalls_output <= moves ? next_computes && next_slot_ok && next_input_ok && !next_room_ok
                       : slot_ok && input_ok && !room_ok;
        if (rst) begin
            take          <= 1'b0;
            stalls_input  <= 1'b0;
            stalls_output <= 1'b0;
        end
    end

    wire moves_next = rst || (moves ? !next_valid || next_skip || next_ok : stay_go);
    (* keep *)
    always @(posedge clk) moves <= moves_next;
    genvar i;
    generate
        for (i = 0; i < 6; i = i + 1) begin : copy
            (* keep *)
            always @(posedge clk) moves_all[i] <= moves_next;
        end
    endgenerate

    wire begins = take && slot_first;
    wire begins_block = begins && streamed;
    always @(posedge clk) begin
        if (begins) res_mode <= res;
        if (block_done && !begins_block) blocks <= blocks + 2'd1;
        if (!block_done && begins_block) blocks <= blocks - 2'd1;
        if (take && word_last) busy <= R[4:0] - 5'd1;
        else if (busy != 5'd0) busy <= busy - 5'd1;
        if (rst) begin
            res_mode <= 1'b0;
            blocks   <= 2'd0;
            busy     <= 5'd0;
        end
    end

    reg  [7:0] skips;                   // since the last of the computed ones, and one
    wire [7:0] gap;
    wire       still = slot_done ? !is_alone : !is_none;
    wire       skips_one = valid && skip && still;
    wire [7:0] freed = !slot_done ? 8'd0 : is_alone ? skips : gap;
    wire [5:0] computing_next = computing + {5'd0, begins} - {5'd0, slot_done};
    wire [7:0] incomplete_next = incomplete + {7'd0, begins || skips_one} - freed;
    fifo #(.WIDTH(8), .DEPTH(64)) gaps (
        .clk(clk), .rst(rst),
        .push(begins && still), .word(skips),
        .pop(slot_done && !is_alone), .head(gap)
    );
    always @(posedge clk) begin
        computing  <= computing_next;
        is_none    <= computing_next == 6'd0;
        is_alone   <= computing_next == 6'd1;
        incomplete <= incomplete_next;
        is_drained <= incomplete_next == 8'd0;
        complete   <= is_drained && !(moves && may_count);
        if (begins || (slot_done && is_alone)) skips <= 8'd1;
        else if (skips_one) skips <= skips + 8'd1;
        if (rst) begin
            computing  <= 6'd0;
            is_none    <= 1'b1;
            is_alone   <= 1'b0;
            incomplete <= 8'd0;
            is_drained <= 1'b1;
            complete   <= 1'b1;
            skips      <= 8'd1;
        end
    end
endmodule
`default_nettype wire
