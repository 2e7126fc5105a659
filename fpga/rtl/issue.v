// When may the tap go? And which slots are complete?
//
// Slots complete in order. A computed one is complete when its last result is written; a skipped
// one when all before it are. `gaps` remembers how many skipped ones lie between computed ones that
// are under way.
`default_nettype none
module issue #(
    parameter R = 2
) (
    input  wire        clk,
    input  wire        rst,
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
    input  wire        waits_x,
    input  wire        x_there,
    input  wire        to_output,
    input  wire        block_done,
    input  wire        output_has_room,
    input  wire        slot_done,       // the last result of the oldest computed slot is being written
    output wire        go,              // the tap (or the skipped slot) is gone
    output wire        take,            // ... and the array has it
    output wire        released_x,
    output wire        block_used,
    output wire        reserve,         // a place in the output FIFO
    output reg         res_mode,        // the pipeline works with residuals
    output wire        complete,        // no slot is under way
    output wire        stalls_input,
    output wire        stalls_output
);
    // What the tap waits for.
    reg  [7:0] incomplete;              // slots
    reg  [1:0] blocks;                  // streamed weights that no slot has begun with
    reg  [4:0] busy;                    // clocks until the requantisers can take another word
    wire       drained = incomplete == 8'd0;
    wire       slot_ok = !slot_first || (incomplete <= {2'b0, in_flight} && (res == res_mode || drained));
    wire       block_ok = !slot_first || !streamed || blocks != 2'd0;
    wire       x_ok = !waits_x || x_there;
    wire       room_ok = !word_first || !to_output || output_has_room;
    wire       busy_ok = !word_last || busy == 5'd0;

    assign take = valid && !skip && slot_ok && block_ok && x_ok && room_ok && busy_ok;
    assign go = take || (valid && skip);
    assign released_x = take && slot_last && release_x;
    assign block_used = take && slot_last && streamed;
    assign reserve = take && word_first && to_output;
    assign complete = drained;
    assign stalls_input = valid && !skip && slot_ok && !(block_ok && x_ok);
    assign stalls_output = valid && !skip && slot_ok && block_ok && x_ok && !room_ok;

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

    reg  [5:0] computing;               // computed slots under way
    reg  [7:0] skips;                   // since the last of them
    wire [7:0] gap;
    wire       still = computing != (slot_done ? 6'd1 : 6'd0);
    wire       alone = computing == 6'd1;
    wire       skips_one = valid && skip && still;
    wire [7:0] freed = !slot_done ? 8'd0 : 8'd1 + (alone ? skips : gap);
    fifo #(.WIDTH(8), .DEPTH(64)) gaps (
        .clk(clk), .rst(rst),
        .push(begins && still), .word(skips),
        .pop(slot_done && !alone), .head(gap)
    );
    always @(posedge clk) begin
        computing  <= computing + {5'd0, begins} - {5'd0, slot_done};
        incomplete <= incomplete + {7'd0, begins || skips_one} - freed;
        if (begins || (slot_done && alone)) skips <= 8'd0;
        else if (skips_one) skips <= skips + 8'd1;
        if (rst) begin
            computing  <= 6'd0;
            incomplete <= 8'd0;
            skips      <= 8'd0;
        end
    end
endmodule
`default_nettype wire
