// Words of results on their way out. A place is reserved when the array begins a word; a place that
// becomes free is told of a clock later. The last word
// of a run is known only when no other can come, so a word that is alone waits for that.
`default_nettype none
module output_fifo #(
    parameter N = 8,
    parameter DEPTH = 32
) (
    input  wire           clk,
    input  wire           rst,
    input  wire           reserve,
    output wire           is_full,
    output wire           is_nearly,     // full: a single place is left
    input  wire           push,
    input  wire [N*8-1:0] word,
    input  wire           all_issued,    // no slot of the run is to come
    output wire           is_empty,      // nothing reserved, nothing going out
    output wire [63:0]    out_data,
    output reg            out_valid,
    output wire           out_last,
    input  wire           out_ready
);
    localparam BEATS = N / 8;
    reg [5:0]     reserved, filled;
    reg [N*8-1:0] going;
    reg           is_final;
    reg  [1:0]    beat;
    wire          last_beat = beat == BEATS[1:0] - 2'd1;
    wire          moves = out_valid && out_ready;
    wire          free = !out_valid || (moves && last_beat);
    // A word that finds none before it goes at once.
    wire          pop = free && (filled != 6'd0 || push) && (all_issued || reserved > 6'd1);
    wire [N*8-1:0] head;
    wire [N*8-1:0] leaves = filled != 6'd0 ? head : word;

    assign is_full = reserved == DEPTH[5:0];
    assign is_nearly = reserved == DEPTH[5:0] - 6'd1;
    assign is_empty = reserved == 6'd0 && !out_valid;
    assign out_data = going[63:0];
    assign out_last = is_final && last_beat;

    fifo #(.WIDTH(N * 8), .DEPTH(DEPTH)) waiting (
        .clk(clk), .rst(rst), .push(push), .word(word), .pop(pop), .head(head)
    );
    always @(posedge clk) begin
        // `pop` comes late: both are ready for it.
        reserved <= pop ? (reserve ? reserved : reserved - 6'd1) : reserved + {5'd0, reserve};
        filled   <= pop ? (push ? filled : filled - 6'd1) : filled + {5'd0, push};
        if (pop) begin
            out_valid <= 1'b1;
            beat      <= 2'd0;
            is_final  <= all_issued && reserved == 6'd1;
        end else if (moves) begin
            beat <= beat + 2'd1;
            if (last_beat) out_valid <= 1'b0;
        end
        if (rst) begin
            reserved  <= 6'd0;
            filled    <= 6'd0;
            out_valid <= 1'b0;
        end
    end
    generate
        if (BEATS == 1) begin : single
            always @(posedge clk) if (pop) going <= leaves;
        end else begin : several
            always @(posedge clk)
                if (pop) going <= leaves;
                else if (moves) going <= {64'd0, going[N*8-1:64]};
        end
    endgenerate
endmodule
`default_nettype wire
