// Reads the commands of the input stream (docs/reference/fpga-engine.md, section 5).
//
// A header is taken in one clock and checked in the next, where it also waits for what it needs.
// Payload beats are shifted into one wide register; a whole word is written from there, a clock
// after its last beat. After an error everything is taken and dropped until a reset.
`default_nettype none
module loader #(
    parameter N = 8,
    parameter RQ = 4,
    parameter W_WORDS = 512,
    parameter P_WORDS = 256,
    parameter D_WORDS = 64,
    parameter X_WORDS = 256
) (
    input  wire               clk,
    input  wire               rst,       // soft or hard
    input  wire               hard_rst,  // forgets the program too
    // the input stream
    input  wire [63:0]        in_data,
    input  wire               in_last,
    input  wire               in_valid,
    output wire               in_take,
    // the run
    input  wire               idle,
    output reg                run_start, // the clock after
    output reg  [31:0]        run_samples,
    // halves of X: words below the limit are loaded, or will be in the next clock
    input  wire               release_x,
    input  wire               release_half,
    output reg  [14:0]        x_limit0,
    output reg  [14:0]        x_limit1,
    // streamed weights
    input  wire               block_used,
    output reg                block_done,
    // words to write
    output reg  [N*N*8-1:0]   word,
    output reg  [15:0]        address,
    output reg                we_d,
    output reg                we_p,
    output reg                we_w,
    output reg                we_x,
    // what the registers show
    output reg  [7:0]         error,
    output reg  [23:0]        error_command,
    output wire               reading
);
    localparam [7:0] DESC = 1, PARAM = 2, WEIGHT = 3, RUN = 4, INPUT = 5, WSTREAM = 6;
    localparam [1:0] HEAD = 0, CHECK = 1, LOAD = 2, DROP = 3;
    localparam RQ_BITS = $clog2(RQ);
    localparam WORD_BITS = $clog2(N / 8);
    localparam WEIGHT_BITS = $clog2(N * N / 8);
    localparam HALF = X_WORDS / 2;

    reg [1:0]  state;
    reg        in_packet;
    reg [7:0]  op;
    reg        is_bad, is_ragged, is_empty, ends;
    reg [16:0] words;       // of the payload, 2^16 and more are all too many
    reg [6:0]  beat;        // within the word
    reg [6:0]  last_beat;
    reg [23:0] command;
    reg [31:0] inputs_left;
    reg        half;        // the next INPUT's
    reg [1:0]  is_busy;     // halves of X
    reg [1:0]  blocks;      // WSTREAM blocks loading, loaded or in use
    reg        has_program;

    // A header, first clock: fields.
    wire [31:0] count = in_data[63:32];
    reg  [31:0] count_words;
    reg         count_ragged;
    reg  [6:0]  unit_last;
    reg  [17:0] head_limit;
    always @* begin
        case (in_data[7:0])
            DESC:    head_limit = D_WORDS[17:0];
            PARAM:   head_limit = P_WORDS[17:0];
            INPUT:   head_limit = HALF[17:0];
            default: head_limit = W_WORDS[17:0];
        endcase
        case (in_data[7:0])
            DESC:    begin count_words = count >> 3; count_ragged = |count[2:0]; unit_last = 7'd7; end
            PARAM:   begin
                count_words = count >> RQ_BITS;
                count_ragged = |(count & (RQ - 1));
                unit_last = RQ[6:0] - 7'd1;
            end
            INPUT:   begin
                count_words = count >> WORD_BITS;
                count_ragged = |(count & (N / 8 - 1));
                unit_last = (7'd1 << WORD_BITS) - 7'd1;
            end
            default: begin
                count_words = count >> WEIGHT_BITS;
                count_ragged = |(count & (N * N / 8 - 1));
                unit_last = (7'd1 << (WEIGHT_BITS - 1)) - 7'd1 + (7'd1 << (WEIGHT_BITS - 1));
            end
        endcase
    end

    // Second clock: is it allowed?
    reg  [17:0] beyond, limit;
    wire        does_not_fit = words[16] || beyond > limit;
    wire        is_run = op == RUN;

    reg  [7:0]  fault;
    always @* begin
        fault = 8'd0;
        if (is_bad) fault = 8'd1;
        else if (is_run) begin
            if (is_empty || !has_program) fault = 8'd5;
        end else if (op == INPUT && inputs_left == 32'd0) fault = 8'd3;
        else if (op == WSTREAM && idle) fault = 8'd3;
        else if (is_empty || is_ragged || does_not_fit) fault = 8'd4;
        else if (ends) fault = 8'd2;
    end

    wire may_go = op == INPUT ? !is_busy[half] : op == WSTREAM ? !blocks[1] : idle;
    wire granted = state == CHECK && fault == 8'd0 && may_go;
    wire final_beat = beat == last_beat && words == 17'd1;
    wire cut_short = in_last && !final_beat;
    wire taken = in_valid && in_take;

    always @(posedge clk) run_start <= granted && is_run && !rst;
    assign in_take = in_valid && state != CHECK;
    assign reading = in_packet || state == CHECK || state == LOAD;

    // The place in X of a word within the half.
    wire [15:0] half_base = half ? HALF[15:0] : 16'd0;

    always @(posedge clk) begin
        we_d <= 1'b0;
        we_p <= 1'b0;
        we_w <= 1'b0;
        we_x <= 1'b0;
        block_done <= 1'b0;
        if (taken) in_packet <= !in_last;
        if (we_d || we_p || we_w || we_x) address <= address + 16'd1;

        case (state)
            HEAD: if (in_valid) begin
                state       <= CHECK;
                op          <= in_data[7:0];
                is_bad      <= in_data[15:8] != 8'hA5 || in_data[7:0] == 8'd0 || in_data[7:0] > WSTREAM;
                address     <= in_data[31:16];
                run_samples <= count;
                is_empty    <= count == 32'd0;
                is_ragged   <= count_ragged;
                words       <= {|count_words[31:16], count_words[15:0]};
                beyond      <= {2'b0, in_data[31:16]} + {2'b0, count_words[15:0]};
                limit       <= head_limit;
                last_beat   <= unit_last;
                beat        <= 7'd0;
                ends        <= in_last;
            end
            CHECK: if (fault != 8'd0) begin
                state         <= DROP;
                error         <= fault;
                error_command <= command;
            end else if (may_go) begin
                state <= is_run ? HEAD : LOAD;
                if (is_run) command <= ends ? 24'd0 : command + 24'd1;
                if (op == INPUT) address <= address + half_base;
            end
            LOAD: if (in_valid) begin
                word  <= {in_data, word[N*N*8-1:64]};
                beat  <= beat == last_beat ? 7'd0 : beat + 7'd1;
                if (beat == last_beat) begin
                    words <= words - 17'd1;
                    we_d  <= op == DESC;
                    we_p  <= op == PARAM;
                    we_w  <= op == WEIGHT || op == WSTREAM;
                    we_x  <= op == INPUT;
                end
                if (cut_short) begin
                    state         <= DROP;
                    error         <= 8'd2;
                    error_command <= command;
                end else if (final_beat) begin
                    state      <= HEAD;
                    command    <= in_last ? 24'd0 : command + 24'd1;
                    block_done <= op == WSTREAM;
                end
            end
            default: ;
        endcase

        if (we_d) has_program <= 1'b1;
        if (hard_rst) has_program <= 1'b0;

        if (rst) begin
            state         <= HEAD;
            in_packet     <= 1'b0;
            command       <= 24'd0;
            error         <= 8'd0;
            error_command <= 24'd0;
            we_d          <= 1'b0;
            we_p          <= 1'b0;
            we_w          <= 1'b0;
            we_x          <= 1'b0;
            block_done    <= 1'b0;
        end
    end

    // X: how far each half is loaded, and who has it. A new INPUT counts what lies before its first
    // word as loaded.
    wire x_word = state == LOAD && in_valid && beat == last_beat && op == INPUT;
    always @(posedge clk) begin
        if (granted && op == INPUT) begin
            is_busy[half] <= 1'b1;
            if (half) x_limit1 <= address[14:0] + HALF[14:0];
            else x_limit0 <= address[14:0];
            inputs_left <= inputs_left - 32'd1;
        end
        // A sample can be released before it is loaded to its end.
        if (x_word && half && is_busy[1]) x_limit1 <= x_limit1 + 15'd1;
        if (x_word && !half && is_busy[0]) x_limit0 <= x_limit0 + 15'd1;
        if (state == LOAD && in_valid && final_beat && op == INPUT) half <= !half;
        if (release_x && release_half) begin
            is_busy[1] <= 1'b0;
            x_limit1   <= HALF[14:0];
        end
        if (release_x && !release_half) begin
            is_busy[0] <= 1'b0;
            x_limit0   <= 15'd0;
        end
        if (run_start) inputs_left <= run_samples;
        if (rst || run_start) begin
            half     <= 1'b0;
            is_busy  <= 2'b00;
            x_limit0 <= 15'd0;
            x_limit1 <= HALF[14:0];
        end
        if (rst) inputs_left <= 32'd0;
    end

    wire block_begins = granted && op == WSTREAM;
    always @(posedge clk) begin
        if (block_begins && !block_used) blocks <= blocks + 2'd1;
        if (!block_begins && block_used) blocks <= blocks - 2'd1;
        if (rst || run_start) blocks <= 2'd0;
    end
endmodule
`default_nettype wire
