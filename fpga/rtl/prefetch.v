// Which slot comes next: which descriptor of which round, and is it skipped?
//
// The slots go through beside the descriptors' memory, which takes two clocks: all of them move,
// or none. `prepare` is the clock before `start`.
`default_nettype none
module prefetch #(
    parameter D_WORDS = 64,
    parameter DA = $clog2(D_WORDS)
) (
    input  wire          clk,
    input  wire          rst,
    input  wire          prepare,
    input  wire          start,
    input  wire [31:0]   samples,     // with `prepare`
    input  wire          d_we,
    input  wire [DA-1:0] d_waddr,
    input  wire          d_last,
    input  wire [3:0]    d_stage,
    output wire          active,      // there are slots that the walker has not taken
    output wire          ce,
    output reg  [DA-1:0] d,           // the descriptor to read
    // the slot
    output reg           valid,
    input  wire          take,
    output reg           skip,
    output reg           parity,      // the sample's number is odd
    output reg  [DA-1:0] index
);
    // What decides about the next descriptor, `last` and the stage, is a memory of its own.
    (* ram_style = "distributed" *)
    reg [4:0] heads [0:D_WORDS-1];
    always @(posedge clk) if (d_we) heads[d_waddr] <= {d_last, d_stage};

    // Rounds. Sample = round - stage. `left` counts the rounds to sample B - 1 of stage 0, `over`
    // those beyond it; both it and the small copy of the round's number stop at 16.
    reg          running;
    reg [4:0]    round_small;
    reg          round_odd;
    reg [31:0]   left;
    reg          is_over;
    reg [4:0]    over;
    reg          more;           // some descriptor of this round has a sample yet to come

    reg  [4:0]   head, head0;    // of descriptor d, of the first
    reg  [DA-1:0] d_after;       // d + 1
    wire         last = head[4];
    wire [4:0]   stage = {1'b0, head[3:0]};
    wire         is_skipped = round_small < stage || (is_over && over > stage);
    wire         more_here = more || !is_over || over < stage;

    reg          valid1, skip1, odd1;
    reg [DA-1:0] index1;

    reg  is_there;               // `valid` once more, for those who are near
    assign ce = !is_there || take;
    wire turns = (running || start) && ce;
    assign active = running || valid1 || valid;

    (* keep *)
    always @(posedge clk) begin
        if (ce) is_there <= valid1;
        if (rst) is_there <= 1'b0;
    end
    always @(posedge clk) begin
        if (prepare || (turns && last)) begin
            d       <= {DA{1'b0}};
            head    <= head0;
            d_after <= {{(DA-1){1'b0}}, 1'b1};
        end else if (turns) begin
            d       <= d_after;
            head    <= heads[d_after];
            d_after <= d_after + 1'b1;
        end
        if (d_we && d_waddr == {DA{1'b0}}) head0 <= {d_last, d_stage};
    end
    always @(posedge clk) begin
        if (ce) begin
            valid1 <= running || start;
            skip1  <= is_skipped;
            odd1   <= round_odd ^ stage[0];
            index1 <= d;
            valid  <= valid1;
            skip   <= skip1;
            parity <= odd1;
            index  <= index1;
        end
        if (start) running <= 1'b1;
        if (turns) begin
            more <= more_here;
            if (last) begin
                running   <= more_here;
                more      <= 1'b0;
                round_odd <= !round_odd;
                left      <= left - 32'd1;
                if (!round_small[4]) round_small <= round_small + 5'd1;
                if (left == 32'd1) is_over <= 1'b1;
                if (is_over && !over[4]) over <= over + 5'd1;
            end
        end
        if (prepare) begin
            more        <= 1'b0;
            round_small <= 5'd0;
            round_odd   <= 1'b0;
            left        <= samples - 32'd1;
            is_over     <= samples == 32'd1;
            over        <= 5'd0;
        end
        if (rst) begin
            running <= 1'b0;
            valid1  <= 1'b0;
            valid   <= 1'b0;
        end
    end
endmodule
`default_nettype wire
