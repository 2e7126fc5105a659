// Two registers in a stream, so that `ready` is a register and no path crosses the stream.
`default_nettype none
module slice #(
    parameter WIDTH = 65
) (
    input  wire             clk,
    input  wire             rst,
    input  wire [WIDTH-1:0] in_data,
    input  wire             in_valid,
    output wire             in_ready,
    output reg  [WIDTH-1:0] out_data,
    output reg              out_valid,
    input  wire             out_take
);
    reg [WIDTH-1:0] spare;
    reg             has_spare;
    // What decides has registers of its own, as the others have far to go: no spare word, and
    // `out_valid`.
    reg             is_ready, is_there;
    assign in_ready = is_ready;
    wire enters = in_valid && in_ready;
    (* keep *)
    always @(posedge clk) begin
        is_ready <= rst || out_take || !is_there || (is_ready && !in_valid);
        is_there <= !rst && ((is_there && !out_take) || !is_ready || in_valid);
    end

    always @(posedge clk) begin
        // What is in `spare` counts only with `has_spare`.
        if (!has_spare) spare <= in_data;
        if (out_take || !out_valid) begin
            out_data  <= has_spare ? spare : in_data;
            out_valid <= has_spare || enters;
            has_spare <= 1'b0;
        end else if (enters) has_spare <= 1'b1;
        if (rst) begin
            out_valid <= 1'b0;
            has_spare <= 1'b0;
        end
    end
endmodule
`default_nettype wire
