// The array: N lanes, each the dot product of the word read with its N weights, a tap a clock.
//
// Clocks, counted from the issue of a tap (0): the banks' words are there at 2, the weights at 3,
// the accumulators hold the tap at A (7 for N = 8, else 8).
`default_nettype none
module array #(
    parameter N = 8,
    parameter PACK = 1
) (
    input  wire             clk,
    input  wire             rst,
    // at 0
    input  wire             take,
    input  wire             first,
    input  wire             is_max,
    input  wire [1:0]       bank,
    input  wire             is_pad,
    input  wire [7:0]       pad,
    // at 2
    input  wire [N*8-1:0]   x_word,
    input  wire [N*8-1:0]   a_word,
    input  wire [N*8-1:0]   b_word,
    // at 3
    input  wire [N*N*8-1:0] weights,
    // at A
    output wire [N*25-1:0]  acc
);
    localparam A = N == 8 ? 7 : 8;

    // What goes along with the tap.
    reg  [A-2:1] takes, firsts, maxima;
    reg  [1:0]   bank1, bank2;
    reg          is_pad1, is_pad2;
    reg  [7:0]   pad1, pad2;
    always @(posedge clk) begin
        takes  <= {takes[A-3:1], take};
        firsts <= {firsts[A-3:1], first};
        maxima <= {maxima[A-3:1], is_max};
        {bank1, is_pad1, pad1} <= {bank, is_pad, pad};
        {bank2, is_pad2, pad2} <= {bank1, is_pad1, pad1};
        if (rst) takes <= {(A-2){1'b0}};
    end

    reg  [N*8-1:0] word;
    wire [N*8-1:0] next_word
        = is_pad2 ? {N{pad2}} : bank2 == 2'd0 ? x_word : bank2 == 2'd1 ? a_word : b_word;
    always @(posedge clk) if (takes[2]) word <= next_word;

    // Maxima need no tree: they are found at once and wait for the sums' pace.
    reg [N*8-1:0] maximum;              // at 4
    reg [N*8-1:0] late [5:A-1];
    integer k;
    always @(posedge clk) begin
        late[5] <= maximum;
        for (k = 6; k < A; k = k + 1) late[k] <= late[k-1];
    end
    wire [N*8-1:0] maximum_late = late[A-1];
    genvar i;
    generate
        for (i = 0; i < N; i = i + 1) begin : lane
            wire signed [7:0] here = word[8*i +: 8];
            wire signed [7:0] best = maximum[8*i +: 8];
            always @(posedge clk)
                if (takes[3] && maxima[3] && (firsts[3] || here > best)) maximum[8*i +: 8] <= here;
        end
        for (i = 0; i < N; i = i + 2) begin : pair
            wire [N*16-1:0] values0, values1;
            wire [N-1:0]    carries1;
            // Each pair has its own controls: they have far to go.
            reg load, multiplies, sums, accumulates, begins, takes_max;
            (* keep *)
            always @(posedge clk) begin
                load        <= takes[2];
                multiplies  <= takes[3];
                sums        <= takes[4];
                accumulates <= takes[A-2];
                begins      <= firsts[A-2];
                takes_max   <= maxima[A-2];
            end
            products #(.N(N), .PACK(PACK)) multiply (
                .clk(clk), .load(load), .enable(multiplies), .next_word(word),
                .weights0(weights[N*8*i +: N*8]), .weights1(weights[N*8*(i+1) +: N*8]),
                .values0(values0), .values1(values1), .carries1(carries1)
            );
            dot #(.N(N)) dot0 (
                .clk(clk), .sum_enable(sums), .values(values0), .carries({N{1'b0}}),
                .enable(accumulates), .first(begins), .is_max(takes_max),
                .maximum(maximum_late[8*i +: 8]), .acc(acc[25*i +: 25])
            );
            dot #(.N(N)) dot1 (
                .clk(clk), .sum_enable(sums), .values(values1), .carries(carries1),
                .enable(accumulates), .first(begins), .is_max(takes_max),
                .maximum(maximum_late[8*(i+1) +: 8]), .acc(acc[25*(i+1) +: 25])
            );
        end
    endgenerate
endmodule
`default_nettype wire
