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
    assign in_ready = !has_spare;
    wire enters = in_valid && in_ready;

    always @(posedge clk) begin
        if (out_take || !out_valid) begin
            out_data  <= has_spare ? spare : in_data;
            out_valid <= has_spare || enters;
            has_spare <= 1'b0;
        end else if (enters) begin
            spare     <= in_data;
            has_spare <= 1'b1;
        end
        if (rst) begin
            out_valid <= 1'b0;
            has_spare <= 1'b0;
        end
    end
endmodule
`default_nettype wire
